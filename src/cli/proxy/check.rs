use std::path::PathBuf;

use super::super::output::Output;
use crate::services::proxy::serve::setup::Setup;
use crate::services::proxy::serve::tls::Certificates;

/// Read a configuration and the certificates and keys that it names, and say every mistake
///
/// Asks no host and opens no listener, so it can be run beside the proxy that serves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(default_value_os_t = super::default_config())]
    file: PathBuf,
}

pub fn run(args: &Args, out: &Output) -> Result<(), Vec<String>> {
    let config = super::read(&args.file)?;
    let at = |fault: String| format!("{}: {fault}", args.file.display());
    let mut faults: Vec<String> = Vec::new();
    let certificates = Certificates::open(&config.certificates).map_err(|found| faults.extend(found));
    let _ = Setup::of(&config).map_err(|found| faults.extend(found));
    if !faults.is_empty() {
        return Err(faults.into_iter().map(at).collect());
    }
    let now = jiff::Timestamp::now().as_second();
    for (name, expiry) in certificates.iter().flat_map(Certificates::expiry) {
        let days = (expiry - now).div_euclid(86_400);
        match days {
            ..0 => out.note(format!("warning: the certificate of {name} has expired")),
            0..14 => out.note(format!("warning: the certificate of {name} expires in {days} days")),
            _ => {}
        }
    }
    let listeners = config.listeners.len();
    out.result(format!("{} is fine: {listeners} listeners", args.file.display()));
    Ok(())
}
