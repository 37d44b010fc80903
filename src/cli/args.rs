//! The arguments. Help texts teach: each command shows what to type.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, ValueEnum};

use super::commands::Command;
use super::exit::Exit;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER: &str = "\
First steps:
  cutover init                     write a commented topology.kdl here
  cutover check                    find every mistake in it, without touching a host
  cutover lab up --env lab         make its hosts as containers on this machine
  cutover plan --env lab           see what would change
  cutover apply --env lab          make it so

Exit codes:
  0  done, or nothing to do
  1  an error (also wrong usage)
  2  changes are planned (plan --detailed-exitcode), drift found, files not formatted (fmt --check)
  130  stopped by Ctrl-C; `cutover resume` goes on

Environment:
  CUTOVER_ROOT, CUTOVER_ENV, CUTOVER_STATE_DIR, CUTOVER_PARALLEL   defaults of the options
  CUTOVER_VAR_name        value of the topology's variable `name`, as --set name=VALUE, which wins
  CUTOVER_STATE_KEY       the state key (64 hex digits) instead of the file .cutover/key
  CUTOVER_AGE_IDENTITY    file with the identities that open age: secrets
  CUTOVER_LOG             log filter in RUST_LOG syntax, overrides -v
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE   as usual";

/// Plan and carry out the move of an organisation's mail.
///
/// The topology, KDL files in git, says what the mail system shall be. `plan` shows what would change on the real hosts,
/// `apply` makes it so over SSH, step by step, and can stop, resume and go back.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, styles = STYLES, after_long_help = AFTER, after_help = "Try `cutover --help` for first steps and exit codes.",
    disable_help_subcommand = true, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Folder of the topology; its root file is topology.kdl there
    #[arg(long, global = true, value_name = "DIR", env = "CUTOVER_ROOT", hide_env = true)]
    pub root: Option<PathBuf>,
    /// Root file of the topology, when it is not topology.kdl
    #[arg(long, short = 'f', global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Environment whose overlay applies, as in `environment lab` of the topology
    #[arg(long, short = 'e', global = true, value_name = "NAME", env = "CUTOVER_ENV", hide_env = true)]
    pub env: Option<String>,
    /// Give a variable of the topology its value; may be repeated
    #[arg(long = "set", global = true, value_name = "NAME=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// Form of the result
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", hide_default_value = true)]
    pub format: Format,
    /// Hosts that are asked or changed side by side
    #[arg(long, global = true, value_name = "N", default_value_t = 32, env = "CUTOVER_PARALLEL", hide_env = true,
        value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub parallel: u16,
    /// Folder for journal and state key [default: .cutover beside the topology]
    #[arg(long, global = true, value_name = "DIR", env = "CUTOVER_STATE_DIR", hide_env = true)]
    pub state_dir: Option<PathBuf>,
    /// Say more on standard error; -vv and -vvv say still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub color: Color,
}

const VARIABLE: &str = "CUTOVER_VAR_";

impl Globals {
    /// The values that variables of the topology are given: by `CUTOVER_VAR_name`, then by `--set`, where the later one holds.
    pub fn assignments(&self) -> Vec<(String, String)> {
        let told = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.to_str()?.strip_prefix(VARIABLE)?.to_owned(), value.to_str()?.to_owned()))
        });
        let mut all: Vec<(String, String)> =
            told.filter(|(name, _)| self.sets.iter().all(|(set, _)| set != name)).collect();
        all.sort();
        all.extend(self.sets.iter().cloned());
        all
    }
}

/// Users as written, and those of standard input, one a line, where `-` stands.
pub fn users(named: &[String]) -> Result<Vec<String>, Vec<String>> {
    let mut out = Vec::new();
    for name in named {
        if name != "-" {
            out.push(name.clone());
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(|e| vec![format!("standard input: {e}")])?;
            let user = line.trim();
            if !user.is_empty() {
                out.push(user.to_owned());
            }
        }
    }
    Ok(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// Forms of a result; not every command has every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people (the default)
    Text,
    /// For programs; schemas in schemas/*.schema.json
    Json,
    /// For a pull request
    Markdown,
    /// A page, of `docs`
    Html,
    /// Graphviz, of `graph`
    Dot,
    /// Mermaid, of `graph`
    Mermaid,
    /// Picture, of `graph` and of `plan --window`
    Svg,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Markdown => "markdown",
            Format::Html => "html",
            Format::Dot => "dot",
            Format::Mermaid => "mermaid",
            Format::Svg => "svg",
        }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Prints clap's account of wrong usage, of `--help` or of `--version`. Wrong usage is 1, since 2 means changes.
pub fn explain_usage(usage: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = usage.print();
    if usage.use_stderr() { Exit::Error.into() } else { Exit::Ok.into() }
}
