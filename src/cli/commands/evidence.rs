mod shown;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::gates::statement;
use super::super::moving::Service;
use super::super::near::Near;
use super::super::project::Project;
use super::super::records::{Signer, SignerArgs, Standing};
use super::super::runtime;
use super::super::session::{Session, Wish};
use super::Answer;
use super::drift::found;
use crate::model::Digest;
use crate::model::course::{Gate, evidence, gates};
use crate::model::topology::{Node, NodeId, Topology};
use crate::model::unit::{Percent, parse_duration};
use crate::process::board::needed;
use crate::process::record::{Document, Finding, Outcome, Record, RecordKind};
use crate::process::survey::mark;

/// Evidence that gates ask for: collected, or said by a person; signed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover evidence collect build.ready --env production --key ~/.ssh/id_ed25519
                                            all that a program can see: plan-clean, audit, preflight, probe, test, document,
                                            survey, and restore of a rollback point
  cutover evidence collect build.ready.drift
  cutover evidence add build.start.source --document preflight.json --key ~/.ssh/id_ed25519
  cutover evidence add build.ready.steady --held 7d --percent 99.95% --document report.html
  cutover evidence add pilot.voices.ask --result fail --note \"half of them did not answer\"

A document is recorded by its SHA-256. Evidence that failed is recorded too, and shuts the gate. Ends with 1 when something failed.")]
pub struct Args {
    #[command(subcommand)]
    command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
enum EvidenceCommand {
    /// Look for oneself, and record what was found
    Collect {
        /// A gate (all its evidence that a program can see), or one evidence
        #[arg(value_name = "NODE")]
        node: String,
        #[command(flatten)]
        signer: SignerArgs,
    },
    /// Record what a person has seen
    Add(Add),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The evidence
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    signer: SignerArgs,
    #[arg(long, value_name = "RESULT", default_value = "pass", value_parser = ["pass", "fail"])]
    result: String,
    /// What shows it; its digest is recorded
    #[arg(long, value_name = "FILE")]
    document: Option<std::path::PathBuf>,
    /// The share that was reached, as in 99.95%
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    percent: Option<String>,
    /// The mean of the answers to a survey, from 1 to 5
    #[arg(long, value_name = "MARK", value_parser = score)]
    score: Option<String>,
    /// How long it has held without a break until now, as in 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    held: Option<Duration>,
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

fn percent(text: &str) -> Result<String, String> {
    Percent::parse(text).map(|p| p.to_string()).ok_or_else(|| "write a share as 99.95%".to_owned())
}

fn score(text: &str) -> Result<String, String> {
    mark(text).map(|m| m.to_string()).ok_or_else(|| "write a mark from 1 to 5, as 4.2".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time as 36h or 7d".to_owned())
}

/// A gate's evidence, with the phase that it is recorded for.
struct Asked<'t> {
    node: &'t Node,
    phase: Option<String>,
}

/// The evidence behind a name: all of a gate, or one.
fn asked<'t>(topology: &'t Topology, name: &str) -> Result<Vec<Asked<'t>>, Failure> {
    let all = gates(topology);
    let phase = |g: &Gate| g.phase.map(|p| p.id.name.to_string());
    if let Some(gate) = all.iter().find(|g| g.gate.id.name == name) {
        return Ok(evidence(topology, gate.gate).into_iter().map(|node| Asked { node, phase: phase(gate) }).collect());
    }
    let of = |g: &Gate<'t>| {
        let found = evidence(topology, g.gate).into_iter().find(|e| e.id.name == name)?;
        Some(Asked { node: found, phase: phase(g) })
    };
    match all.iter().find_map(of) {
        Some(one) => Ok(vec![one]),
        None => {
            let names: Vec<String> =
                all.iter().flat_map(|g| evidence(topology, g.gate)).map(|e| e.id.name.to_string()).collect();
            let help = if names.is_empty() {
                "no gate asks for evidence".to_owned()
            } else {
                format!("it has: {}", names.join(", "))
            };
            Err(Failure::new(format!("the topology has no gate and no evidence `{name}` that a gate asks for"))
                .help(help))
        }
    }
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("evidence", &[Format::Text, Format::Json])?;
    let (_, topology) = Project::topology(context)?;
    let (name, signer) = match &args.command {
        EvidenceCommand::Collect { node, signer } => (node, signer),
        EvidenceCommand::Add(add) => (&add.node, &add.signer),
    };
    let asked = asked(&topology, name)?;
    let phases = asked.iter().filter_map(|a| a.phase.as_deref()).flat_map(|p| needed(&topology, p)).collect();
    let standing = Standing::open(context, &topology, &phases)?;
    let signer = Signer::find(signer, &standing)?;
    standing.committed()?;
    let mut found: Vec<(&Asked, Finding, Option<String>)> = Vec::new();
    match &args.command {
        EvidenceCommand::Add(add) => match asked.as_slice() {
            [one] => found.push((one, said(add, one.node, &standing)?, add.note.clone())),
            _ => return Err(Failure::new(format!("{name} is a gate")).help("name one evidence of it")),
        },
        EvidenceCommand::Collect { .. } => {
            for one in &asked {
                match collect(context, &standing, one)? {
                    Some(finding) => found.push((one, finding, None)),
                    None => {
                        let ty = one.node.text("type").unwrap_or_default();
                        let why = match ty {
                            "sla" => "is reckoned by nobody yet (it waits for monitors)",
                            _ => "is not for a program to see",
                        };
                        let name = &one.node.id.name;
                        context.out.note(format!("{name} ({ty}) {why}; say it with: cutover evidence add {name}"));
                    }
                }
            }
        }
    }
    let mut failed = Vec::new();
    let mut files = Vec::new();
    for (one, finding, note) in found {
        let name = &one.node.id.name;
        let (result, ty) = (finding.result, finding.ty.clone());
        let figures: Vec<String> = finding.figures.iter().map(|(k, v)| format!("{k} {v}")).collect();
        let record = statement(&standing, RecordKind::Evidence, name, one.phase.as_deref(), &signer.person)?;
        let file = signer.record(&standing, &Record { what: Some(finding), note, ..record })?;
        let word = if result == Outcome::Pass { "pass" } else { "FAIL" };
        context.out.note(format!("{word} {name} ({ty}) {}", figures.join(", ")));
        files.push(file);
        if result == Outcome::Fail {
            failed.push(name.to_string());
        }
    }
    match context.json() {
        true => context.out.json(&serde_json::json!({ "files": files, "failed": failed })),
        false => files.iter().for_each(|f| context.out.result(f)),
    }
    if !failed.is_empty() {
        return Err(Failure::new(format!("recorded as failed: {}", failed.join(", "))));
    }
    Ok(Exit::Ok)
}

