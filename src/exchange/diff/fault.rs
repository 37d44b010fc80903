//! Why a wish cannot be carried out.

use super::Wish;
use crate::exchange::value::Unreadable;
use crate::exchange::version::{Release, Releases};
use crate::model::suggest::did_you_mean;

/// A wish, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {}: {trouble}", key.join("\\"))]
pub struct Fault {
    pub kind: String,
    pub key: Vec<String>,
    pub trouble: Trouble,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("no such kind{}", hint(.0))]
    UnknownKind(Option<String>),
    #[error("what is there was not asked for")]
    NotAsked,
    /// It may be there or not.
    #[error("what is there could not be asked for: {why}{}", aside(.help))]
    Silent { why: String, help: Option<&'static str> },
    #[error("wished for twice")]
    Twice,
    #[error("exists in Exchange {0}")]
    NotInRelease(Releases),
    #[error("its key is {}", .0.join(" and "))]
    Key(Vec<String>),
    #[error("no property {name}{}{}", left(.why), hint(.near))]
    UnknownProperty { name: String, why: Option<String>, near: Option<String> },
    #[error("{0} does not exist in Exchange {1}")]
    PropertyNotInRelease(String, Release),
    #[error("the wish for {0}: {1}")]
    Wish(String, Unreadable),
    /// Never taken for "nothing".
    #[error("what the server says of {0}: {1}")]
    Answer(String, Unreadable),
    #[error("{0} is {1} and can be {2} in a new object only: remove this one first, or take the wish back")]
    OnlyAtMaking(String, String, String),
    #[error("is not there, and the product does not let it be made")]
    NotMakeable,
    #[error("cannot be made without {}", .0.join(", "))]
    Lacks(Vec<String>),
    #[error("no way of making it takes these together: {}", .0.join(", "))]
    NoWay(Vec<String>),
    #[error("the product does not let it be removed")]
    NotRemovable,
    #[error("cannot be removed: {0}")]
    Kept(String),
}

fn hint(near: &Option<String>) -> String {
    near.as_ref().map_or_else(String::new, |n| format!("; did you mean {n}?"))
}

fn aside(help: &Option<&'static str>) -> String {
    help.map_or_else(String::new, |h| format!("; {h}"))
}

fn left(why: &Option<String>) -> String {
    why.as_ref().map_or_else(String::new, |w| format!(" to wish for: {w}"))
}

pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    did_you_mean(word, known.map(String::as_str)).map(str::to_owned)
}

impl Fault {
    pub(in crate::exchange) fn of(wish: &Wish, trouble: Trouble) -> Self {
        Self { kind: wish.kind.clone(), key: wish.key.clone(), trouble }
    }
}
