use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::output::Output;
use super::ask::Socket;

/// How long the next process may take.
const PATIENCE: Duration = Duration::from_secs(35);

/// Let the program as it is on the disk now take over from the process that serves; sessions go on in the former one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    socket: Socket,
}

pub fn run(args: &Args, out: &Output) -> Result<(), Vec<String>> {
    let path = args.socket.path();
    let serves =
        || -> std::io::Result<Pid> { Ok(rustix::net::sockopt::socket_peercred(UnixStream::connect(path)?)?.pid) };
    let one = |e: std::io::Error| vec![format!("no proxy answers at {}: {e}", path.display())];
    let former = serves().map_err(one)?;
    kill_process(former, Signal::USR2).map_err(|e| vec![format!("process {former:?} cannot be told: {e}")])?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        if let Ok(now) = serves()
            && now != former
        {
            out.result(format!("process {} has taken over from {}", now.as_raw_nonzero(), former.as_raw_nonzero()));
            return Ok(());
        }
    }
    Err(vec!["no process has taken over; the log of the proxy says why".to_owned()])
}
