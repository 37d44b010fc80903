use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::project::Project;
use super::Answer;
use crate::language::schema::schema;
use crate::reporting::topology_document;

/// Print the resolved topology as JSON, for other programs
///
/// What an environment comes to, after ranges, modules, overlays, maps and defaults. Secrets stay references, units are named, a
/// field that takes a list is always an array. The form is schemas/topology.schema.json.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover export --env production > topology.json
  cutover export --env lab --spans      with the file, line and column of every node and value
  cutover export | jq -r '.nodes[] | select(.kind == \"server\") | .name'")]
pub struct Args {
    /// Name file, line and column of every node and value
    #[arg(long)]
    spans: bool,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    context.formats("export", &[Format::Text, Format::Json])?;
    let (sources, topology) = Project::topology(context)?;
    let many = |kind: &str, field: &str| schema().kind(kind).and_then(|k| k.field(field)).is_some_and(|f| f.many);
    context.out.json(&topology_document(&topology, &sources, &many, args.spans));
    Ok(Exit::Ok)
}
