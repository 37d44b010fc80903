use clap::Subcommand;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::records::Standing;
use super::Answer;

/// Records: approvals, evidence and certificates beside the topology
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover records verify                   every record and its signature; ends with 1 when one is broken or gone
  cutover records verify --format json     for a program")]
pub struct Args {
    #[command(subcommand)]
    command: RecordsCommand,
}

#[derive(Debug, Subcommand)]
enum RecordsCommand {
    /// Check every record, and say whose signatures count
    Verify,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("records", &[Format::Text, Format::Json])?;
    let RecordsCommand::Verify = args.command;
    let (_, topology) = Project::topology(context)?;
    let standing = Standing::open(context, &topology, &std::collections::BTreeSet::new())?;
    let deciders = standing.deciders();
    let trusted = |s: &crate::process::record::Signed| standing.trust.is_some() && deciders.owns(&s.record.who, &s.key);
    if context.json() {
        let records: Vec<_> = standing
            .records
            .iter()
            .map(|s| serde_json::json!({ "file": s.file, "key": s.key, "trusted": trusted(s), "record": s.record }))
            .collect();
        context.out.json(&serde_json::json!({
            "records": records, "broken": standing.broken, "removed": standing.removed,
            "trusted_since": standing.trust.as_ref().map(|t| &t.commit),
        }));
    } else {
        for s in &standing.records {
            let word = if trusted(s) { "good     " } else { "untrusted" };
            context.out.result(format!(
                "{word} {}  {} by {} on {}",
                s.file,
                s.record.kind.as_str(),
                s.record.who,
                s.record.when
            ));
        }
        match &standing.trust {
            Some(t) if t.first => {
                context.out.result(format!("keys as of {}, taken on trust with the first approval", t.commit))
            }
            Some(t) => context.out.result(format!("keys as of {}, the last approved commit", t.commit)),
            None => context.out.result("nobody has signed yet; with the first approval, keys are taken on trust"),
        }
        standing.trust.iter().flat_map(|t| &t.refused).for_each(|r| context.out.note(r));
        standing.notes.iter().for_each(|n| context.out.note(n));
    }
    let broken = standing.broken.iter().map(|b| format!("{} does not count: {}", b.file, b.why));
    let gone = standing.removed.iter().map(|r| format!("{r} was taken away"));
    let wrong: Vec<String> = broken.chain(gone).collect();
    match wrong.as_slice() {
        [] => Ok(Exit::Ok),
        wrong => Err(Failure::new(wrong.join("\n"))
            .help("records are only added: bring back what git has with `git checkout HEAD -- records`")),
    }
}