fn finding(node: &Node, result: bool) -> Finding {
    let mut of: Vec<String> = node.refs("of").map(|(id, _)| id.to_string()).collect();
    of.sort();
    Finding {
        ty: node.text("type").unwrap_or_default().to_owned(),
        result: if result { Outcome::Pass } else { Outcome::Fail },
        of,
        document: None,
        figures: BTreeMap::new(),
    }
}

fn document(root: &Path, path: &Path) -> Result<Document, Failure> {
    // A path of the topology stays as it is there; another one as it was given.
    let at = if path.exists() { path.to_owned() } else { root.join(path) };
    let bytes = std::fs::read(&at)
        .map_err(|e| Failure::new(format!("{} cannot be read: {e}", path.display())).help("nothing is recorded"))?;
    Ok(Document { path: path.display().to_string(), sha256: Digest::of(&bytes).0 })
}

fn said(add: &Add, node: &Node, standing: &Standing) -> Result<Finding, Failure> {
    let mut finding = finding(node, add.result == "pass");
    if let Some(p) = &add.percent {
        finding.figures.insert("percent".into(), p.clone());
    }
    if let Some(score) = &add.score {
        finding.figures.insert("score".into(), score.clone());
    }
    if let Some(held) = add.held {
        finding.figures.insert("held".into(), held.as_secs().to_string());
    }
    finding.document = match (&add.document, node.text("file")) {
        (Some(file), _) => Some(document(&standing.root, file)?),
        (None, Some(file)) => Some(document(&standing.root, Path::new(file))?),
        (None, None) => None,
    };
    Ok(finding)
}

/// What a program can see. `None`: this is for people.
fn collect(context: &Context, standing: &Standing, one: &Asked) -> Result<Option<Finding>, Failure> {
    let node = one.node;
    match node.text("type").unwrap_or_default() {
        "plan-clean" | "audit" => observed(context, one).map(Some),
        "preflight" => preflight(context, one),
        "probe" => shown::probe(context, node),
        "restore" => shown::restore(context, node),
        "survey" => shown::survey(context, node),
        "test" => tests(context, standing, node),
        "document" => {
            let Some(path) = node.text("file") else { return Ok(None) };
            let there = document(&standing.root, Path::new(path))?;
            Ok(Some(Finding { document: Some(there), ..finding(node, true) }))
        }
        _ => Ok(None),
    }
}

