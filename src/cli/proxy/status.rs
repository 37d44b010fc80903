use super::super::output::Output;
use super::ask::{SOON, Socket};
use crate::services::proxy::control::wire::{Request, Status};

/// Show what the proxy that serves is about: phase, epoch, sessions of each side
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    #[arg(long)]
    json: bool,
}

/// Forget what the directory said of a user, or of all: the next login asks it
#[derive(Debug, clap::Args)]
pub struct Flush {
    #[command(flatten)]
    socket: Socket,
    user: Option<String>,
}

/// Take no connections any more; the proxy ends when its last session has, or after `drain` of its configuration
#[derive(Debug, clap::Args)]
pub struct Drain {
    #[command(flatten)]
    socket: Socket,
}

pub fn run(args: &Args, out: &Output) -> Result<(), Vec<String>> {
    let status: Status = args.socket.ask(&Request::Status {}, SOON)?;
    match args.json {
        true => out.json(&status),
        false => say(&status, out),
    }
    Ok(())
}

fn say(s: &Status, out: &Output) {
    out.result(format!("cutover-proxy {}: {}", s.version, s.phase));
    out.result(format!("epoch {}, {} routes, default {}", s.epoch, s.routes, s.default.as_str()));
    let Status { connections, old, new, waiting, .. } = s;
    out.result(format!("{connections} connections: {old} old, {new} new, {waiting} logins on their way or held"));
}

pub fn flush(args: Flush, out: &Output) -> Result<(), Vec<String>> {
    let flushed: usize = args.socket.ask(&Request::Flush { user: args.user }, SOON)?;
    out.result(format!("{flushed} users forgotten"));
    Ok(())
}

pub fn drain(args: &Drain, out: &Output) -> Result<(), Vec<String>> {
    let status: Status = args.socket.ask(&Request::Drain {}, SOON)?;
    say(&status, out);
    Ok(())
}
