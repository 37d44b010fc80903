//! Where each user belongs, and the sessions that run by it.
//!
//! The order is what holds a move together. A login stands in [`Routes`] before it asks for its route; whoever changes a route
//! puts it in place before they look at the sessions. And a login whose backend has accepted it asks once more
//! ([`Ticket::settle`]) before the client hears of it. So after a change is acknowledged no login ends on the former side,
//! and of those that ended there before, each is known.
//!
//! Sessions that run go on when their user's route changes. They are closed when whoever changes it says so: a mailbox
//! whose final delta runs is held with its sessions closed, one that is merely given its route is not.

mod live;
mod table;

pub use live::{Routes, Session, Ticket, Victim};
pub use table::{Change, Table};

/// What becomes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    Old,
    New,
    /// The final delta runs: a login waits, or is told to come again.
    Held,
    Blocked,
}

impl Route {
    pub const ALL: [Route; 4] = [Route::Old, Route::New, Route::Held, Route::Blocked];

    pub fn as_str(self) -> &'static str {
        match self {
            Route::Old => "old",
            Route::New => "new",
            Route::Held => "held",
            Route::Blocked => "blocked",
        }
    }

    pub fn named(name: &str) -> Option<Route> {
        Self::ALL.into_iter().find(|r| r.as_str() == name)
    }
}
