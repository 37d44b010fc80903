//! Entries of a master file: lines, joined where parentheses are open, without comments.

use std::ops::Range;

use super::MasterError;

#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// As written, escapes included, quotes not.
    pub text: String,
    pub quoted: bool,
    /// Octets of the file, quotes included.
    pub at: Range<usize>,
}

#[derive(Debug, Default)]
pub struct Entry {
    /// Never empty.
    pub words: Vec<Word>,
    /// It begins with a blank: the owner is that of the entry before.
    pub continued: bool,
}

impl Entry {
    /// From the first word to the end of the last.
    pub fn place(&self) -> Range<usize> {
        self.words.first().map_or(0, |w| w.at.start)..self.words.last().map_or(0, |w| w.at.end)
    }

    /// The first word, where it stands at the beginning of its line and is no text: an owner or a directive.
    pub fn opening(&self) -> Option<&str> {
        self.words.first().filter(|w| !w.quoted && !self.continued).map(|w| w.text.as_str())
    }
}

/// What has been read of an entry that is not at its end.
#[derive(Default)]
struct Reader {
    out: Vec<Entry>,
    entry: Entry,
    word: Option<Word>,
    /// Where each open parenthesis stands.
    open: Vec<usize>,
}

impl Reader {
    fn end_word(&mut self) {
        self.entry.words.extend(self.word.take());
    }

    fn push(&mut self, at: usize, c: char) {
        let word = self.word.get_or_insert_with(|| Word { text: String::new(), quoted: false, at: at..at });
        word.text.push(c);
        word.at.end = at + c.len_utf8();
    }

    fn end_line(&mut self) {
        self.end_word();
        if self.open.is_empty() {
            let entry = std::mem::take(&mut self.entry);
            if !entry.words.is_empty() {
                self.out.push(entry);
            }
        }
    }
}

/// All entries of `text`; what cannot be read is reported, and reading goes on behind it.
pub fn entries(text: &str, wrong: &mut dyn FnMut(MasterError)) -> Vec<Entry> {
    let mut r = Reader::default();
    let mut chars = text.char_indices().peekable();
    let mut line_start = true;
    while let Some((at, c)) = chars.next() {
        let fresh = std::mem::take(&mut line_start);
        match c {
            '\n' => {
                r.end_line();
                line_start = true;
            }
            ';' => {
                r.end_word();
                while chars.peek().is_some_and(|(_, c)| *c != '\n') {
                    chars.next();
                }
            }
            '(' => {
                r.end_word();
                r.open.push(at);
            }
            ')' => {
                r.end_word();
                if r.open.pop().is_none() {
                    wrong(MasterError::new(at..at + 1, "a `)` without its `(`", "quote it if it belongs to a text"));
                }
            }
            '"' => {
                r.end_word();
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
                    Some(end) => r.entry.words.push(Word { text: inside, quoted: true, at: at..end }),
                    None => {
                        let what = "a text is opened and not closed on its line";
                        wrong(MasterError::new(at..at + 1, what, "close it with \""));
                        r.entry = Entry::default();
                    }
                }
            }
            c if c.is_whitespace() => {
                r.end_word();
                if fresh && r.open.is_empty() && r.entry.words.is_empty() {
                    r.entry.continued = true;
                }
            }
            '\\' => {
                r.push(at, c);
                if let Some((i, next)) = chars.next() {
                    r.push(i, next);
                }
            }
            c => r.push(at, c),
        }
    }
    match r.open.first() {
        Some(&at) => {
            let help = "close it with ) behind the last value";
            wrong(MasterError::new(at..at + 1, "a `(` is never closed", help));
        }
        None => r.end_line(),
    }
    r.out
}

/// Seconds of `3600`, `1h30m`, `1W`: BIND's units, which other servers took over.
pub fn ttl(text: &str) -> Option<u32> {
    let (mut total, mut n, mut digits) = (0u32, 0u32, false);
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    for c in text.chars() {
        if let Some(d) = c.to_digit(10) {
            n = n.checked_mul(10)?.checked_add(d)?;
            digits = true;
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        if !std::mem::take(&mut digits) {
            return None;
        }
        total = total.checked_add(std::mem::take(&mut n).checked_mul(unit)?)?;
    }
    total.checked_add(n)
}

#[cfg(test)]
mod tests {
    use super::ttl;

    #[test]
    fn times_as_bind_writes_them() {
        assert_eq!(
            (ttl("3600"), ttl("1h30m"), ttl("1W"), ttl("90")),
            (Some(3600), Some(5400), Some(604_800), Some(90))
        );
        assert_eq!((ttl("A"), ttl("1x"), ttl("h"), ttl("99999999999"), ttl("1hh")), (None, None, None, None, None));
    }
}