/// Asks the hosts of the phase: nothing to do, or nothing that others changed.
fn observed(context: &Context, one: &Asked) -> Result<Finding, Failure> {
    let session = Session::open_to_ask(context)?;
    let asked = session.block_on(session.ask_and_plan(&Wish { phase: one.phase.clone(), ..Wish::default() }))?;
    let mut out = finding(one.node, true);
    if let Some(host) = asked.plan.failed.first() {
        return Err(Failure::new(format!("could not ask {}: {}; nothing is recorded", host.host, host.message)));
    }
    if out.ty == "plan-clean" {
        out.figures.insert("steps".into(), asked.plan.steps.len().to_string());
        out.figures.insert("examined".into(), asked.plan.examined.to_string());
        out.result = if asked.plan.is_empty() && !asked.plan.blocked() { Outcome::Pass } else { Outcome::Fail };
        return Ok(out);
    }
    let report = found(&session, &asked)?;
    let (all, drifted) = (asked.plan.examined.max(1) as u64, report.drifted.len() as u64);
    let share = Percent(100_000_000_u64.saturating_mul(all.saturating_sub(drifted)) / all);
    out.figures.insert("percent".into(), share.to_string());
    out.figures.insert("drifted".into(), drifted.to_string());
    out.figures.insert("examined".into(), all.to_string());
    let bar = one.node.percent("at-least").unwrap_or(Percent(100_000_000));
    out.result = if share >= bar { Outcome::Pass } else { Outcome::Fail };
    Ok(out)
}

/// Lets the content service look at its source: all mailboxes that it knows.
fn preflight(context: &Context, one: &Asked) -> Result<Option<Finding>, Failure> {
    let project = Project::compile(context)?;
    let topology = &project.topology;
    let sources: Vec<&NodeId> = one
        .node
        .refs("of")
        .filter_map(|(id, _)| topology.find(id))
        .filter(|n| n.id.kind == "preflight")
        .filter_map(|n| n.reference("on"))
        .collect();
    let services: Vec<String> = topology
        .all("cms")
        .filter(|c| c.reference("from").is_some_and(|from| sources.contains(&from)))
        .map(|c| c.id.name.to_string())
        .collect();
    if services.is_empty() {
        context.out.note(format!("{}: no content service reads what it is of", one.node.id.name));
        return Ok(None);
    }
    let near = Arc::new(Near::of(context, &project));
    let mut out = finding(one.node, true);
    let (mut mailboxes, mut findings) = (0, 0);
    for name in services {
        let service = Service::of(&project, Arc::clone(&near), Some(&name))?;
        let silent =
            |why: String| Failure::new(format!("content service {name} cannot be asked: {why}; nothing is recorded"));
        let (sound, looked) = runtime::block_on(service.preflight(&[]))?.map_err(silent)?;
        if let Some((user, why)) = looked.iter().find_map(|l| Some((&l.user, l.not_asked.as_ref()?))) {
            return Err(silent(format!("{user}: {why}")));
        }
        mailboxes += looked.len();
        findings += looked.iter().map(|l| l.findings.len()).sum::<usize>();
        if !sound {
            out.result = Outcome::Fail;
        }
    }
    out.figures.insert("mailboxes".into(), mailboxes.to_string());
    out.figures.insert("findings".into(), findings.to_string());
    Ok(Some(out))
}

/// Runs the scenarios that have a program.
fn tests(context: &Context, standing: &Standing, node: &Node) -> Result<Option<Finding>, Failure> {
    let topology = &standing.topology;
    let mut scenarios: Vec<&Node> = Vec::new();
    for (id, _) in node.refs("of") {
        match topology.find(id) {
            Some(plan) if plan.id.kind == "test-plan" => scenarios.extend(plan.children("scenario")),
            Some(one) => scenarios.push(one),
            None => {}
        }
    }
    let by_hand: Vec<&str> =
        scenarios.iter().filter(|s| s.value("run").is_none()).map(|s| s.id.name.as_str()).collect();
    if scenarios.is_empty() || !by_hand.is_empty() {
        context.out.note(format!("{}: no program runs {}", node.id.name, by_hand.join(", ")));
        return Ok(None);
    }
    let mut out = finding(node, true);
    let mut heard = Vec::new();
    for scenario in scenarios {
        let Some(path) = scenario.text("run") else { continue };
        context.out.note(format!("runs {path}"));
        let mut command = Command::new(standing.root.join(path));
        command.current_dir(&standing.root).stdin(Stdio::null());
        if let Some(environment) = &topology.environment {
            command.env("CUTOVER_ENV", environment);
        }
        let done =
            command.output().map_err(|e| Failure::new(format!("{path} cannot be run: {e}; nothing is recorded")))?;
        heard.extend_from_slice(&done.stdout);
        heard.extend_from_slice(&done.stderr);
        let code = done.status.code().map_or_else(|| "killed".to_owned(), |c| c.to_string());
        if !done.status.success() && scenario.flag("critical") {
            out.result = Outcome::Fail;
        }
        out.figures.insert(scenario.id.name.to_string(), code);
    }
    out.figures.insert("output-sha256".into(), Digest::of(&heard).0);
    Ok(Some(out))
}
