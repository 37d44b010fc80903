use std::path::Path;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::{planfile, secrets, work};
use super::Answer;
use super::plan;
use crate::journal::Journal;
use crate::reporting::{Paint, show_text};

/// Show a saved plan or an apply, step by step
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover show plan.cut                       a saved plan
  cutover show plan.cut --format markdown
  cutover show 20261122-093015-7f3a91         an apply of `history`, replayed through the same reports
  cutover show --format json                  the last apply, as its stream of events")]
pub struct Args {
    /// A plan file or the id of an apply [default: the last apply]
    #[arg(value_name = "WHAT")]
    what: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    if let Some(file) = args.what.as_deref().filter(|w| Path::new(w).is_file()) {
        let format = context.formats("show", &[Format::Text, Format::Json, Format::Markdown])?;
        let key = secrets::state_key(&context.state_dir())?;
        plan::show(&planfile::load(Path::new(file), &key)?, format, true, context)?;
        return Ok(Exit::Ok);
    }
    let format = context.formats("show", &[Format::Text, Format::Json])?;
    let project = Project::compile(context)?;
    let journal = Journal::read(&project.state(context).state())?;
    let id = match &args.what {
        Some(id) => id.clone(),
        None => {
            let last = journal.history()?.pop().map(|s| s.header.apply);
            last.ok_or_else(|| Failure::new("nothing was applied yet"))?
        }
    };
    let saved = journal.load(&id)?.ok_or_else(|| {
        Failure::new(format!("`{id}` is neither a plan file nor an apply of the journal"))
            .help("`cutover history` lists the applies")
    })?;
    match format {
        Format::Json => context.out.json(&serde_json::json!({
            "apply": saved.header,
            "events": crate::journal::events(&saved),
        })),
        _ => {
            let paint = Paint::when(context.out.color());
            context.out.result(show_text(&saved.plan, &work::replayed(&saved), paint));
        }
    }
    Ok(Exit::Ok)
}
