use super::super::output::Output;
use super::ask::{SOON, Socket};
use crate::services::proxy::control::wire::{Request, SessionLine};

/// Show the sessions of the proxy that serves: who, from where, on which side
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
    /// Those of one user
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, out: &Output) -> Result<(), Vec<String>> {
    let sessions: Vec<SessionLine> = args.socket.ask(&Request::Sessions { user: args.user }, SOON)?;
    if args.json {
        out.json(&sessions);
        return Ok(());
    }
    for s in &sessions {
        let side = s.side.map_or("login", |r| r.as_str());
        let (protocol, tls) = (s.protocol.as_str(), if s.tls { "tls" } else { "plain" });
        let backend = s.backend.as_deref().unwrap_or("-");
        out.result(format!(
            "{:<8} {side:<5} {protocol:<10} {tls:<5} {} from {} at {backend}, {} s, {} up, {} down",
            s.session, s.user, s.client, s.seconds, s.up, s.down
        ));
    }
    out.note(format!("{} sessions", sessions.len()));
    Ok(())
}
