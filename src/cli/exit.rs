//! Exit codes, in one place.

use std::process::ExitCode;

/// How the program ends. Scripts rely on these; the README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: all is well, or there is nothing to do.
    Ok,
    /// 1: an error; also wrong usage, so that 2 always means changes.
    Error,
    /// 2: changes are planned (`plan --detailed-exitcode`), drift was found, `fmt --check` found unformatted files.
    Changes,
    /// 3: what is left waits for a time that is further away than `--wait`; `resume` goes on then.
    Waits,
    /// 130: stopped by Ctrl-C; `resume` goes on.
    Interrupted,
    /// The code of a program that was run on the user's behalf (`lab ssh`, `lab exec`).
    Other(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Error => 1,
            Exit::Changes => 2,
            Exit::Waits => 3,
            Exit::Interrupted => 130,
            Exit::Other(code) => code,
        })
    }
}
