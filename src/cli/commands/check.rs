use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::project::{self, Checked};
use super::super::told::Told;
use super::Answer;

/// Find every mistake in the topology, without asking a host
///
/// Checks the base and every environment: syntax, names, types, units, references, roles and their packs; then the lint rules. All mistakes are shown
/// at once, each with its place and what to write instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover check                        all environments
  cutover check --format json          for an editor or a pipeline: code, file, line, column
  cutover check --deny-warnings        warnings count as errors")]
pub struct Args {
    /// End with 1 when there are warnings
    #[arg(long)]
    deny_warnings: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("check", &[Format::Text, Format::Json])?;
    let checked = project::check_all(context)?;
    let mut told = Told::default();
    for Checked { sources, diagnostics, .. } in &checked {
        told.tell(context, sources, diagnostics);
    }
    told.end(context, args.deny_warnings, || {
        let line = |Checked { environment, nodes, hosts, resources, .. }: &Checked| {
            let of = environment.as_deref().unwrap_or("base");
            format!("{of}: no mistakes in {nodes} nodes, {hosts} hosts, {resources} resources")
        };
        checked.iter().map(line).collect()
    })?;
    Ok(Exit::Ok)
}
