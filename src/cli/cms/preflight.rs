use std::path::{Path, PathBuf};

use super::super::exit::Exit;
use super::super::output::Output;
use super::super::runtime;
use super::passwords::passwords;
use crate::model::unit::format_bytes;
use crate::services::cms::ledger::Way;
use crate::services::cms::mailbox::{Budget, Fault};
use crate::services::cms::preflight::{Examined, Problem, Repair, Sides, examine, repair};
use crate::services::cms::source::Means;

/// Look at mailboxes before they move: what is broken, too large, in nobody's possession or without room is listed
///
/// Nothing is changed on either side; each finding says who repairs it. Ends with 1 when something blocks a move, and when a mailbox could not be asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these
    users: Vec<String>,
    /// Read every message: finds duplicates, encodings, and what cannot be read
    #[arg(long)]
    deep: bool,
    /// Look for these only; unless said, for those of the configuration
    #[arg(long, value_delimiter = ',', value_parser = problem)]
    find: Vec<Problem>,
    /// Do not ask the new side
    #[arg(long)]
    source_only: bool,
    /// Write into this folder what can be written: who is left out, quotas, names of folders
    #[arg(long, value_name = "FOLDER")]
    repair: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

fn problem(word: &str) -> Result<Problem, String> {
    let all: Vec<&str> = Problem::ALL.iter().map(|p| p.as_str()).collect();
    Problem::named(word).ok_or_else(|| format!("there are {}", all.join(", ")))
}

pub fn run(args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let (config, people) = super::read(path)?;
    let mut users = Vec::new();
    let mut unknown = Vec::new();
    for user in &args.users {
        match people.find(user) {
            Some(user) => users.push(user),
            None => unknown.push(format!("{user} is not in {}", path.display())),
        }
    }
    if !unknown.is_empty() {
        return Err(unknown);
    }
    if users.is_empty() {
        users = people.users().collect();
    }
    let means =
        Means { budget: Budget::new(config.cms.memory), spool: std::env::temp_dir(), largest: config.limits.largest };
    let passwords = passwords(&config);
    let all = async {
        let mut done: Vec<(&str, Result<Examined, Fault>)> = Vec::new();
        for user in &users {
            let examined = async {
                let source = people.access(&config, &passwords, user, Way::Forward, true)?;
                let target = match args.source_only {
                    true => None,
                    false => Some(people.access(&config, &passwords, user, Way::Forward, false)?),
                };
                let sides = Sides {
                    source: (&config.source, &source),
                    target: target.as_ref().map(|access| (&config.target, access)),
                };
                let read = std::cell::Cell::new(0u64);
                let step = |n| {
                    read.set(read.get() + n);
                    if read.get().is_multiple_of(100) {
                        out.passing(&format!("{user}: {} messages read", read.get()));
                    }
                };
                examine(user, sides, &means, args.deep, step).await
            };
            done.push((user, examined.await));
        }
        done
    };
    let mut all = runtime::block_on(all).map_err(|_| vec!["the system gives no threads".to_owned()])?;
    out.passing("");
    let find = if args.find.is_empty() { &config.preflight.find } else { &args.find };
    if !find.is_empty() {
        let found = all.iter_mut().filter_map(|(_, e)| e.as_mut().ok());
        found.for_each(|e| e.findings.retain(|f| find.contains(&f.problem)));
    }
    if let Some(folder) = &args.repair {
        let found = all.iter_mut().filter_map(|(_, e)| e.as_mut().ok());
        let files = repair::write(folder, found).map_err(|e| vec![format!("{}: {e}", folder.display())])?;
        files.iter().filter(|_| !args.json).for_each(|file| out.note(format!("{} is written", file.display())));
    }
    if args.json {
        let list: Vec<_> = all
            .iter()
            .map(|(user, e)| match e {
                Ok(examined) => serde_json::json!(examined),
                Err(fault) => serde_json::json!({"user": user, "not-asked": fault.to_string()}),
            })
            .collect();
        out.json(&list);
    } else {
        all.iter().for_each(|(user, examined)| tell(user, examined, out));
    }
    let bad = |e: &Result<Examined, Fault>| e.as_ref().map_or(true, |e| config.preflight.block && e.blocked());
    let bad = all.iter().any(|(_, e)| bad(e));
    Ok(if bad { Exit::Error } else { Exit::Ok })
}

/// What a person does stands once for each kind below.
fn word(repair: &Repair) -> String {
    match repair {
        Repair::Person(_) => "a person".to_owned(),
        other => other.to_string(),
    }
}

fn tell(user: &str, examined: &Result<Examined, Fault>, out: &Output) {
    let examined = match examined {
        Ok(examined) => examined,
        Err(fault) => {
            out.result(format!("{user}: could not be asked: {fault}"));
            out.result(format!("    help: {}", fault.class.help()));
            return;
        }
    };
    let state = match (examined.blocked(), examined.findings.len()) {
        (true, _) => "blocked".to_owned(),
        (false, 0) => "nothing found".to_owned(),
        (false, n) => format!("{n} findings, none blocks"),
    };
    let looked = if examined.deep { "read" } else { "listed" };
    out.result(format!(
        "{user}: {state} ({} messages {looked} in {} folders, {})",
        examined.messages,
        examined.folders,
        format_bytes(examined.octets)
    ));
    for finding in &examined.findings {
        let message = finding.message.as_ref().map(|m| format!("message {m}"));
        let place: Vec<&str> = finding.folder.iter().chain(&message).map(String::as_str).collect();
        let place = if place.is_empty() { String::new() } else { format!(" {}:", place.join(" ")) };
        out.result(format!(
            "  {}:{place} {} (repair: {})",
            finding.problem.as_str(),
            finding.what,
            word(&finding.repair)
        ));
    }
    let kinds: std::collections::BTreeSet<Problem> = examined.findings.iter().map(|f| f.problem).collect();
    kinds.iter().for_each(|p| out.result(format!("    {}: {}", p.as_str(), p.remedy())));
}
