mod diary;
mod run;

use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::Answer;
use crate::model::suggest::did_you_mean;
use crate::model::topology::{Node, Topology};
use crate::process::runbook::Runbook;
use crate::rules::Facts;

/// Runbooks: read them, carry out their commands on hosts, and see who did
///
/// A runbook is Markdown in the repository. Its headings and numbered items are steps; a fenced block of `sh` is a command, which `run`
/// carries out over the same SSH that apply uses, after it has asked. Who did what, where and when is kept; what was printed is not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover runbook list                                   what there is, who tested it, what leads to it
  cutover runbook show drain-queues                      its steps
  cutover runbook run drain-queues --on mail-1           one step after the other, each after a question
  cutover runbook run drain-queues --on mail-1 --from 3  go on with the third step
  cutover runbook history drain-queues                   who ran it, and how far they came")]
pub struct Args {
    #[command(subcommand)]
    command: RunbookCommand,
}

#[derive(Debug, Subcommand)]
enum RunbookCommand {
    /// List runbooks with who tested them and what leads to them
    List,
    /// Show the steps of one
    Show { name: String },
    /// Carry one out
    Run(run::Args),
    /// Show who ran them, when, and how far they came
    History { name: Option<String> },
}

/// A runbook of the topology, read from its file.
struct Book<'t> {
    node: &'t Node,
    /// Why it cannot be used, where it cannot.
    read: Result<Runbook, Vec<String>>,
}

impl<'t> Book<'t> {
    fn of(context: &Context, node: &'t Node) -> Self {
        let steps = node.texts("steps");
        let read = match node.text("file") {
            None => Runbook::read("", &steps),
            Some(file) => match std::fs::read_to_string(context.root().join(file)) {
                Ok(text) => Runbook::read(&text, &steps)
                    .map_err(|faults| faults.iter().map(|f| format!("{file}, {f}")).collect()),
                Err(e) => Err(vec![format!("{file} cannot be read: {e}")]),
            },
        };
        Self { node, read }
    }

    fn name(&self) -> &'t str {
        self.node.id.name.as_str()
    }

    /// The runbook, or all that is wrong with it.
    fn usable(&self) -> Result<&Runbook, Failure> {
        let help = "mend the runbook; nothing was carried out";
        self.read.as_ref().map_err(|faults| Failure::new(faults.join("\n")).help(help))
    }
}

fn find<'t>(topology: &'t Topology, name: &str) -> Result<&'t Node, Failure> {
    topology.get("runbook", name).ok_or_else(|| {
        let names: Vec<&str> = topology.all("runbook").map(|n| n.id.name.as_str()).collect();
        let help = match (did_you_mean(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, true) => "it has none; write: runbook NAME file=\"runbooks/NAME.md\"".to_owned(),
            (None, false) => format!("it has: {}", names.join(", ")),
        };
        Failure::new(format!("the topology has no runbook `{name}`")).help(help)
    })
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("runbook", &[Format::Text, Format::Json])?;
    match &args.command {
        RunbookCommand::List => list(context),
        RunbookCommand::Show { name } => show(name, context),
        RunbookCommand::Run(args) => run::run(args, context),
        RunbookCommand::History { name } => diary::history(name.as_deref(), context),
    }
}

fn list(context: &Context) -> Answer {
    let (_, topology) = Project::topology(context)?;
    let facts = Facts::new(&topology, jiff::Zoned::now().date());
    let mut documents = Vec::new();
    for node in topology.all("runbook") {
        let book = Book::of(context, node);
        let tested = node.refs("tested-by").map(|(id, _)| id.name.to_string()).next();
        let mut by: Vec<String> = facts.referrers(&node.id).iter().map(|u| u.node.id.to_string()).collect();
        by.sort();
        by.dedup();
        if context.json() {
            documents.push(serde_json::json!({
                "name": book.name(), "file": node.text("file"), "tested_by": tested, "used_by": by,
                "title": book.read.as_ref().ok().map(|b| &b.title), "steps": book.read.as_ref().ok().map(|b| b.steps.len()),
                "commands": book.read.as_ref().ok().map(Runbook::commands), "faults": book.read.as_ref().err(),
            }));
            continue;
        }
        let what = match &book.read {
            Ok(b) => format!("{} steps, {} of them commands", b.steps.len(), b.commands()),
            Err(faults) => format!("UNUSABLE: {}", faults.join("; ")),
        };
        let tested = tested.map_or("tested by nobody".to_owned(), |t| format!("tested by {t}"));
        let uses = if by.is_empty() { "nothing leads to it".to_owned() } else { format!("for {}", by.join(", ")) };
        context.out.result(format!("{}: {what}; {tested}; {uses}", book.name()));
    }
    if context.json() {
        context.out.json(&documents);
    }
    Ok(Exit::Ok)
}

fn show(name: &str, context: &Context) -> Answer {
    let (_, topology) = Project::topology(context)?;
    let book = Book::of(context, find(&topology, name)?);
    let read = book.usable()?;
    if context.json() {
        context.out.json(read);
        return Ok(Exit::Ok);
    }
    let title = if read.title.is_empty() { name } else { &read.title };
    context.out.result(title);
    for (n, step) in (1..).zip(&read.steps) {
        context.out.result(format!("\n{}", run::told(n, read.steps.len(), step)));
    }
    Ok(Exit::Ok)
}
