use std::time::Duration;

use super::super::args::users;
use super::super::output::Output;
use super::ask::{Socket, closed, millis};
use super::route::Whom;
use crate::services::proxy::control::wire::{Changed, Request};

/// End the sessions of users after their current command; they may log in again at once
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    whom: Whom,
    /// How long to wait for their end
    #[arg(long, default_value = "5s", value_parser = super::route::duration)]
    wait: Duration,
}

pub fn run(args: Args, out: &Output) -> Result<(), Vec<String>> {
    let request = Request::Kick { users: users(&args.whom.users)?, wait_ms: millis(args.wait) };
    let changed: Changed = args.socket.ask(&request, args.wait)?;
    out.result(format!("{} sessions closed", changed.told - changed.remaining));
    closed(&changed)
}
