use std::collections::BTreeSet;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::{self, Examined};
use super::Answer;
use crate::model::diagnostic::{Diagnostics, Severity};
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
    let examined = project::examine_all(context)?;
    let mut told = BTreeSet::new();
    let (mut errors, mut warnings) = (0, 0);
    let mut documents = Vec::new();
    for Examined { project, diagnostics: found } in &examined {
        // What two environments share is told once.
        let mut fresh = Diagnostics::default();
        for d in found.iter() {
            let place = d.labels.first().map(|l| project.sources.origin(l.span));
            if told.insert((d.code, d.message.clone(), place)) {
                match d.severity {
                    Severity::Error => errors += 1,
                    Severity::Warning => warnings += 1,
                    Severity::Advice => {}
                }
                fresh.push(d.clone());
            }
        }
        if format == Format::Json {
            let mut document = diagnostics::json(&project.sources, &fresh);
            documents.extend(document["diagnostics"].as_array_mut().map(std::mem::take).unwrap_or_default());
        } else if !fresh.is_empty() {
            let style = diagnostics::Style { color: context.out.color(), ..diagnostics::Style::default() };
            context.out.result(diagnostics::text(&project.sources, &fresh, style));
        }
    }
    if format == Format::Json {
        context.out.json(&serde_json::json!({ "diagnostics": documents }));
    } else if (errors, warnings) == (0, 0) {
        for Examined { project, .. } in &examined {
            let of = project.topology.environment.as_deref().unwrap_or("base");
            let (nodes, site) = (project.topology.nodes.len(), &project.site);
            context.out.result(format!(
                "{of}: no mistakes in {nodes} nodes, {} hosts, {} resources",
                site.hosts.len(),
                site.resources.len()
            ));
        }
    } else {
        context.out.result(format!("{errors} errors, {warnings} warnings"));
    }
    if errors > 0 || (args.deny_warnings && warnings > 0) {
        return Err(Failure::shown());
    }
    Ok(Exit::Ok)
}
