use std::path::{Path, PathBuf};

use super::super::exit::Exit;
use super::super::output::Output;
use crate::services::cms::audit::check;

/// Follow the chain of the audit log: a line that was changed, taken out or put in shows
///
/// Keep the last sum elsewhere: a log that was cut at its end, or written anew as a whole, shows by that alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log; that of the configuration's state folder unless given
    file: Option<PathBuf>,
    /// The log must have had this last sum at some time
    #[arg(long, value_name = "SUM")]
    holds: Option<String>,
}

pub fn run(args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => super::read(path)?.0.cms.state.join("audit.log"),
    };
    let text = std::fs::read_to_string(&file).map_err(|e| vec![format!("{} cannot be read: {e}", file.display())])?;
    let (count, last) = check(&text).map_err(|e| vec![format!("{}: {e}", file.display())])?;
    if let Some(sum) = &args.holds
        && !text.contains(&format!("\"sum\":\"{sum}\""))
    {
        return Err(vec![format!("{}: no line has the sum {sum}: the log was cut or written anew", file.display())]);
    }
    out.result(format!("{}: {count} lines, whole; last sum {last}", file.display()));
    Ok(Exit::Ok)
}
