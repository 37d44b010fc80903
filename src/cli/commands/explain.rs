use super::super::codes;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::project::Project;
use super::Answer;
use crate::{language, reporting};

/// Say where each value comes from, or what a code means
///
/// For one field of a node or for a whole node: every layer that set it (default, base, module, environment), with file and line.
/// For the code of an error or warning: what it means, what to do, and an example.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover explain server.mail-1                 every field of a server
  cutover explain server.mail-1.ip --env lab    one field, with what the environment made of it
  cutover explain E0301                         what this error means and what to do")]
pub struct Args {
    /// `kind.name`, `kind.name.field`, or a code such as E0301
    #[arg(value_name = "ADDRESS")]
    address: String,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    if let Some(code) = codes::find(&args.address) {
        context.out.result(reporting::codes::entry(code));
        return Ok(Exit::Ok);
    }
    if is_code(&args.address) {
        return Err(Failure::new(format!("there is no code {}", args.address))
            .help("docs/errors.md lists all; codes that start with L are lint rules: cutover lint --list"));
    }
    let (sources, topology) = Project::topology(context)?;
    match language::explain(&topology, &sources, &args.address) {
        Ok(text) => {
            context.out.result(text);
            Ok(Exit::Ok)
        }
        Err(why) => Err(Failure::new(why)),
    }
}

/// A letter and four digits, as no node is called by itself: an address has a dot.
fn is_code(word: &str) -> bool {
    let word = word.trim_start_matches("cutover::");
    word.len() == 5
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word[1..].bytes().all(|b| b.is_ascii_digit())
}
