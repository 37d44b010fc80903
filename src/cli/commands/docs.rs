use std::path::PathBuf;

use super::super::args::Format;
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;
use crate::language::reference;

/// Show the reference of the language: kinds, fields, units, defaults, examples
///
/// Made from the schema that this program checks with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover docs                                        all kinds, a line each
  cutover docs server                                 one kind: its fields and an example
  cutover docs --format html --out reference.html     a page with everything
  cutover docs --format markdown                      the same as Markdown")]
pub struct Args {
    /// A kind of node, such as server
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// File for the result instead of standard output; an older one is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let format = context.formats("docs", &[Format::Text, Format::Markdown, Format::Html])?;
    let kind = args.kind.as_deref();
    let text = match format {
        Format::Markdown => reference::markdown(kind),
        Format::Html if kind.is_some() => {
            return Err(Failure::new("the HTML page holds all kinds").help("leave KIND out"));
        }
        Format::Html => Ok(reference::html()),
        _ => reference::text(kind),
    }
    .map_err(Failure::new)?;
    match &args.out {
        None => context.out.result(text),
        Some(path) => {
            std::fs::write(path, text).map_err(|e| Failure::new(format!("{} was not written: {e}", path.display())))?;
            context.out.note(format!("wrote {}", path.display()));
        }
    }
    Ok(Exit::Ok)
}
