//! Collects the diagnostics of a run: one mistake gives one message, however often a range repeats it.

use std::collections::HashSet;

use crate::model::{Diagnostic, Diagnostics, Span};

/// Messages after this many are not collected any more; the last one says so.
const MAX: usize = 1000;

/// Bytes of a message and of a help: a name may be of any length, and lists of names too.
const LONGEST_MESSAGE: usize = 600;
const LONGEST_HELP: usize = 2000;

fn clip(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str(" ..");
    }
}

#[derive(Debug, Default)]
pub(super) struct Sink {
    list: Diagnostics,
    seen: HashSet<(&'static str, Option<Span>)>,
}

impl Sink {
    /// True when this code stands at this place already: spare the work of a suggestion.
    pub fn knows(&self, code: &'static str, span: Span) -> bool {
        self.list.len() >= MAX || self.seen.contains(&(code, Some(span)))
    }

    pub fn push(&mut self, mut d: Diagnostic) {
        clip(&mut d.message, LONGEST_MESSAGE);
        d.help.iter_mut().for_each(|h| clip(h, LONGEST_HELP));
        let place = d.labels.first().map(|l| l.span);
        // Without a place, the text tells two mistakes apart.
        if place.is_none() || self.seen.insert((d.code, place)) {
            match self.list.len() {
                n if n < MAX => self.list.push(d),
                n if n == MAX => {
                    self.list.push(Diagnostic::error("E0010", format!("more than {MAX} mistakes; mend these first")))
                }
                _ => {}
            }
        }
    }

    pub fn has_errors(&self) -> bool {
        self.list.has_errors()
    }

    pub fn finish(self) -> Diagnostics {
        self.list
    }
}
