//! The command line: joins the floors, one command one file. No other floor prints, reads the environment or ends the process.

mod after;
pub mod alerts;
mod args;
pub mod audited;
mod authority;
mod back;
mod calendar;
mod certificate;
pub mod cms;
pub mod codes;
mod commands;
mod context;
mod exit;
mod failure;
mod gates;
mod guard;
mod interrupt;
pub mod lab_spec;
mod left;
mod lines;
mod logging;
pub mod moving;
mod near;
pub mod notices;
mod output;
pub mod packs;
mod passwords;
mod phase;
mod planfile;
pub mod probe;
mod project;
pub mod proxy;
mod receiver;
mod recorded;
pub mod records;
mod retire;
mod roster;
mod rotation;
pub mod routes;
mod runtime;
pub mod scores;
pub mod secrets;
mod served;
mod session;
mod signing;
mod silences;
mod told;
pub mod triggers;
mod whole;
mod work;

use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use context::Context;

/// Runs the program: arguments, log, command, exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return args::explain_usage(&usage),
    };
    logging::start(cli.globals.verbose);
    let context = Context::new(cli.globals);
    let exit = match commands::run(cli.command, &context) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.print(&context.out, context.json());
            failure.exit()
        }
    };
    exit.into()
}
