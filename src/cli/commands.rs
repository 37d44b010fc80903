//! One command one file: help text, arguments, function.

use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

mod completions;
mod init;
mod lab_relay;
mod version;

pub type Answer = Result<Exit, Failure>;

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::Args),
    Completions(completions::Args),
    Version(version::Args),
    #[command(hide = true)]
    LabRelay(lab_relay::Args),
}

pub fn run(command: Command, context: &Context) -> Answer {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Version(args) => version::run(&args, context),
        Command::LabRelay(args) => lab_relay::run(&args, context),
    }
}
