//! Commands of a client that has not logged in: a tag, a verb, words; literals of both kinds (RFC 9051 section 4.3, RFC 7888).
//!
//! Sizes are bounded before anything is allocated: a literal that announces two gigabytes is refused by its number.

use zeroize::Zeroizing;

use crate::protocol::line::{LineFault, Lines};

/// Octets of a whole command, its literals included. An OAuth token may be long.
pub const BOUND: usize = 16 * 1024;
const TAG: usize = 64;

/// A whole command, not understood yet: octets as they came, literals apart.
type Pieces = Vec<Piece>;

enum Piece {
    Text(Zeroizing<Vec<u8>>),
    Literal(Zeroizing<Vec<u8>>),
}

/// One word behind the verb.
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    Atom(Zeroizing<Vec<u8>>),
    /// Quoted or a literal.
    String(Zeroizing<Vec<u8>>),
    List(Vec<Word>),
}

impl Word {
    /// The octets of an `astring`.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Word::Atom(o) | Word::String(o) => Some(o),
            Word::List(_) => None,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub tag: String,
    /// In capitals.
    pub verb: String,
    pub words: Vec<Word>,
}

/// What is wrong with a command. With its tag when that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection cannot go on: what follows may be anything.
    Fatal(String),
    /// The command is answered with BAD, the next one may be fine.
    Bad { tag: Option<String>, text: &'static str },
}

#[derive(PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed.
    More,
    /// The client waits for `+` before it sends a literal.
    Continue,
    Whole(Command),
}

/// Puts commands together from lines and literals.
#[derive(Default)]
pub struct Assembler {
    pieces: Pieces,
    size: usize,
    /// Octets of the literal that is being read.
    literal: Option<usize>,
}

impl Assembler {
    pub fn next(&mut self, lines: &mut Lines) -> Result<Progress, Fault> {
        loop {
            if let Some(n) = self.literal {
                let Some(octets) = lines.octets(n) else { return Ok(Progress::More) };
                self.pieces.push(Piece::Literal(octets));
                self.literal = None;
            }
            let line = lines.line().map_err(|e: LineFault| Fault::Fatal(e.to_string()))?;
            let Some(mut line) = line else { return Ok(Progress::More) };
            self.size += line.len() + 2;
            let announced = announced(&line);
            if let Announced::Literal { octets, .. } = announced {
                self.size = self.size.saturating_add(octets);
            }
            if self.size > BOUND {
                return self.too_long(&line, announced);
            }
            let Announced::Literal { octets, waits, begins } = announced else {
                self.pieces.push(Piece::Text(line));
                self.size = 0;
                return parse(std::mem::take(&mut self.pieces)).map(Progress::Whole);
            };
            line.truncate(begins);
            self.pieces.push(Piece::Text(line));
            self.literal = Some(octets);
            if waits {
                return Ok(Progress::Continue);
            }
        }
    }

    fn too_long(&mut self, line: &[u8], announced: Announced) -> Result<Progress, Fault> {
        let first = match self.pieces.first() {
            Some(Piece::Text(first)) => first.as_slice(),
            _ => line,
        };
        let tag = tag(first.split(|b| *b == b' ').next().unwrap_or_default());
        *self = Self::default();
        match announced {
            // It has not been sent yet, and is not after a BAD.
            Announced::Literal { waits: true, .. } => Err(Fault::Bad { tag, text: "the literal is too large" }),
            _ => Err(Fault::Fatal(format!("a command is longer than {BOUND} octets"))),
        }
    }
}

#[derive(Clone, Copy)]
enum Announced {
    Nothing,
    Literal { octets: usize, waits: bool, begins: usize },
}

/// `{5}` or `{5+}` at the end of a line.
fn announced(line: &[u8]) -> Announced {
    let read = || {
        let inner = line.strip_suffix(b"}")?;
        let begins = inner.iter().rposition(|b| *b == b'{')?;
        let number = &inner[begins + 1..];
        let (number, waits) = match number.strip_suffix(b"+") {
            Some(number) => (number, false),
            None => (number, true),
        };
        if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // More digits than any bound has are more than any bound.
        let octets = std::str::from_utf8(number).ok()?.parse().unwrap_or(usize::MAX);
        Some(Announced::Literal { octets, waits, begins })
    };
    read().unwrap_or(Announced::Nothing)
}

/// A tag: ASTRING-CHAR without `+`. It is given back to the client and to the log.
fn tag(octets: &[u8]) -> Option<String> {
    let allowed = |b: &u8| b.is_ascii_graphic() && !b"(){%*\"\\+".contains(b);
    let fine = !octets.is_empty() && octets.len() <= TAG && octets.iter().all(allowed);
    fine.then(|| String::from_utf8_lossy(octets).into_owned())
}

