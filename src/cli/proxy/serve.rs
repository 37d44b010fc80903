use std::path::PathBuf;

use super::environment;
use crate::services::proxy::serve::{self, Given};

/// Serve until SIGTERM; SIGHUP reads configuration and certificates anew
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value_os_t = super::default_config())]
    config: PathBuf,
}

pub fn run(args: Args) -> Result<(), Vec<String>> {
    let sockets = environment::sockets().map_err(|e| vec![e])?;
    let notify = environment::notify();
    let config = super::read(&args.config)?;
    let path = args.config;
    serve::run(config, Given { sockets, read: Box::new(move || super::read(&path)), notify })
}
