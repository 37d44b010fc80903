use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::Answer;
use crate::language;

/// Say where each value comes from
///
/// For one field of a node or for a whole node: every layer that set it (default, base, module, environment), with file and line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover explain server.mail-1                 every field of a server
  cutover explain server.mail-1.ip --env lab    one field, with what the environment made of it")]
pub struct Args {
    /// `kind.name` or `kind.name.field`
    #[arg(value_name = "ADDRESS")]
    address: String,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let (sources, topology) = Project::topology(context)?;
    match language::explain(&topology, &sources, &args.address) {
        Ok(text) => {
            context.out.result(text);
            Ok(Exit::Ok)
        }
        Err(why) => Err(Failure::new(why)),
    }
}
