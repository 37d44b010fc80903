//! The command line of `cutover-proxy`. One command one file, as in `cutover`.

mod ask;
mod check;
mod environment;
mod kick;
mod passwords;
mod route;
mod serve;
mod sessions;
mod status;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{self, Color};
use super::exit::Exit;
use super::logging;
use super::output::Output;
use crate::services::proxy::config::Config;

/// The migration proxy: users keep one host name for IMAP, POP3 and submission while their mailboxes move
#[derive(Debug, Parser)]
#[command(name = "cutover-proxy", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// Say more on standard error; twice for each step
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Sessions(sessions::Args),
    Route(route::Args),
    Hold(route::Hold),
    Release(route::Release),
    Kick(kick::Args),
    Status(status::Args),
    Flush(status::Flush),
    Drain(status::Drain),
    Upgrade(upgrade::Args),
    Proven(passwords::Args),
    Purge(passwords::Purge),
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
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args, &out),
        Command::Sessions(args) => sessions::run(args, &out),
        Command::Route(args) => route::run(args, &out),
        Command::Hold(args) => route::hold(args, &out),
        Command::Release(args) => route::release(args, &out),
        Command::Kick(args) => kick::run(args, &out),
        Command::Status(args) => status::run(&args, &out),
        Command::Flush(args) => status::flush(args, &out),
        Command::Drain(args) => status::drain(&args, &out),
        Command::Upgrade(args) => upgrade::run(&args, &out),
        Command::Proven(args) => passwords::proven(&args, &out),
        Command::Purge(args) => passwords::purge(args, &out),
        Command::Version => {
            out.result(format!("cutover-proxy {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    };
    out.ended(done.map(|()| Exit::Ok))
}

/// Where the deployer puts the configuration.
fn default_config() -> PathBuf {
    "/etc/cutover-proxy/proxy.toml".into()
}

fn read(path: &Path) -> Result<Config, Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| vec![format!("{} cannot be read: {e}", path.display())])?;
    let at = |fault: String| format!("{}: {fault}", path.display());
    Config::parse(&text).map_err(|faults| faults.into_iter().map(at).collect())
}
