use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::environment;
use crate::services::proxy::serve::handover::{self, Heir};
use crate::services::proxy::serve::{self, Given};

/// Serve until SIGTERM; SIGHUP reads configuration and certificates anew, SIGUSR2 lets the program as it is on the disk now take over
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    config: PathBuf,
    /// The former process hands its sockets over by standard input
    #[arg(long, hide = true)]
    take_over: bool,
}

pub fn run(args: Args) -> Result<(), Vec<String>> {
    let one = |e: std::io::Error| vec![format!("the former process hands nothing over: {e}")];
    let sockets = match args.take_over {
        true => handover::take(std::io::stdin()).map_err(one)?,
        false => environment::sockets().map_err(|e| vec![e])?,
    };
    let notify = environment::notify();
    let config = super::read(&args.config)?;
    let heir = heir(&args.config).map_err(|e| vec![format!("where this program lies is not known: {e}")])?;
    let ready = move || {
        if args.take_over
            && let Err(e) = handover::ready(std::io::stdin())
        {
            tracing::error!("the former process does not hear that this one serves: {e}");
        }
    };
    let path = args.config;
    let read = Box::new(move || super::read(&path));
    serve::run(config, Given { sockets, read, notify, ready: Box::new(ready), heir })
}

/// The program under the name that it has now: what lies there later is the next one.
fn heir(config: &std::path::Path) -> std::io::Result<Box<Heir>> {
    let (program, config) = (std::env::current_exe()?, config.to_owned());
    Ok(Box::new(move |channel| {
        let mut command = Command::new(&program);
        command.arg("serve").arg("--config").arg(&config).arg("--take-over").stdin(Stdio::from(channel));
        command.spawn().map(|child| child.id())
    }))
}
