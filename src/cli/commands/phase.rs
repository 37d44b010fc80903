use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::records::Standing;
use super::super::whole;
use super::Answer;
use crate::process::board::{Row, State};
use crate::reporting::board_html;

/// The course: which phases are done, open, or wait, and for what
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover phase status --env production
  cutover phase status --format json               for a program
  cutover phase status --html board.html           a page to send round")]
pub struct Args {
    #[command(subcommand)]
    command: PhaseCommand,
}

#[derive(Debug, Subcommand)]
enum PhaseCommand {
    /// Show the board; no host is asked
    Status {
        /// Only this phase
        #[arg(value_name = "PHASE")]
        phase: Option<String>,
        /// As JSON, as --format json
        #[arg(long)]
        json: bool,
        /// Write a page of its own
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("phase", &[Format::Text, Format::Json])?;
    let PhaseCommand::Status { phase, json, html } = &args.command;
    let (_, topology) = Project::topology(context)?;
    let names: BTreeSet<String> = topology.all("phase").map(|p| p.id.name.to_string()).collect();
    if let Some(phase) = phase.as_ref().filter(|p| !names.contains(*p)) {
        return Err(Failure::new(format!("the topology has no phase `{phase}`")));
    }
    let standing = Standing::open(context, &topology, &names)?;
    let mut rows = standing.course(|c| c.rows());
    rows.retain(|r| phase.as_ref().is_none_or(|p| *p == r.phase));
    if let Some(path) = html {
        let page =
            board_html(&standing.organization, &rows.iter().map(shape).collect::<Vec<_>>(), &warnings(&standing));
        whole::write(path, |f| std::io::Write::write_all(f, page.as_bytes()))
            .map_err(|e| Failure::new(format!("{} cannot be written: {e}", path.display())))?;
    }
    if *json || context.json() {
        context.out.json(&serde_json::json!({ "phases": rows, "warnings": warnings(&standing) }));
    } else if rows.is_empty() {
        context.out.result("This topology has no phase.");
    } else {
        context.out.result(text(&rows));
        warnings(&standing).iter().for_each(|w| context.out.note(w));
    }
    Ok(Exit::Ok)
}

/// What is wrong with records, and what a reader should know of trust.
fn warnings(standing: &Standing) -> Vec<String> {
    let mut out: Vec<String> =
        standing.broken.iter().map(|b| format!("{} does not count: {}", b.file, b.why)).collect();
    out.extend(standing.removed.iter().map(|r| format!("{r} was taken away; records are only added")));
    if let Some(trust) = &standing.trust {
        out.extend(trust.refused.iter().cloned());
    }
    out.extend(standing.notes.iter().cloned());
    out
}

fn word(state: &State) -> &'static str {
    match state {
        State::Done => "done",
        State::Open => "open",
        State::Waits => "waits",
    }
}

/// A row as the page has it: heading, state, lines.
fn shape(row: &Row) -> crate::reporting::BoardRow {
    crate::reporting::BoardRow { name: row.phase.clone(), state: word(&row.state), head: head(row), lines: lines(row) }
}

fn head(row: &Row) -> String {
    let mut text = row.step.clone();
    if let Some(e) = &row.environment {
        let _ = write!(text, " in {e}");
    }
    if let Some(since) = row.since {
        let _ = write!(text, ", since {}", since.strftime("%Y-%m-%d"));
    }
    match (row.due, row.late) {
        (Some(due), Some(late)) => {
            let _ = write!(text, ", due {due}, {late} days late");
        }
        (Some(due), None) => {
            let _ = write!(text, ", due {due}");
        }
        _ => {}
    }
    text
}

fn lines(row: &Row) -> Vec<String> {
    let mut out = Vec::new();
    if row.state == State::Waits {
        out.push(format!("waits for gate {}", row.waits.join(", ")));
    }
    for d in &row.gates {
        let kind = if d.entry { "entry" } else { "exit" };
        match d.open() {
            true => out.push(format!(
                "{kind} gate {}: open ({})",
                d.gate,
                d.signers.iter().cloned().collect::<Vec<_>>().join(", ")
            )),
            false => {
                out.push(format!("{kind} gate {}: shut", d.gate));
                out.extend(d.waits.iter().map(|w| format!("  waits for {w}")));
            }
        }
    }
    for r in &row.reviews {
        out.push(format!(
            "emergency of {} by {} through gate {}: {}; to be looked at until {}",
            r.when, r.who, r.gate, r.why, r.due
        ));
    }
    out
}

fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "{:<6} {:<18} {}", word(&row.state), row.phase, head(row));
        for line in lines(row) {
            let _ = writeln!(text, "         {line}");
        }
    }
    text.trim_end().to_owned()
}
