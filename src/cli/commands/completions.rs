use clap::CommandFactory as _;
use clap_complete::Shell;

use super::super::args::Cli;
use super::super::context::Context;
use super::super::exit::Exit;
use super::Answer;

/// Write a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cutover completions bash > ~/.local/share/bash-completion/completions/cutover
  cutover completions zsh  > ~/.zfunc/_cutover
  cutover completions fish > ~/.config/fish/completions/cutover.fish")]
pub struct Args {
    /// The shell that will read it
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cutover", &mut script);
    context.out.raw(&script);
    Ok(Exit::Ok)
}
