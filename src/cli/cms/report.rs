use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::run;
use crate::model::Digest;
use crate::services::cms::report::{Filed, Report};

/// Say what of each mailbox was moved, what was not and why; exit code 1 when there are exceptions
#[derive(Debug, clap::Args)]
pub struct Args {
    /// All when none is named; `-` reads a user a line from standard input
    users: Vec<String>,
    #[arg(long)]
    json: bool,
    /// In short, as `cutover cohort certificate` takes it
    #[arg(long, requires = "json")]
    brief: bool,
    /// Write USER.json and USER.txt into `reports` of the state folder, signed with the configuration's `report-key`
    #[arg(long)]
    write: bool,
}

/// Namespace of the signatures (`ssh-keygen -Y verify -n`).
const NAMESPACE: &str = "cutover-report";

pub fn run(args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let (config, people) = super::read(path)?;
    let ledger = super::ledger(&config)?;
    let users = run::names(&people, &super::listed(&args.users)?)?;
    let one = |e: String| vec![e];
    let reports = runtime::block_on(async {
        let mut reports = Vec::new();
        for user in &users {
            reports.extend(Report::of(&ledger, user).await?);
        }
        Ok::<_, crate::services::cms::mailbox::Fault>(reports)
    });
    let reports = reports.map_err(|_| one("the system gives no threads".into()))?.map_err(|e| one(e.to_string()))?;
    let mut filed = Vec::new();
    if args.write {
        let folder = config.cms.state.join("reports");
        std::fs::create_dir_all(&folder).map_err(|e| one(format!("{}: {e}", folder.display())))?;
        for report in &reports {
            filed.push(write(report, &folder, config.cms.report_key.as_deref()).map_err(one)?);
        }
    }
    match (args.json, args.brief) {
        (true, true) => {
            let mut filed = filed.into_iter();
            let brief: Vec<_> = reports.iter().map(|r| r.brief(config.cms.verify, filed.next())).collect();
            out.json(&brief);
        }
        (true, false) => out.json(&reports),
        (false, _) => reports.iter().for_each(|r| out.result(r.text())),
    }
    Ok(if reports.iter().any(|r| !r.exceptions.is_empty() || r.mailbox.fault.is_some()) {
        Exit::Error
    } else {
        Exit::Ok
    })
}

/// Both forms of a report. What is told of it afterwards is told of the JSON.
fn write(report: &Report, folder: &Path, key: Option<&Path>) -> Result<Filed, String> {
    let name: String =
        report.mailbox.user.chars().map(|c| if c.is_alphanumeric() || "@.-_+".contains(c) { c } else { '_' }).collect();
    let json = serde_json::to_string_pretty(report).map_err(|e| e.to_string())? + "\n";
    let path = folder.join(format!("{name}.json")).display().to_string();
    let filed = Filed { path, sha256: Digest::of(json.as_bytes()).0, signed: key.is_some() };
    for (end, text) in [("json", json), ("txt", report.text())] {
        let file = folder.join(format!("{name}.{end}"));
        let at = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let aside = tempfile::NamedTempFile::new_in(folder).map_err(|e| at(&e))?;
        std::fs::write(aside.path(), text).map_err(|e| at(&e))?;
        aside.as_file().sync_all().map_err(|e| at(&e))?;
        aside.persist(&file).map_err(|e| at(&e.error))?;
        if let Some(key) = key {
            sign(key, &file)?;
        }
    }
    Ok(filed)
}

fn sign(key: &Path, file: &Path) -> Result<(), String> {
    let mut signature = file.as_os_str().to_owned();
    signature.push(".sig");
    let _ = std::fs::remove_file(PathBuf::from(&signature));
    let output =
        Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).arg(file).output();
    let output = output.map_err(|e| format!("ssh-keygen: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{} is not signed: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim())),
    }
}
