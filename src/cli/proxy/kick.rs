use std::time::Duration;

use super::super::output::Output;
use super::ask::{Socket, closed, users};
use crate::services::proxy::control::wire::{Changed, Request};

/// End the sessions of users after their current command; they may log in again at once
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// Users as the routes know them; `-` reads more from standard input, one a line
    #[arg(required = true, value_name = "USER")]
    users: Vec<String>,
    /// How long to wait for their end
    #[arg(long, default_value = "5s", value_parser = super::route::duration)]
    wait: Duration,
}

pub fn run(args: Args, out: &Output) -> Result<(), Vec<String>> {
    let wait_ms = u64::try_from(args.wait.as_millis()).unwrap_or(u64::MAX);
    let changed: Changed = args.socket.ask(&Request::Kick { users: users(&args.users)?, wait_ms }, args.wait)?;
    out.result(format!("{} sessions closed", changed.told - changed.remaining));
    closed(&changed)
}
