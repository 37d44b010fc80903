use std::io::{BufReader, stdin, stdout};

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::Answer;
use crate::editor::{self, Ended};

/// Speak with an editor: mistakes as you type, completion, hover, rename
///
/// A language server (LSP 3.17) over standard input and output, started by the editor. It finds the topology of an open file by
/// itself: the topology.kdl of its folder or of one above, over texts that are not saved yet. It asks no host and reads no secret.
/// --root names one that is checked whether a file of it is open or not; --env checks and shows one environment alone, --set gives
/// variables their values. An editor can say the same in initializationOptions: {"root": .., "env": .., "set": {"NAME": "VALUE"}}.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
In an editor:
  VS Code    the extension in docs/editors/vscode
  Neovim     vim.lsp.config('cutover', { cmd = { 'cutover', 'lsp' }, filetypes = { 'kdl' }, root_markers = { 'topology.kdl' } })
  others     docs/editors/README.md: Helix, Emacs, and what any client needs

Examples:
  cutover lsp -v < session.txt    answers a recorded session; the log goes to standard error

Ends with 0 after `shutdown` and `exit`, with 1 when the editor goes away without them.")]
pub struct Args {
    /// Taken and ignored: some editors name the transport, and standard input and output is the only one
    #[arg(long)]
    stdio: bool,
}

pub fn run(_: &Args, context: &Context) -> Answer {
    let globals = &context.globals;
    let settings = editor::Settings {
        root: (globals.root.is_some() || globals.file.is_some()).then(|| context.file()),
        environment: globals.env.clone(),
        sets: globals.assignments(),
    };
    let today = || jiff::Zoned::now().date();
    let ended = editor::serve(BufReader::new(stdin()), stdout().lock(), settings, today);
    match ended.map_err(|e| Failure::new(format!("the editor cannot be answered: {e}")))? {
        Ended::Orderly => Ok(Exit::Ok),
        Ended::Abrupt => Ok(Exit::Error),
    }
}
