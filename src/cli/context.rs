//! What every command needs: the global options and the printer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{Format, Globals};
use super::failure::Failure;
use super::output::Output;

pub struct Context {
    pub globals: Globals,
    pub out: Arc<Output>,
}

impl Context {
    pub fn new(globals: Globals) -> Self {
        let out = Arc::new(Output::new(globals.color));
        Self { globals, out }
    }

    /// The topology's root file: `--file`, else `topology.kdl` in `--root`, else in this folder.
    pub fn file(&self) -> PathBuf {
        match (&self.globals.file, &self.globals.root) {
            (Some(file), Some(root)) => root.join(file),
            (Some(file), None) => file.clone(),
            (None, Some(root)) => root.join("topology.kdl"),
            (None, None) => PathBuf::from("topology.kdl"),
        }
    }

    /// The folder that paths in the topology are relative to: where the root file stands.
    pub fn root(&self) -> PathBuf {
        match self.file().parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Where state lives, `.cutover` beside the topology unless `--state-dir` says otherwise.
    pub fn state_dir(&self) -> PathBuf {
        self.globals.state_dir.clone().unwrap_or_else(|| self.root().join(".cutover"))
    }

    pub fn json(&self) -> bool {
        self.globals.format == Format::Json
    }

    /// Refuses a format that this command does not have.
    pub fn formats(&self, command: &str, allowed: &[Format]) -> Result<Format, Failure> {
        let format = self.globals.format;
        if allowed.contains(&format) {
            return Ok(format);
        }
        let names = allowed.iter().map(|f| f.as_str()).collect::<Vec<_>>().join(", ");
        Err(Failure::new(format!("`cutover {command}` has no {} output", format.as_str()))
            .help(format!("use --format with one of: {names}")))
    }
}
