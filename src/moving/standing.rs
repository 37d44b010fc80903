//! Where a person stands in the move, from what the gates and the content service say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::content::Content;
use super::gates::{self, Broken, Gates};
use crate::services::cms::ledger::{Phase, Summary};
use crate::services::proxy::route::Route;

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The content service has no such mailbox.
    Unknown,
    /// Nothing is copied yet.
    Waiting,
    /// The first copy is under way.
    Copying,
    /// Copied, and kept up to date; the user works on the old side.
    Ready,
    /// Logins wait: the last changes go over, or a move was cut off.
    Held,
    /// On the new side.
    Moved,
    /// Back on the old side, with what had come to the new one.
    Back,
    /// The content service needs a person.
    Failed,
    /// Sent to a side on which the mailbox is not up to date.
    Astray,
    /// The gates do not agree.
    Apart,
    /// Logins are refused.
    Blocked,
}

impl State {
    pub const ALL: [State; 11] = [
        State::Unknown,
        State::Waiting,
        State::Copying,
        State::Ready,
        State::Held,
        State::Moved,
        State::Back,
        State::Failed,
        State::Astray,
        State::Apart,
        State::Blocked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Waiting => "waiting",
            State::Copying => "copying",
            State::Ready => "ready",
            State::Held => "held",
            State::Moved => "moved",
            State::Back => "back",
            State::Failed => "failed",
            State::Astray => "astray",
            State::Apart => "apart",
            State::Blocked => "blocked",
        }
    }

    /// For the help desk: what it means for the person, and what can be done.
    pub fn says(self) -> &'static str {
        match self {
            State::Unknown => "not among the mailboxes that move: works on the side that the route names",
            State::Waiting => "works on the old side; nothing is copied yet",
            State::Copying => "works on the old side, while the mailbox is copied for the first time",
            State::Ready => {
                "works on the old side; the copy on the new side is kept up to date, and the move takes seconds"
            }
            State::Held => {
                "cannot log in just now, and mail waits; it lasts seconds. If it lasts longer a move was cut off: move or roll back again"
            }
            State::Moved => "works on the new side",
            State::Back => "was moved and is back on the old side, with all mail that had come to the new one",
            State::Failed => "works on the old side; copying stopped, and a person has to look at it",
            State::Astray => {
                "is sent to a side on which the mailbox is not up to date: somebody has changed the route by hand, or a last pass ended after nobody waited for it any more. Move or roll back again"
            }
            State::Apart => "is sent to the old side by one gate and to the new one by another: set the route again",
            State::Blocked => "cannot log in: the route says so",
        }
    }
}

/// What is known of one person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    pub user: String,
    pub state: State,
    /// By gate; nothing where the gate has no route of this user's own.
    pub routes: BTreeMap<String, Option<Route>>,
    /// Of the content service.
    pub mailbox: Option<Summary>,
}

impl Standing {
    /// `default` is the side of users without a route of their own.
    pub fn of(user: &str, routes: BTreeMap<String, Option<Route>>, mailbox: Option<Summary>, default: Route) -> Self {
        let sides: BTreeSet<Route> = routes.values().map(|r| r.unwrap_or(default)).collect();
        let mut sides = sides.into_iter();
        let state = match (sides.next(), sides.next()) {
            (Some(side), None) => state(side, mailbox.as_ref().map(|m| m.phase)),
            _ => State::Apart,
        };
        Self { user: user.to_owned(), state, routes, mailbox }
    }

    /// Whether they work on the old side, or did when they were held, though the new one counts as theirs: what they have done there goes
    /// over before anything comes back.
    pub fn strays(&self) -> bool {
        // A pass that failed for good is one that did not end: what they have done on the old side has still to go over.
        let noted = || {
            let unended = |phase| matches!(phase, Phase::Moved | Phase::Delta | Phase::Failed);
            self.mailbox.as_ref().is_some_and(|m| m.astray && unended(m.phase))
        };
        self.routes.values().all(|r| *r != Some(Route::New)) && (self.state == State::Astray || noted())
    }

    /// Whether they work on the new side though they count as back: a pass of a way back came to its end after nobody waited for it any
    /// more. What they have done there since goes to the old side before anything comes from it again.
    pub fn lags(&self) -> bool {
        let new = self.routes.values().any(|r| *r == Some(Route::New));
        new && self.state == State::Astray && self.phase() == Some(Phase::Back)
    }

    pub fn phase(&self) -> Option<Phase> {
        self.mailbox.as_ref().map(|m| m.phase)
    }
}

fn state(side: Route, phase: Option<Phase>) -> State {
    match (side, phase) {
        (Route::Held, _) => State::Held,
        (Route::Blocked, _) => State::Blocked,
        (_, None) => State::Unknown,
        (Route::New, Some(Phase::Moved)) => State::Moved,
        (Route::New, Some(_)) | (Route::Old, Some(Phase::Moved)) => State::Astray,
        (Route::Old, Some(Phase::Waiting)) => State::Waiting,
        (Route::Old, Some(Phase::Bulk)) => State::Copying,
        (Route::Old, Some(Phase::Delta)) => State::Ready,
        (Route::Old, Some(Phase::Back)) => State::Back,
        (Route::Old, Some(Phase::Failed)) => State::Failed,
    }
}

/// Why nothing is known: somebody did not answer. Nothing was changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Silent {
    Gates(Broken),
    Content(String),
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silent::Gates(broken) => write!(f, "a gate does not answer: {broken}"),
            Silent::Content(why) => write!(f, "the content service cannot be asked: {why}"),
        }
    }
}

/// Asks gates and service at the same time, each once, however many users there are.
pub async fn look(
    gates: &impl Gates,
    content: &impl Content,
    users: &[String],
    default: Route,
) -> Result<Vec<Standing>, Silent> {
    let (tables, mailboxes) = tokio::join!(gates::tell(gates, users), content.look(users));
    let (tables, mut mailboxes) = (tables.map_err(Silent::Gates)?, mailboxes.map_err(Silent::Content)?);
    let of = |user: &String| {
        let routes = tables.iter().map(|(gate, t)| (gate.clone(), t.users.get(user).copied())).collect();
        Standing::of(user, routes, mailboxes.remove(user), default)
    };
    Ok(users.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_follows_from_route_and_phase() {
        assert_eq!(state(Route::Old, Some(Phase::Delta)), State::Ready);
        assert_eq!(state(Route::New, Some(Phase::Moved)), State::Moved);
        assert_eq!(state(Route::New, Some(Phase::Delta)), State::Astray);
        assert_eq!(state(Route::Old, Some(Phase::Moved)), State::Astray);
        assert_eq!(state(Route::Held, Some(Phase::Moved)), State::Held);
        assert_eq!(state(Route::New, None), State::Unknown);
        let apart = BTreeMap::from([("a".to_owned(), Some(Route::New)), ("b".to_owned(), None)]);
        assert_eq!(Standing::of("ann", apart.clone(), None, Route::Old).state, State::Apart);
        // Without a route of its own a gate sends them to its default.
        assert_eq!(Standing::of("ann", apart, None, Route::New).state, State::Unknown);
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
