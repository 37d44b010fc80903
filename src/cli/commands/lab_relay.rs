use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;
use crate::lab::relay::{self, RelayArgs};

/// The process behind `lab fault slow`; started by cutover itself
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub fn run(args: &Args, _: &Context) -> Answer {
    let told = RelayArgs::from_argv(&args.words).map_err(Failure::new)?;
    relay::run(&told).map_err(|e| Failure::new(format!("relay of {}: {e}", told.table)))?;
    Ok(Exit::Ok)
}
