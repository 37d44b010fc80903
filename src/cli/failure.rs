//! Why a command did not do what was asked. Everything a person reads of an error is made here.

use std::fmt::Write as _;

use super::exit::Exit;
use super::output::Output;
use crate::execution::ApplyError;
use crate::journal::JournalError;
use crate::lab::LabError;
use crate::planning::PlanError;
use crate::secret::{KeyError, SecretError};

/// One or more errors with what to do about each.
#[derive(Debug)]
pub struct Failure {
    problems: Vec<Problem>,
    exit: Exit,
    /// The errors were shown already, with their source lines.
    shown: bool,
}

#[derive(Debug, Clone, serde::Serialize)]
struct Problem {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        let problems = vec![Problem { message: message.into(), help: None }];
        Self { problems, exit: Exit::Error, shown: false }
    }

    /// Several problems of one run; there is at least one.
    pub fn several(messages: Vec<String>) -> Self {
        let problems = messages.into_iter().map(|message| Problem { message, help: None }).collect();
        Self { problems, exit: Exit::Error, shown: false }
    }

    /// The command has printed its own account; only the exit code is left.
    pub fn shown() -> Self {
        Self { problems: Vec::new(), exit: Exit::Error, shown: true }
    }

    /// What to do, for the last problem.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(last) = self.problems.last_mut() {
            last.help = Some(help.into());
        }
        self
    }

    /// In one line, for where there is no more room.
    pub fn told(&self) -> String {
        let one = |p: &Problem| p.help.as_ref().map_or(p.message.clone(), |help| format!("{}: {help}", p.message));
        self.problems.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// On standard error; with `json` also as a document on standard output, unless the command has printed its own.
    pub fn print(&self, out: &Output, json: bool) {
        if self.shown {
            return;
        }
        if json && !out.has_result() {
            out.json(&serde_json::json!({ "errors": self.problems }));
        }
        let (red, cyan) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::AnsiColor::Cyan.on_default());
        let mut text = String::new();
        for problem in &self.problems {
            let _ = writeln!(text, "{red}error{red:#}: {}", problem.message);
            if let Some(help) = &problem.help {
                let _ = writeln!(text, "  {cyan}help{cyan:#}: {}", help.replace('\n', "\n        "));
            }
        }
        out.note(text);
    }
}

impl From<Vec<SecretError>> for Failure {
    fn from(errors: Vec<SecretError>) -> Self {
        let problems = errors.into_iter().map(|e| Problem { message: e.to_string(), help: e.help }).collect();
        Self { problems, exit: Exit::Error, shown: false }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        vec![error].into()
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        let failure = Failure::new(error.to_string());
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Failure::new(format!("[{}] {error}", error.code())).help(error.help())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Failure::new(error.to_string())
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        let help = match &error {
            ApplyError::Held { .. } => {
                Some("wait for it, or ask its holder; a holder that died is taken over by itself after 30 s".to_owned())
            }
            ApplyError::Host(e) => e.help.clone(),
            ApplyError::BadPlan(_) | ApplyError::Blocked(_) => Some("plan again".to_owned()),
            ApplyError::Journal(_) | ApplyError::NoSuchApply(_) | ApplyError::Finished(_) => None,
        };
        let failure = Failure::new(error.to_string());
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let help = match &error {
            KeyError::Malformed { .. } => {
                "restore the key from a backup; with a new key the next plan sees every secret as changed"
            }
            _ => "check the permissions of the state folder, or give another with --state-dir",
        };
        Failure::new(error.to_string()).help(help)
    }
}
