//! The sole printer. Everything that people or programs read goes through here.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};

use super::args::Color;
use super::exit::Exit;

/// Standard output for results, standard error for everything said on the way.
///
/// A reader that goes away (`cutover plan | head`) is no error and never stops an apply: what follows is thrown away.
pub struct Output {
    out_choice: ColorChoice,
    err_choice: ColorChoice,
    gone: AtomicBool,
    printed: AtomicBool,
    lock: Mutex<()>,
}

impl Output {
    /// How a service's command ended: its mistakes are told, one a line.
    pub fn ended(&self, done: Result<Exit, Vec<String>>) -> ExitCode {
        let exit = done.unwrap_or_else(|faults| {
            faults.iter().for_each(|fault| self.note(format!("error: {fault}")));
            Exit::Error
        });
        exit.into()
    }

    /// `auto` follows NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM=dumb and whether a terminal reads.
    pub fn new(color: Color) -> Self {
        let choice = |auto: ColorChoice| match color {
            Color::Auto => auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self {
            out_choice: choice(AutoStream::choice(&std::io::stdout())),
            err_choice: choice(AutoStream::choice(&std::io::stderr())),
            gone: AtomicBool::new(false),
            printed: AtomicBool::new(false),
            lock: Mutex::new(()),
        }
    }

    /// Whether standard output takes colours.
    pub fn color(&self) -> bool {
        self.out_choice != ColorChoice::Never
    }

    /// Whether standard error takes colours.
    pub fn err_color(&self) -> bool {
        self.err_choice != ColorChoice::Never
    }

    /// Whether a person can be asked and can watch a bar: both ends are terminals.
    pub fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Whether a result was printed.
    pub fn has_result(&self) -> bool {
        self.printed.load(Ordering::Relaxed)
    }

    /// A result; escape codes are taken out where no terminal reads. Ends the line when the text does not.
    pub fn result(&self, text: impl Display) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        self.printed.store(true, Ordering::Relaxed);
        let text = ended(text);
        let guard = self.lock.lock();
        let mut stdout = AutoStream::new(std::io::stdout().lock(), self.out_choice);
        if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
        drop(guard);
    }

    /// A result as JSON, one document, pretty.
    pub fn json(&self, value: &impl serde::Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.result(text),
            Err(e) => self.note(format!("this result has no JSON form: {e}")),
        }
    }

    /// Bytes as they are (an SVG, a plan on standard output).
    pub fn raw(&self, bytes: &[u8]) {
        let guard = self.lock.lock();
        let mut stdout = std::io::stdout().lock();
        if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
        drop(guard);
    }

    /// Said on the way: notes, progress, errors. Failures to write are ignored, nobody reads.
    pub fn note(&self, text: impl Display) {
        let text = ended(text);
        let guard = self.lock.lock();
        let mut stderr = AutoStream::new(std::io::stderr().lock(), self.err_choice);
        let _ = stderr.write_all(text.as_bytes());
        drop(guard);
    }

    /// A sign of life on a terminal, overwritten by what comes next; an empty text takes it away.
    pub fn passing(&self, text: &str) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect();
        let guard = self.lock.lock();
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
        drop(guard);
    }

    /// Asks and reads one line; `None` when nobody can answer.
    pub fn ask(&self, question: &str) -> Option<String> {
        if !self.interactive() {
            return None;
        }
        let mut stderr = AutoStream::new(std::io::stderr().lock(), self.err_choice);
        let _ = write!(stderr, "{question} ").and_then(|()| stderr.flush());
        drop(stderr);
        let mut answer = String::new();
        match std::io::stdin().read_line(&mut answer) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(answer.trim().to_owned()),
        }
    }
}

fn ended(text: impl Display) -> String {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
