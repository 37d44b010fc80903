use std::path::Path;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::super::{planfile, secrets};
use super::Answer;
use crate::journal::Journal;
use crate::reporting::graph::{GraphView, dot, mermaid, svg};

/// Draw what waits for what
///
/// Of the topology (roles of servers and what they wait for), of a saved plan or of an apply (their steps).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover graph --format svg > site.svg            the topology
  cutover graph --format mermaid                   for a README or a pull request
  cutover graph plan.cut | dot -Tpng > plan.png    a saved plan, by Graphviz
  cutover graph 20261122-093015-7f3a91             an apply of `history`")]
pub struct Args {
    /// A plan file or the id of an apply [default: the topology]
    #[arg(value_name = "WHAT")]
    what: Option<String>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("graph", &[Format::Text, Format::Dot, Format::Mermaid, Format::Svg])?;
    let view = view(args.what.as_deref(), context)?;
    context.out.result(match format {
        Format::Mermaid => mermaid(&view),
        Format::Svg => svg(&view),
        _ => dot(&view),
    });
    Ok(Exit::Ok)
}

fn view(what: Option<&str>, context: &Context) -> Result<GraphView, Failure> {
    let Some(what) = what else {
        return Ok(GraphView::of_site(&Project::compile(context)?.site));
    };
    if Path::new(what).is_file() {
        let key = secrets::state_key(&context.state_dir())?;
        return Ok(GraphView::of_plan(&planfile::load(Path::new(what), &key)?));
    }
    let state = Project::compile(context)?.state(context).state();
    match Journal::read(&state)?.load(what)? {
        Some(saved) => Ok(GraphView::of_plan(&saved.plan)),
        None => Err(Failure::new(format!("`{what}` is neither a plan file nor an apply of the journal"))
            .help("`cutover history` lists the applies")),
    }
}
