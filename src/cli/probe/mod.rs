//! The command line of `cutover-probe`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{self, Color};
use super::exit::Exit;
use super::logging;
use super::output::Output;
use crate::services::probe::config::Config;
use crate::services::probe::serve;

/// Probes of service levels: letters that are sent and looked for, logins, greetings, told to Prometheus
#[derive(Debug, Parser)]
#[command(name = "cutover-probe", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// Say more on standard error; twice for each step
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Probe until SIGTERM
    Serve {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/cutover-probe/probes.json")]
        config: PathBuf,
    },
    /// Say what is wrong with a configuration
    Check {
        #[arg(value_name = "FILE", default_value = "/etc/cutover-probe/probes.json")]
        config: PathBuf,
    },
    /// Say which version this is
    Version,
}

/// Runs the program: arguments, log, command, exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return args::explain_usage(&usage),
    };
    logging::start(cli.verbose + 1);
    let out = Output::new(Color::Auto);
    let done = match cli.command {
        Command::Serve { config } => Config::read(&config).and_then(serve::run),
        Command::Check { config } => Config::read(&config).map(|_| out.note(format!("{}: right", config.display()))),
        Command::Version => {
            out.result(format!("cutover-probe {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    };
    out.ended(done.map(|()| Exit::Ok))
}
