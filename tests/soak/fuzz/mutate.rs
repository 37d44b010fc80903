//! Broken files out of good ones: what a slip of the hand, a bad merge and an enemy make of them.

use std::collections::BTreeMap;

use cutover::language::schema::schema;

use crate::dice::Dice;

/// The files of one root, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Pieces that mean something to a reader of the language, or should mean nothing.
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "=",
    ";",
    "\"",
    "\"\"\"",
    "#\"",
    "\"#",
    "##\"",
    "/-",
    "//",
    "/*",
    "*/",
    "\\",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "$",
    "${",
    "$1",
    "$2",
    "$self",
    "$$",
    "$9999999999999999999999",
    "#true",
    "#false",
    "#null",
    "#inf",
    "#nan",
    "true",
    "null",
    "-",
    "--",
    "+",
    "0x",
    "0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
    "1e999",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "170141183460469231731687303715884105728",
    "0",
    "\"90s\"",
    "\"-14d\"",
    "\"99.99%\"",
    "\"1000000000000TiB\"",
    "\"2026-03-07T22:00\"",
    "\"0000-00-00\"",
    "\"[1:3]\"",
    "\"[01:62]\"",
    "\"[a:z]\"",
    "\"[a,b,c]\"",
    "\"[1:5000]\"",
    "\"[1:400][1:400]\"",
    "\"[9:1]\"",
    "\"[1:999999999999999999]\"",
    "\"[1:18446744073709551615:18446744073709551615]\"",
    "\"[,]\"",
    "\"[:]\"",
    "\"[[1:2]]\"",
    "[1:2]",
    "*",
    "\"*\"",
    "\"role:hub\"",
    "\"label:x\"",
    "\"server:a\"",
    "role:",
    ":",
    "\"a*b*c*d*\"",
    "(secret)\"env:X\"",
    "(secret)\"vault:a#b\"",
    "(secret)",
    "(patch)",
    "(add)",
    "(remove)",
    "(replace)",
    "(take)",
    "(final)",
    "(GiB)2",
    "(GiB)",
    "()",
    "\\u{0}",
    "\\u{10ffff}",
    "\\u{202e}",
    "\\u{d800}",
    "\\u{",
    "\\",
    "\\\n",
    "\u{0}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{ad}",
    "\u{200b}",
    "\u{200c}",
    "\u{200d}",
    "\u{200e}",
    "\u{200f}",
    "\u{202e}",
    "\u{2028}",
    "\u{2066}",
    "\u{2069}",
    "\u{feff}",
    "\u{fffd}",
    "e\u{301}",
    "\u{301}",
    "u\u{308}\u{308}\u{308}",
    "\u{4e2d}",
    "ﷺ",
    "می\u{200c}شود",
    "تهران",
    "Köln",
    "\u{1f468}\u{200d}\u{1f469}",
    "а",
    "\u{e0041}",
    "\u{10ffff}",
    "\u{e000}",
    "“",
    "”",
    "‘",
    "«",
    "：",
    "＝",
    "include a.kdl",
    "include b.kdl",
    "include \"..\"",
    "include \".\"",
    "include topology.kdl",
    "use m x",
    "module m {",
    "param p type=",
    "language 2",
    "environment e purpose=lab {",
    "extends=e",
    "let a $b",
    "let b $a",
    "variable v type=int",
    "set v 1",
    "moved from=",
    "domain-map",
    "address-map",
    "stand-in",
    "to=",
    "when=",
    "version=",
];

/// What the fuzzer may put into a file.
pub struct Words(Vec<String>);

impl Words {
    pub fn new() -> Self {
        let mut words: Vec<String> = PIECES.iter().map(|p| (*p).to_owned()).collect();
        for kind in &schema().kinds {
            words.push(kind.name.clone());
            words.extend(kind.fields.iter().map(|f| f.name.clone()));
            words.extend(kind.fields.iter().map(|f| format!(" {}=", f.name)));
        }
        Self(words)
    }
}

/// A child of `seed`: one to eight edits in one of its files.
pub fn mutate(seed: &Files, all: &[Files], words: &Words, dice: &mut Dice, longest: usize) -> Files {
    let mut files = seed.clone();
    let names: Vec<String> = files.keys().cloned().collect();
    let name = dice.pick(&names).clone();
    let mut bytes = files.remove(&name).unwrap_or_default();
    for _ in 0..=dice.small(4) {
        edit(&mut bytes, all, words, dice);
    }
    bytes.truncate(longest);
    files.insert(name, bytes);
    files
}

fn edit(bytes: &mut Vec<u8>, all: &[Files], words: &Words, dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + 1 + dice.small(9)).min(bytes.len());
    match dice.below(14) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 => bytes.insert(at, dice.next() as u8),
        2 if at < end => drop(bytes.drain(at..end)),
        3 if at < end => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        4 => bytes.truncate(at),
        5 | 6 => drop(bytes.splice(at..at, dice.pick(&words.0).bytes())),
        7 => {
            let (from, to) = word(bytes, at);
            bytes.splice(from..to, dice.pick(&words.0).bytes());
        }
        8 => {
            // A word of the same file in the place of another: right words in wrong places.
            let (from, to) = word(bytes, dice.below(bytes.len() + 1));
            let taken = bytes[from..to].to_vec();
            let (from, to) = word(bytes, at);
            bytes.splice(from..to, taken);
        }
        9 => {
            let (from, to) = line(bytes, at);
            let taken: Vec<u8> = bytes.drain(from..to).collect();
            let (from, _) = line(bytes, dice.below(bytes.len() + 1));
            bytes.splice(from..from, taken);
        }
        10 => {
            let other = dice.pick(all);
            let texts: Vec<&Vec<u8>> = other.values().collect();
            let text = *dice.pick(&texts);
            let (from, to) = line(text, dice.below(text.len() + 1));
            let at = line(bytes, at).0;
            bytes.splice(at..at, text[from..to].iter().copied());
        }
        11 => {
            let piece = dice.pick(&words.0).repeat(1 << dice.below(8));
            bytes.splice(at..at, piece.bytes());
        }
        12 => {
            let (from, to) = line(bytes, at);
            let copies = bytes[from..to].repeat(1 << dice.below(5));
            bytes.splice(from..from, copies);
        }
        _ => {
            // The same in another form: a line break where a space stood, or the other way round.
            if let Some(i) = bytes[at.min(bytes.len())..].iter().position(|b| matches!(b, b' ' | b'\n')) {
                let i = at + i;
                bytes[i] = if bytes[i] == b' ' { b'\n' } else { b' ' };
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> (usize, usize) {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80 || matches!(*b, b'-' | b'_' | b'.');
    let from = bytes[..at].iter().rposition(|b| !inside(b)).map_or(0, |i| i + 1);
    let to = bytes[at..].iter().position(|b| !inside(b)).map_or(bytes.len(), |i| at + i);
    (from, to)
}

fn line(bytes: &[u8], at: usize) -> (usize, usize) {
    let at = at.min(bytes.len());
    let from = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let to = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| at + i + 1);
    (from, to)
}