fn parse(pieces: Pieces) -> Result<Command, Fault> {
    let mut reader = Reader { pieces: &pieces, piece: 0, at: 0 };
    let tag = tag(reader.until_space()).ok_or(Fault::Bad { tag: None, text: "a command begins with a tag" })?;
    let bad = |text| Fault::Bad { tag: Some(tag.clone()), text };
    if !reader.space() {
        return Err(bad("a command follows its tag"));
    }
    let verb = reader.until_space();
    if verb.is_empty() || verb.len() > 32 || !verb.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
        return Err(bad("no command follows the tag"));
    }
    let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
    let mut words = Vec::new();
    while !reader.is_over() {
        if !reader.space() {
            return Err(bad("one space stands between two words"));
        }
        words.push(reader.word(0).map_err(bad)?);
    }
    Ok(Command { tag, verb, words })
}

struct Reader<'p> {
    pieces: &'p [Piece],
    piece: usize,
    at: usize,
}

impl<'p> Reader<'p> {
    /// What is left of the text at hand.
    fn text(&self) -> &'p [u8] {
        match self.pieces.get(self.piece) {
            Some(Piece::Text(t)) => &t[self.at..],
            _ => &[],
        }
    }

    fn is_over(&self) -> bool {
        self.text().is_empty() && self.piece + 1 >= self.pieces.len()
    }

    fn until_space(&mut self) -> &'p [u8] {
        let text = self.text();
        let n = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
        self.at += n;
        &text[..n]
    }

    fn space(&mut self) -> bool {
        let is = self.text().first() == Some(&b' ');
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, depth: usize) -> Result<Word, &'static str> {
        match self.text() {
            [] => match self.pieces.get(self.piece + 1) {
                Some(Piece::Literal(octets)) => {
                    (self.piece, self.at) = (self.piece + 2, 0);
                    if octets.contains(&0) {
                        return Err("a literal holds a NUL");
                    }
                    Ok(Word::String(octets.clone()))
                }
                _ => Err("a word is missing"),
            },
            [b'"', ..] => self.quoted(),
            [b'(', ..] if depth < 2 => self.list(depth),
            text => {
                let ends = |b: &u8| matches!(b, b' ' | b'(' | b')' | b'{' | b'"');
                let n = text.iter().position(ends).unwrap_or(text.len());
                let atom = &text[..n];
                // What an ASTRING-CHAR is not. Octets above 127 are taken: clients send UTF-8 so, and the name is judged later.
                if n == 0 || atom.iter().any(|b| b.is_ascii_control() || b"%*\\".contains(b)) {
                    return Err("a character cannot stand here without quotes");
                }
                self.at += n;
                Ok(Word::Atom(Zeroizing::new(atom.to_vec())))
            }
        }
    }

    fn quoted(&mut self) -> Result<Word, &'static str> {
        let text = self.text();
        let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
        let mut at = 1;
        loop {
            match (text.get(at), text.get(at + 1)) {
                (Some(b'"'), _) => break,
                (Some(b'\\'), Some(c @ (b'"' | b'\\'))) => (out.push(*c), at += 2).1,
                (Some(b'\\'), _) => return Err("a backslash in quotes stands before a quote or a backslash"),
                (Some(c), _) => (out.push(*c), at += 1).1,
                (None, _) => return Err("a quote is not closed"),
            }
        }
        self.at += at + 1;
        Ok(Word::String(out))
    }

    fn list(&mut self, depth: usize) -> Result<Word, &'static str> {
        self.at += 1;
        let mut words = Vec::new();
        loop {
            if self.text().first() == Some(&b')') {
                self.at += 1;
                return Ok(Word::List(words));
            }
            if !words.is_empty() && !self.space() {
                return Err("one space stands between two words");
            }
            words.push(self.word(depth + 1)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(octets: &[u8], cut: usize) -> (Vec<Command>, Vec<Fault>, usize) {
        let (mut lines, mut assembler) = (Lines::new(BOUND), Assembler::default());
        let (mut commands, mut faults, mut continues) = (Vec::new(), Vec::new(), 0);
        for part in octets.chunks(cut.max(1)) {
            lines.push(part);
            loop {
                match assembler.next(&mut lines) {
                    Ok(Progress::More) => break,
                    Ok(Progress::Continue) => continues += 1,
                    Ok(Progress::Whole(c)) => commands.push(c),
                    Err(f @ Fault::Bad { .. }) => faults.push(f),
                    Err(f) => return (commands, [faults, vec![f]].concat(), continues),
                }
            }
        }
        (commands, faults, continues)
    }

    fn words(c: &Command) -> Vec<&[u8]> {
        c.words.iter().filter_map(Word::octets).collect()
    }

    #[test]
    fn login_in_all_its_forms_is_one_command_however_it_arrives() {
        let forms: [&[u8]; 6] = [
            b"a1 LOGIN bob se\"cret\r\n".as_slice(),
            b"a1 login bob secret\r\n",
            b"a1 LOGIN \"bob\" \"secret\"\r\n",
            b"a1 LOGIN {3}\r\nbob {6}\r\nsecret\r\n",
            b"a1 LOGIN {3+}\r\nbob {6+}\r\nsecret\r\n",
            b"a1 LOGIN {3+}\r\nbob \"secret\"\r\n",
        ];
        for form in &forms[1..] {
            for cut in 1..form.len() {
                let (commands, faults, _) = run(form, cut);
                assert_eq!(faults, [], "{cut}");
                assert_eq!(commands.len(), 1);
                assert_eq!((commands[0].tag.as_str(), commands[0].verb.as_str()), ("a1", "LOGIN"));
                assert_eq!(words(&commands[0]), [b"bob".as_slice(), b"secret"]);
            }
        }
        assert!(matches!(run(forms[0], 100).1.as_slice(), [Fault::Bad { .. }]));
        assert_eq!(run(forms[3], 100).2, 2, "two literals are waited for");
        assert_eq!(run(forms[4], 100).2, 0);
    }

    #[test]
    fn escapes_lists_and_what_follows() {
        let (commands, faults, _) =
            run(b"t ID (\"name\" \"x \\\"y\\\\\" \"v\" NIL)\r\nu LOGIN \"\" {0+}\r\n\r\nv NOOP\r\n", 7);
        assert_eq!(faults, []);
        let Word::List(list) = &commands[0].words[0] else { panic!("no list") };
        assert_eq!(list[1].octets(), Some(b"x \"y\\".as_slice()));
        assert_eq!(words(&commands[1]), [b"".as_slice(), b""]);
        assert_eq!(commands[2].verb, "NOOP");
    }

    #[test]
    fn floods_are_refused_by_their_number() {
        for flood in [&b"a LOGIN {2000000000}\r\n"[..], b"a LOGIN {99999999999999999999999}\r\n"] {
            let (_, faults, continues) = run(flood, 100);
            assert_eq!(faults, [Fault::Bad { tag: Some("a".into()), text: "the literal is too large" }]);
            assert_eq!(continues, 0);
        }
        assert!(matches!(run(b"a LOGIN {2000000000+}\r\nx", 100).1.as_slice(), [Fault::Fatal(_)]));
        assert!(matches!(run(&vec![b'x'; 2 * BOUND], 1000).1.as_slice(), [Fault::Fatal(_)]));
        // Many small ones are one large one.
        let many =
            [b"a ID".as_slice(), &b" {1000+}\r\n".iter().copied().chain([b'x'; 1000]).collect::<Vec<_>>().repeat(17)]
                .concat();
        assert!(matches!(run(&many, 100).1.as_slice(), [Fault::Fatal(_)]));
    }

    #[test]
    fn bad_commands_are_told_and_the_next_one_goes_on() {
        for bad in [
            "",
            " ",
            "a",
            "a ",
            "+ x",
            "a LOGIN  x",
            "a LOGIN \"x",
            "a LOGIN x)",
            "a LOGIN (x",
            "a LOGIN \"\\x\" y",
            "a L*",
        ] {
            let (commands, faults, _) = run(format!("{bad}\r\nb NOOP\r\n").as_bytes(), 100);
            assert_eq!((commands.len(), faults.len()), (1, 1), "{bad:?}");
            assert_eq!(commands[0].tag, "b");
        }
        let (_, faults, _) = run(b"a LOGIN x {3+}\r\na\0b\r\nb NOOP\r\n", 100);
        assert!(matches!(faults.as_slice(), [Fault::Bad { .. }]), "{faults:?}");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics_or_depends_on_how_it_is_cut(
            octets in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b" \r\n\"\\(){}+0123aLOGIN".to_vec())], 0..300),
            cut in 1usize..40)
        {
            let (once, faults, n) = run(&octets, octets.len().max(1));
            let (again, faults_again, m) = run(&octets, cut);
            prop_assert!(once == again && faults == faults_again && n == m);
        }
    }
}
