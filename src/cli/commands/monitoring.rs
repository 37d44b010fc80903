mod silence;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::whole;
use super::Answer;
use crate::monitoring::{Monitoring, Options, compose};

/// Rules of Prometheus and routes of Alertmanager, from monitors, levels and escalations
///
/// Each rule has tests of its own. No host is asked but by `silence`. What no figure tells, or tells only nearly, is said below the table.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover monitoring show                     every rule, who hears of it, and what cannot be watched
  cutover monitoring show --format json       for programs
  cutover monitoring write monitoring         the files: prometheus.yml, alertmanager.yml, rules, targets, tests
  cutover monitoring check                    by promtool and amtool of this machine: form, and every rule's tests
  cutover monitoring silence night            alerts of the servers of that window, while it lasts
  cutover monitoring silence --on gate --for 30m
  cutover monitoring silence night --end      heard again")]
pub struct Args {
    #[command(subcommand)]
    command: MonitoringCommand,
}

#[derive(Debug, Subcommand)]
enum MonitoringCommand {
    /// Show every rule, who hears of it, and what cannot be watched
    Show,
    /// Write the files into a folder; those of a former run that are not wanted any more go
    Write {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Hold the files against promtool and amtool, with the tests of every rule
    Check,
    /// Silence the servers of a window while it lasts, at Alertmanager on the hosts that watch; service levels count on
    Silence(silence::Args),
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("monitoring", &[Format::Text, Format::Json])?;
    let composed = || -> Result<Monitoring, Failure> {
        let (_, topology) = Project::topology(context)?;
        Ok(compose(&topology, &Options::of(&topology)))
    };
    match &args.command {
        MonitoringCommand::Show if format == Format::Json => {
            let made = composed()?;
            context.out.json(&serde_json::json!({ "watches": made.watches, "gaps": made.gaps }));
            Ok(Exit::Ok)
        }
        MonitoringCommand::Show => {
            context.out.result(shown(&composed()?));
            Ok(Exit::Ok)
        }
        MonitoringCommand::Write { folder } => {
            let count = write(&composed()?, folder)?;
            context.out.note(format!("wrote {count} files into {}", folder.display()));
            Ok(Exit::Ok)
        }
        MonitoringCommand::Check => check(&composed()?, context),
        MonitoringCommand::Silence(args) => silence::run(args, context),
    }
}

fn shown(made: &Monitoring) -> String {
    let mut out = String::new();
    let rows: Vec<[String; 5]> = made
        .watches
        .iter()
        .map(|w| {
            let servers = if w.servers == 0 { "-".into() } else { w.servers.to_string() };
            let team = w.team.clone().unwrap_or_else(|| "nobody".into());
            [format!("{}.{}", w.monitor, w.rule), w.condition.clone(), w.severity.clone(), team, servers]
        })
        .collect();
    let heads = ["RULE", "CONDITION", "SEVERITY", "TEAM", "SERVERS"].map(str::to_owned);
    let width =
        |column: usize| rows.iter().chain([&heads]).map(|r| r[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in [&heads].into_iter().chain(&rows).filter(|_| !rows.is_empty()) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:w$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    if rows.is_empty() {
        out.push_str("No monitor has a rule, and no level a target that figures tell.\n");
    }
    for (title, nearly) in [("Not watched:", false), ("Watched nearly:", true)] {
        let found: Vec<_> = made.gaps.iter().filter(|g| g.approximate == nearly).collect();
        if !found.is_empty() {
            let _ = writeln!(out, "\n{title}");
        }
        for gap in found {
            let _ = writeln!(out, "  {}: {}", gap.of, gap.why);
        }
    }
    out
}

/// Where it stands which files of a folder are ours.
const LIST: &str = ".cutover-monitoring";

/// Writes what is wanted, and takes away what a former run wrote and nobody wants any more: a rule that is gone would go on waking
/// people. What others have put there is left alone; where it stands in the way nothing is written.
fn write(made: &Monitoring, folder: &Path) -> Result<usize, Failure> {
    let failed = |path: &Path, e: std::io::Error| Failure::new(format!("{} was not written: {e}", path.display()));
    let list = folder.join(LIST);
    let former: BTreeSet<String> = match std::fs::read_to_string(&list) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
        Err(e) => return Err(Failure::new(format!("{} cannot be read: {e}", list.display()))),
    };
    let foreign = |name: &&String| !former.contains(*name) && folder.join(name).symlink_metadata().is_ok();
    let foreign: Vec<&str> = made.files.keys().filter(foreign).map(String::as_str).collect();
    if !foreign.is_empty() {
        let what = format!("{} holds files that cutover has not written: {}", folder.display(), foreign.join(", "));
        return Err(Failure::new(what).help("take them away, or name another folder; nothing was written"));
    }
    for name in ["grafana", "rules", "targets", "tests"] {
        let below = folder.join(name);
        std::fs::create_dir_all(&below).map_err(|e| failed(&below, e))?;
    }
    // First what is ours from now on: cut off after this, the next run knows all of it.
    let names: BTreeSet<&str> = former.iter().chain(made.files.keys()).map(String::as_str).collect();
    let listed = |names: BTreeSet<&str>| names.into_iter().fold(String::new(), |all, name| all + name + "\n");
    let put =
        |path: &Path, text: &str| whole::write(path, |f| f.write_all(text.as_bytes())).map_err(|e| failed(path, e));
    put(&list, &listed(names))?;
    for (name, text) in &made.files {
        put(&folder.join(name), text)?;
    }
    for name in former.iter().filter(|n| !made.files.contains_key(*n) && plain(n)) {
        let path = folder.join(name);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&path, e)),
            _ => {}
        }
    }
    put(&list, &listed(made.files.keys().map(String::as_str).collect()))?;
    Ok(made.files.len())
}

/// A name of the list that leads nowhere else.
fn plain(name: &str) -> bool {
    Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)))
}

fn check(made: &Monitoring, context: &Context) -> Answer {
    let folder = tempfile::tempdir().map_err(|e| Failure::new(format!("no temporary folder: {e}")))?;
    write(made, folder.path())?;
    let of = |prefix: &str| -> Vec<&str> {
        made.files.keys().filter(|n| n.starts_with(prefix) && n.ends_with(".yml")).map(String::as_str).collect()
    };
    let (rules, tests) = (of("rules/"), of("tests/"));
    let mut runs: Vec<(&str, Vec<&str>, String)> = Vec::new();
    if !rules.is_empty() {
        runs.push(("promtool", [&["check", "rules"], &rules[..]].concat(), format!("{} files of rules", rules.len())));
    }
    if !tests.is_empty() {
        runs.push(("promtool", [&["test", "rules"], &tests[..]].concat(), format!("{} files of tests", tests.len())));
    }
    runs.push(("amtool", vec!["check-config", "alertmanager.yml"], "the configuration of Alertmanager".into()));
    let mut wrong = 0;
    for (program, args, what) in runs {
        let ended = Command::new(program).args(&args).current_dir(folder.path()).output();
        let ended = ended.map_err(|e| {
            Failure::new(format!("{program} does not start: {e}"))
                .help("it is in the Debian packages prometheus and prometheus-alertmanager")
        })?;
        if ended.status.success() {
            context.out.note(format!("{program}: {what}: right"));
            continue;
        }
        wrong += 1;
        let said = [ended.stdout, ended.stderr].concat();
        context.out.result(format!("{program} {}:\n{}", args.join(" "), String::from_utf8_lossy(&said)));
    }
    Ok(if wrong == 0 { Exit::Ok } else { Exit::Error })
}
