use super::super::args::Format;
use super::super::calendar::record;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::project::Project;
use super::Answer;
use crate::journal::{Journal, Record, Summary};
use crate::reporting::{Ended, HistoryEntry, Paint, history_text};

/// List what was applied from here, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover history --env lab            applies of this environment from this machine
  cutover history --format json        for programs
  cutover show APPLY                   one of them, step by step")]
pub struct Args {
    /// At most this many; 0 shows all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("history", &[Format::Text, Format::Json])?;
    let state = Project::compile(context)?.state(context);
    let list = if state.state().exists() { Journal::read(&state.state())?.history()? } else { Vec::new() };
    let from = if args.limit == 0 { 0 } else { list.len().saturating_sub(args.limit) };
    let changes = record::by_apply(&state)?;
    let told = |s: &Summary| HistoryEntry { change: changes.get(&s.header.apply).and_then(|c| c.told()), ..entry(s) };
    let mut entries: Vec<HistoryEntry> = list[from..].iter().map(told).collect();
    entries.reverse();
    match format {
        Format::Json => context.out.json(&entries),
        _ => {
            let when = |at| jiff::Timestamp::from_millisecond(at).map_or_else(|_| "?".into(), |t| format!("{t:.0}"));
            context.out.result(history_text(&entries, when, Paint::when(context.out.color())));
        }
    }
    Ok(Exit::Ok)
}

fn entry(summary: &Summary) -> HistoryEntry {
    let header = &summary.header;
    let ended = match summary.last.as_ref().map(|e| &e.record) {
        Some(Record::Finished { done, failed, skipped, unknown }) => {
            Some(Ended { done: *done, failed: *failed, skipped: *skipped, unknown: *unknown })
        }
        _ => None,
    };
    HistoryEntry {
        apply: header.apply.clone(),
        at: header.at,
        phase: header.phase.clone(),
        undo_of: header.undo_of.clone(),
        holder: header.holder.clone(),
        steps: header.steps,
        ended,
        change: None,
    }
}
