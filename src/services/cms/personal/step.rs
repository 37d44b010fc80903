//! What is to be done with one thing, from what both sides have and what the ledger remembers. Pure.
//!
//! | read side | written side | before the switch | after it |
//! |---|---|---|---|
//! | new | | put | put |
//! | new | has another of this name | put | nothing |
//! | changed | as we left it | put | put |
//! | changed | changed by somebody | put | nothing: the user's |
//! | as it was | gone or changed | put | nothing |
//! | gone | as we left it | remove | nothing |
//! | gone | changed by somebody | forget | nothing |

use super::Seen;

/// What the ledger remembers of one thing: the marks of both sides when they were last the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub from_mark: String,
    pub to_mark: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Both are the same; the marks are new.
    Record,
    Put,
    Remove,
    Forget,
}

pub fn step(row: Option<&Row>, from: Option<&Seen>, to: Option<&Seen>, switched: bool) -> Step {
    let digest = |seen: &Seen| seen.thing.as_ref().map(super::Thing::digest);
    let same = from.zip(to).is_some_and(|(f, t)| digest(f).is_some() && digest(f) == digest(t));
    match (from, row) {
        (None, None) => Step::Nothing,
        (None, Some(row)) => match to {
            None => Step::Forget,
            Some(_) if switched => Step::Nothing,
            Some(to) if to.mark == row.to_mark => Step::Remove,
            Some(_) => Step::Forget,
        },
        (Some(_), None) => match to {
            None => Step::Put,
            Some(_) if same => Step::Record,
            Some(_) if switched => Step::Nothing,
            Some(_) => Step::Put,
        },
        (Some(from), Some(row)) => {
            let changed = from.mark != row.from_mark;
            match to {
                None if switched => Step::Nothing,
                None => Step::Put,
                Some(to) if to.mark == row.to_mark && !changed => Step::Nothing,
                Some(_) if same => Step::Record,
                Some(to) if to.mark == row.to_mark => Step::Put,
                Some(_) if switched => Step::Nothing,
                Some(_) => Step::Put,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Thing, signature::Signature};
    use super::*;
    use crate::services::cms::config::Item;

    fn seen(text: &str) -> Seen {
        let body = Body::Signature(Signature { text: Some(text.into()), html: None });
        Seen { mark: text.into(), ..Seen::whole(Thing::new(Item::Signature, "s", body)) }
    }

    #[test]
    fn the_table() {
        let row = Row { from_mark: "a".into(), to_mark: "A".into() };
        let (row, a, b, left, x) =
            (Some(&row), &seen("a"), &seen("b"), &Seen { mark: "A".into(), ..seen("a") }, &seen("x"));
        for (known, from, to, before, after) in [
            (None, Some(a), None, Step::Put, Step::Put),
            (None, Some(a), Some(x), Step::Put, Step::Nothing),
            (None, Some(a), Some(a), Step::Record, Step::Record),
            (None, None, Some(x), Step::Nothing, Step::Nothing),
            (row, Some(a), Some(left), Step::Nothing, Step::Nothing),
            (row, Some(b), Some(left), Step::Put, Step::Put),
            (row, Some(b), Some(x), Step::Put, Step::Nothing),
            (row, Some(b), Some(b), Step::Record, Step::Record),
            (row, Some(a), Some(x), Step::Put, Step::Nothing),
            (row, Some(a), None, Step::Put, Step::Nothing),
            (row, None, Some(left), Step::Remove, Step::Nothing),
            (row, None, Some(x), Step::Forget, Step::Nothing),
            (row, None, None, Step::Forget, Step::Forget),
        ] {
            assert_eq!(step(known, from, to, false), before, "before: {known:?} {from:?} {to:?}");
            assert_eq!(step(known, from, to, true), after, "after: {known:?} {from:?} {to:?}");
        }
    }
}
