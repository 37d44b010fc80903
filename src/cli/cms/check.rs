use std::path::Path;

use super::super::exit::Exit;
use super::super::output::Output;
use super::passwords::passwords;
use crate::services::cms::ledger::Way;

/// Read a configuration, its list of mailboxes and the passwords that they name, and say every mistake
///
/// Asks no server, so it can be run beside the service.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, path: &Path, out: &Output) -> Result<Exit, Vec<String>> {
    let (config, people) = super::read(path)?;
    let passwords = passwords(&config);
    let mut faults: Vec<String> = Vec::new();
    for user in people.users() {
        for reads in [true, false] {
            if let Err(fault) = people.access(&config, &passwords, user, Way::Forward, reads) {
                faults.push(format!("{}: {user}: {}", path.display(), fault.what));
            }
        }
    }
    if !faults.is_empty() {
        faults.dedup();
        return Err(faults);
    }
    out.result(format!("{} is fine: {} mailboxes", path.display(), people.users().count()));
    Ok(Exit::Ok)
}
