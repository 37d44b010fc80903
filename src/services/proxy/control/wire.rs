//! What is said over the control socket: one JSON object a line, a request and its answer.

use serde::{Deserialize, Serialize};

use super::super::route::Route;
use super::super::session::Protocol;

/// Octets of a request: some 200,000 users in one change.
pub const LONGEST: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Sessions, of one user or of all.
    Sessions {
        user: Option<String>,
    },
    /// Routes of these users, or the whole table.
    Routes {
        #[serde(default)]
        users: Vec<String>,
    },
    /// Another route for all of them in one epoch; none takes them out of the table.
    Set {
        users: Vec<String>,
        to: Option<Route>,
        #[serde(default)]
        close: bool,
        expect_epoch: Option<u64>,
        /// How long the answer waits for the sessions that were told to close.
        #[serde(default = "default_wait")]
        wait_ms: u64,
    },
    /// Ends the sessions of these users.
    Kick {
        users: Vec<String>,
        #[serde(default = "default_wait")]
        wait_ms: u64,
    },
    Status {},
    /// Forgets what the directory said: of one user, or of all.
    Flush {
        user: Option<String>,
    },
    /// Takes no connections any more and ends when the last session has.
    Drain {},
    /// Who has proven their password, without it.
    Proven {},
    /// Destroys captured passwords: of users who are on the new side, of one user, of those that are older than so many seconds.
    Purge {
        moved: bool,
        user: Option<String>,
        older: Option<u64>,
    },
}

pub fn default_wait() -> u64 {
    5000
}

/// An answer: what was asked for, or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    Done(T),
    Error(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    pub session: u64,
    /// Nothing while the login is on its way.
    pub side: Option<Route>,
    pub user: String,
    pub protocol: Protocol,
    pub client: String,
    pub local: String,
    pub backend: Option<String>,
    pub tls: bool,
    pub seconds: u64,
    pub up: u64,
    pub down: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub epoch: u64,
    pub default: Route,
    pub routes: Vec<ShownRoute>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRoute {
    pub user: String,
    pub route: Option<Route>,
    /// `table`, `directory` or `default`; why it is not known.
    pub by: String,
}

/// A change that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub epoch: u64,
    pub users: usize,
    /// Sessions that were told to close, and how many of them are still there.
    pub told: usize,
    pub remaining: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub phase: String,
    pub epoch: u64,
    pub default: Route,
    pub routes: usize,
    pub connections: usize,
    pub old: usize,
    pub new: usize,
    /// Logins that are on their way or wait.
    pub waiting: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_so() {
        let set = r#"{"command":"set","users":["ann"],"to":"new","close":true,"expect_epoch":7}"#;
        let Request::Set { users, to, close, expect_epoch, wait_ms } = serde_json::from_str(set).unwrap() else {
            panic!("no set")
        };
        assert_eq!(
            (users.as_slice(), to, close, expect_epoch, wait_ms),
            (&["ann".to_owned()][..], Some(Route::New), true, Some(7), 5000)
        );
        assert_eq!(serde_json::from_str::<Request>(r#"{"command":"status"}"#).unwrap(), Request::Status {});
        for bad in
            [r#"{"command":"set"}"#, r#"{"command":"halt"}"#, r#"{"command":"set","users":[],"to":"newer"}"#, "[]"]
        {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
