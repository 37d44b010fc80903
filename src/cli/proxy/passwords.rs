use std::time::Duration;

use super::super::output::Output;
use super::ask::{SOON, Socket};
use crate::services::proxy::control::wire::Request;
use crate::services::proxy::proof::{Proven, Purged};

/// Show who has proven their password to a backend, when and on which side; no password stands there
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    #[arg(long)]
    json: bool,
}

/// Destroy captured passwords, and print which: the same is written to `purged.log` of the proxy's folder
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Purge {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    which: Which,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Those of users whose route is the new side
    #[arg(long)]
    moved: bool,
    /// That of one user
    #[arg(long)]
    user: Option<String>,
    /// Those that were written before: `30d`
    #[arg(long, value_parser = super::route::duration)]
    older: Option<Duration>,
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

pub fn proven(args: &Args, out: &Output) -> Result<(), Vec<String>> {
    let proven: Vec<Proven> = args.socket.ask(&Request::Proven {}, SOON)?;
    if args.json {
        out.json(&proven);
        return Ok(());
    }
    for p in &proven {
        out.result(format!("{:<4} {} first {} last {}", p.side.as_str(), p.user, time(p.first), time(p.last)));
    }
    out.note(format!("{} proofs", proven.len()));
    Ok(())
}

pub fn purge(args: Purge, out: &Output) -> Result<(), Vec<String>> {
    let Which { moved, user, older } = args.which;
    let request = Request::Purge { moved, user, older: older.map(|d| d.as_secs()) };
    let purged: Purged = args.socket.ask(&request, Duration::from_secs(300))?;
    if args.json {
        out.json(&purged);
        return Ok(());
    }
    for f in &purged.files {
        let user = f.user.as_deref().unwrap_or("(a user nobody knows)");
        out.result(format!(
            "destroyed {} of {user}: {} octets, sha256 {}, written {}",
            f.file,
            f.octets,
            f.sha256,
            time(f.written)
        ));
    }
    out.result(format!("{}: {} passwords destroyed, {} are left", time(purged.at), purged.count, purged.left));
    Ok(())
}
