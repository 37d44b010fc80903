//! Entries of a master file (RFC 1035, section 5.1): lines, joined where parentheses are open, without comments.

use crate::importing::foreign::Foreign;
use crate::model::{SourceId, Span};

use super::CODE;

#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// As written, escapes included, quotes not.
    pub text: String,
    pub quoted: bool,
}

#[derive(Debug)]
pub struct Entry {
    pub words: Vec<Word>,
    /// It begins with a blank: the owner is that of the entry before.
    pub continued: bool,
    pub place: Span,
}

/// All entries; what cannot be read is reported, and reading goes on behind it.
pub fn entries(f: &mut Foreign, id: SourceId) -> Vec<Entry> {
    let text = f.text(id);
    let mut out = Vec::new();
    let mut entry = Entry { words: Vec::new(), continued: false, place: Span { source: id, offset: 0, len: 0 } };
    // Where each open parenthesis stands.
    let mut open: Vec<usize> = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut chars = text.char_indices().peekable();
    let mut line_start = true;
    let close = |entry: &mut Entry, word: &mut Option<(usize, String)>, end: usize| {
        if let Some((start, text)) = word.take() {
            if entry.words.is_empty() {
                entry.place.offset = start;
            }
            entry.place.len = end - entry.place.offset;
            entry.words.push(Word { text, quoted: false });
        }
    };
    while let Some((at, c)) = chars.next() {
        let fresh = std::mem::take(&mut line_start);
        match c {
            '\n' => {
                close(&mut entry, &mut word, at);
                line_start = true;
                if open.is_empty() {
                    if !entry.words.is_empty() {
                        out.push(std::mem::replace(
                            &mut entry,
                            Entry {
                                words: Vec::new(),
                                continued: false,
                                place: Span { source: id, offset: 0, len: 0 },
                            },
                        ));
                    }
                    entry.continued = false;
                }
            }
            ';' => {
                close(&mut entry, &mut word, at);
                while chars.peek().is_some_and(|(_, c)| *c != '\n') {
                    chars.next();
                }
            }
            '(' => {
                close(&mut entry, &mut word, at);
                open.push(at);
            }
            ')' => {
                close(&mut entry, &mut word, at);
                if open.pop().is_none() {
                    let place = Span { source: id, offset: at, len: 1 };
                    f.wrong(CODE, place, "a `)` without its `(`", "quote it if it belongs to a text");
                }
            }
            '"' => {
                close(&mut entry, &mut word, at);
                let mut inside = String::new();
                let mut ended = None;
                while let Some((i, c)) = chars.next() {
                    match c {
                        '"' => {
                            ended = Some(i + 1);
                            break;
                        }
                        '\\' => {
                            inside.push(c);
                            if let Some((_, next)) = chars.next() {
                                inside.push(next);
                            }
                        }
                        // Some programs let a text go on; a lost quote is likelier.
                        '\n' => {
                            line_start = true;
                            break;
                        }
                        c => inside.push(c),
                    }
                }
                match ended {
                    Some(end) => {
                        if entry.words.is_empty() {
                            entry.place.offset = at;
                        }
                        entry.place.len = end - entry.place.offset;
                        entry.words.push(Word { text: inside, quoted: true });
                    }
                    None => {
                        let place = Span { source: id, offset: at, len: 1 };
                        f.wrong(CODE, place, "a text is opened and not closed on its line", "close it with \"");
                        entry.words.clear();
                    }
                }
            }
            c if c.is_whitespace() => {
                close(&mut entry, &mut word, at);
                if fresh && open.is_empty() && entry.words.is_empty() {
                    entry.continued = true;
                }
            }
            '\\' => {
                let text = &mut word.get_or_insert((at, String::new())).1;
                text.push(c);
                if let Some((_, next)) = chars.next() {
                    text.push(next);
                }
            }
            c => word.get_or_insert((at, String::new())).1.push(c),
        }
    }
    close(&mut entry, &mut word, text.len());
    if let Some(at) = open.first() {
        let place = Span { source: id, offset: *at, len: 1 };
        f.wrong(CODE, place, "a `(` is never closed", "close it with ) behind the last value");
    } else if !entry.words.is_empty() {
        out.push(entry);
    }
    out
}
