//! The command line of `cutover-cms`. One command one file, as in `cutover`.

mod ask;
mod audit;
mod check;
mod passes;
mod passwords;
mod preflight;
mod report;
mod run;
mod status;
mod steer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::args::{self, Color};
use super::exit::Exit;
use super::logging;
use super::output::Output;
use crate::services::cms::config::Config;
use crate::services::cms::ledger::{Crash, Ledger};
use crate::services::cms::people::People;

/// The content migration service: moves mailboxes, all of what is in them, resumable and provable
#[derive(Debug, Parser)]
#[command(name = "cutover-cms", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// Say more on standard error; twice for each step
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// The configuration
    #[arg(long, value_name = "FILE", global = true, default_value_os_t = default_config())]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Preflight(preflight::Args),
    Status(status::Args),
    Final(passes::Final),
    Late(passes::Late),
    Verify(passes::VerifyArgs),
    Rollback(passes::Rollback),
    Pause(steer::Pause),
    Resume(steer::Resume),
    Retry(steer::Retry),
    Astray(steer::Astray),
    Report(report::Args),
    Audit(audit::Args),
    /// Say which version this is
    Version,
}

/// Runs the program: arguments, log, command, exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return args::explain_usage(&usage),
    };
    logging::start(cli.verbose);
    let out = Output::new(Color::Auto);
    let done = match cli.command {
        Command::Check(args) => check::run(&args, &cli.config, &out),
        Command::Preflight(args) => preflight::run(&args, &cli.config, &out),
        Command::Run(args) => run::run(&args, &cli.config, &out),
        Command::Final(args) => passes::finish(&args, &cli.config, &out),
        Command::Late(args) => passes::late(&args, &cli.config, &out),
        Command::Verify(args) => passes::verify(&args, &cli.config, &out),
        Command::Rollback(args) => passes::rollback(&args, &cli.config, &out),
        Command::Pause(args) => steer::pause(args, &cli.config, &out),
        Command::Resume(args) => steer::resume(args, &cli.config, &out),
        Command::Retry(args) => steer::retry(args, &cli.config, &out),
        Command::Astray(args) => steer::astray(args, &cli.config, &out),
        Command::Report(args) => report::run(&args, &cli.config, &out),
        Command::Audit(args) => audit::run(&args, &cli.config, &out),
        Command::Status(args) => status::run(&args, &cli.config, &out),
        Command::Version => {
            out.result(format!("cutover-cms {}", env!("CARGO_PKG_VERSION")));
            Ok(Exit::Ok)
        }
    };
    out.ended(done)
}

/// Where the deployer puts the configuration.
fn default_config() -> PathBuf {
    "/etc/cutover-cms/cms.toml".into()
}

/// The configuration and everybody of it.
fn read(path: &Path) -> Result<(Config, People), Vec<String>> {
    let text = |path: &Path| {
        std::fs::read_to_string(path).map_err(|e| vec![format!("{} cannot be read: {e}", path.display())])
    };
    let at = |faults: Vec<String>| faults.into_iter().map(|f| format!("{}: {f}", path.display())).collect::<Vec<_>>();
    let mut config = Config::parse(&text(path)?).map_err(at)?;
    if let Some(file) = &config.folders.rename_file {
        let more: BTreeMap<String, String> = toml::from_str(&text(file)?)
            .map_err(|e| vec![format!("{}: {}", file.display(), e.to_string().trim_end())])?;
        for (from, to) in more {
            config.folders.rename.entry(from).or_insert(to);
        }
    }
    let list = config.cms.mailboxes.as_deref().map(text).transpose()?;
    let people = People::of(&config, list.as_deref()).map_err(at)?;
    Ok((config, people))
}

/// The users that a command names. Where it names some, standard input has to as well: nobody is not everybody.
fn listed(names: &[String]) -> Result<Vec<String>, Vec<String>> {
    let all = args::users(names)?;
    if all.is_empty() && !names.is_empty() { Err(vec!["standard input names no user".to_owned()]) } else { Ok(all) }
}

fn ledger(config: &Config) -> Result<Ledger, Vec<String>> {
    Ledger::open(&config.cms.state, crash()).map_err(|e| vec![e.to_string()])
}

/// Tests of debug builds kill the process at a write of the ledger: `N` after it is durable, `-N` before.
fn crash() -> Option<Crash> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let n: i64 = std::env::var("CUTOVER_CMS_CRASH").ok()?.parse().ok()?;
    Some(Crash { write: n.unsigned_abs(), durable: n > 0 })
}
