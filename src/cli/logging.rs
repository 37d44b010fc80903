//! The diagnostic log on standard error, for people who look for a fault. Results never go here.

use std::io::Write as _;

use tracing_subscriber::EnvFilter;

/// `-v` shows what cutover does, `-vv` each request to a host, `-vvv` everything of ours. `CUTOVER_LOG` overrides (the syntax of
/// `RUST_LOG`). Secrets are never given to the log, at any level.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "cutover=warn",
        1 => "cutover=info",
        2 => "cutover=debug",
        _ => "cutover=trace,openssh=debug",
    };
    let filter = match std::env::var("CUTOVER_LOG") {
        Ok(given) => EnvFilter::try_new(&given).unwrap_or_else(|e| {
            let _ = writeln!(std::io::stderr(), "CUTOVER_LOG={given} is not understood ({e}); {level} is used");
            EnvFilter::new(level)
        }),
        Err(_) => EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only a second start can fail, in tests that call main twice.
    let _ = log.with_ansi(false).with_target(verbose > 1).compact().try_init();
}
