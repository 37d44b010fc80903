use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::{self, Examined, Issue};
use super::Answer;
use crate::language;
use crate::model::diagnostic::Severity;
use crate::reporting::diagnostics;

/// Find every mistake in the topology, without asking a host
///
/// Checks the base and every environment: syntax, names, types, units, references, roles and their packs. All mistakes are shown
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
    let format = context.formats("check", &[Format::Text, Format::Json])?;
    let Examined { project, diagnostics: found } = project::examine(context, language::check, Issue::StandIns)?;
    let warnings = found.iter().filter(|d| d.severity == Severity::Warning).count();
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    if format == Format::Json {
        context.out.json(&diagnostics::json(&project.sources, &found));
    } else {
        if !found.is_empty() {
            let style = diagnostics::Style { color: context.out.color(), ..diagnostics::Style::default() };
            context.out.result(diagnostics::text(&project.sources, &found, style));
        }
        context.out.result(match (errors, warnings) {
            (0, 0) => {
                let (nodes, hosts) = (project.topology.nodes.len(), project.site.hosts.len());
                format!("no mistakes: {nodes} nodes, {hosts} hosts, {} resources", project.site.resources.len())
            }
            (errors, warnings) => format!("{errors} errors, {warnings} warnings"),
        });
    }
    if errors > 0 || (args.deny_warnings && warnings > 0) {
        return Err(Failure::shown());
    }
    Ok(Exit::Ok)
}
