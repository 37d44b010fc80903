//! What a server answers after a login, decoded: folders, how they stand, messages, how commands end.
//!
//! One decoder, tolerant: it takes what RFC 9051 and RFC 3501 allow, and what servers write instead (unquoted names with spaces, numbers as
//! names, `NIL` for a size, missing texts, XLIST). What it cannot use is [`Answer::Other`], never an error: whether something is
//! missing is for who asked to judge.

use super::Status;
use super::sequence::Set;
use super::value::{Piece, Value, quoted, values};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Tagged(String, Done),
    /// `+`: the server waits for more.
    Continue(Vec<u8>),
    /// Untagged OK, NO, BAD, BYE, PREAUTH.
    State(Done),
    Capability(Vec<String>),
    Enabled(Vec<String>),
    List(Listed),
    Lsub(Listed),
    /// A folder as the server writes it, and its figures.
    Status(Vec<u8>, Figures),
    Exists(u32),
    Expunge(u32),
    Vanished {
        earlier: bool,
        uids: Set,
    },
    Fetch(Fetch),
    Flags(Vec<String>),
    Namespace {
        personal: Vec<Space>,
        others: Vec<Space>,
        shared: Vec<Space>,
    },
    Search(Set),
    /// Of one quota root: each resource with what is used and what is allowed (RFC 9208 section 4.2).
    Quota(Vec<(String, u64, u64)>),
    /// Of one folder: each identifier with its rights (RFC 4314 section 3.6).
    Acl(Vec<u8>, Vec<(String, String)>),
    /// Of one folder: what who asks may do (section 3.8).
    MyRights(Vec<u8>, String),
    /// Of one folder and one identifier: rights that it has in any case, and groups of rights that are given together (section 3.7).
    ListRights(Vec<u8>, String, Vec<String>),
    Other,
}

/// How a command ended, or what a server says in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub status: Status,
    pub code: Option<Code>,
    pub text: String,
}

impl Done {
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Whether it bears this response code.
    pub fn says(&self, code: &str) -> bool {
        self.code.as_ref().is_some_and(|c| c.name == code)
    }
}

/// `[NAME rest]` (RFC 5530 and others).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// In capitals.
    pub name: String,
    pub rest: String,
}

impl Code {
    /// `[APPENDUID 38505 3955:3960]`: UIDVALIDITY and the UIDs in order (RFC 4315).
    pub fn append_uid(&self) -> Option<(u32, Set)> {
        let (validity, uids) = self.rest.trim().split_once(' ')?;
        (self.name == "APPENDUID").then_some(())?;
        Some((validity.parse().ok()?, Set::parse(uids)?))
    }

    pub fn number(&self) -> Option<u64> {
        self.rest.split_ascii_whitespace().next()?.parse().ok()
    }
}

/// A line of LIST, LSUB or XLIST.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub attributes: Vec<String>,
    pub delimiter: Option<u8>,
    pub name: Vec<u8>,
}

impl Listed {
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }
}

/// Of STATUS, or gathered while a folder is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub messages: Option<u64>,
    pub next: Option<u64>,
    pub validity: Option<u64>,
    pub modseq: Option<u64>,
    pub identity: Option<String>,
    /// Octets of all messages (STATUS=SIZE, RFC 8438).
    pub size: Option<u64>,
}

/// What a server tells of one message, in the parts that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetch {
    pub sequence: u32,
    pub uid: Option<u32>,
    pub flags: Option<Vec<String>>,
    pub date: Option<String>,
    pub size: Option<u64>,
    pub modseq: Option<u64>,
    pub body: Body,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// Not sent, or NIL: which says nothing of whether the message is there.
    #[default]
    Absent,
    Held(Vec<u8>),
    Streamed,
}

/// A namespace: its prefix as the server writes it, and its delimiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    pub prefix: Vec<u8>,
    pub delimiter: Option<u8>,
}

/// Whether a literal that this text announces is the content of a message: `* 5 FETCH (.. BODY[] `.
pub fn announces_content(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let ends =
        |with: &str| text.len() > with.len() && text[text.len() - with.len()..].eq_ignore_ascii_case(with.as_bytes());
    text.starts_with(b"* ") && ["BODY[]", "BODY[]<0>", "BINARY[]", " RFC822", "(RFC822"].iter().any(|w| ends(w))
}

/// Whether a line is one in which `{5}` at the end is mere text: how commands end and what servers say in between.
pub fn is_spoken(line: &[u8]) -> bool {
    let mut words = line.splitn(3, |b| *b == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    first.starts_with(b"+") || Status::named(second).is_some()
}

/// Decodes one whole answer. Of a tag that stands alone, and of an empty line, nothing can be said.
pub fn decode(pieces: &[Piece]) -> Answer {
    let Some(Piece::Text(line)) = pieces.first() else { return Answer::Other };
    if let Some(text) = line.strip_prefix(b"+") {
        return Answer::Continue(text.trim_ascii_start().to_vec());
    }
    let space = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (first, rest) = (&line[..space], line[space..].trim_ascii_start());
    let word = rest.split(|b| b" (".contains(b)).next().unwrap_or_default();
    let status = Status::named(word);
    if first != b"*" {
        let tag = String::from_utf8_lossy(first).into_owned();
        return status.map_or(Answer::Other, |s| Answer::Tagged(tag, done(s, &rest[word.len()..])));
    }
    if let Some(status) = status {
        return Answer::State(done(status, &rest[word.len()..]));
    }
    let at = line.len() - rest.len();
    if word.first().is_some_and(u8::is_ascii_digit) {
        return numbered(&values(pieces, at));
    }
    let behind = at + word.len();
    let words = |values: Vec<Value>| values.iter().flat_map(flat).collect::<Vec<String>>();
    match word.to_ascii_uppercase().as_slice() {
        b"CAPABILITY" => Answer::Capability(words(values(pieces, behind)).iter().map(|w| w.to_uppercase()).collect()),
        b"ENABLED" => Answer::Enabled(words(values(pieces, behind)).iter().map(|w| w.to_uppercase()).collect()),
        b"FLAGS" => Answer::Flags(words(values(pieces, behind))),
        b"LIST" | b"XLIST" => listed(pieces, behind).map_or(Answer::Other, Answer::List),
        b"LSUB" => listed(pieces, behind).map_or(Answer::Other, Answer::Lsub),
        b"STATUS" => standing(pieces, behind),
        b"VANISHED" => vanished(&values(pieces, behind)),
        b"SEARCH" => {
            let all = values(pieces, behind);
            Answer::Search(Set::of(all.iter().filter_map(|v| u32::try_from(v.number()?).ok())))
        }
        b"ESEARCH" => {
            let all = values(pieces, behind);
            let found = all.windows(2).find(|pair| pair[0].is("ALL"));
            Answer::Search(found.and_then(|pair| Set::parse(&pair[1].text()?)).unwrap_or_default())
        }
        b"QUOTA" => {
            let all = values(pieces, behind);
            let list = all.last().and_then(Value::list).unwrap_or_default();
            let of = |three: &[Value]| Some((three[0].text()?.to_uppercase(), three[1].number()?, three[2].number()?));
            Answer::Quota(list.chunks_exact(3).filter_map(of).collect())
        }
        b"ACL" => {
            let all = values(pieces, behind);
            let Some(folder) = all.first().and_then(Value::octets) else { return Answer::Other };
            let pair = |two: &[Value]| Some((two[0].text()?, two[1].text()?));
            Answer::Acl(folder.to_vec(), all[1..].chunks_exact(2).filter_map(pair).collect())
        }
        b"MYRIGHTS" => match values(pieces, behind).as_slice() {
            [folder, rights, ..] => match (folder.octets(), rights.text()) {
                (Some(folder), Some(rights)) => Answer::MyRights(folder.to_vec(), rights),
                _ => Answer::Other,
            },
            _ => Answer::Other,
        },
        b"LISTRIGHTS" => match values(pieces, behind).as_slice() {
            [folder, who, rights @ ..] => match (folder.octets(), who.text()) {
                (Some(folder), Some(who)) => {
                    Answer::ListRights(folder.to_vec(), who, rights.iter().filter_map(Value::text).collect())
                }
                _ => Answer::Other,
            },
            _ => Answer::Other,
        },
        b"NAMESPACE" => {
            let all = values(pieces, behind);
            let spaces = |n: usize| all.get(n).and_then(Value::list).map(|l| l.iter().filter_map(space_of).collect());
            Answer::Namespace {
                personal: spaces(0).unwrap_or_default(),
                others: spaces(1).unwrap_or_default(),
                shared: spaces(2).unwrap_or_default(),
            }
        }
        _ => Answer::Other,
    }
}

fn flat(value: &Value) -> Vec<String> {
    match value {
        Value::List(list) => list.iter().filter_map(Value::text).collect(),
        other => other.text().into_iter().collect(),
    }
}

/// What follows OK, NO, BAD: a code in brackets where there is one, and a text for people.
fn done(status: Status, rest: &[u8]) -> Done {
    let rest = String::from_utf8_lossy(rest);
    let rest = rest.trim();
    let split = || {
        let inner = rest.strip_prefix('[')?;
        // A flag may hold a bracket.
        let end = match inner.find('(') {
            Some(list) if inner[..list].trim_end().eq_ignore_ascii_case("PERMANENTFLAGS") => inner.find(")]")? + 1,
            _ => inner.find(']')?,
        };
        let code = &inner[..end];
        let (name, rest) = code.split_once(' ').unwrap_or((code, ""));
        let text = inner[end + 1..].trim().to_owned();
        Some((Code { name: name.to_ascii_uppercase(), rest: rest.to_owned() }, text))
    };
    match split() {
        Some((code, text)) => Done { status, code: Some(code), text },
        None => Done { status, code: None, text: rest.to_owned() },
    }
}

/// The flags of `[PERMANENTFLAGS (..)]`.
pub fn flags_of(code: &Code) -> Vec<String> {
    let inner = code.rest.trim().trim_start_matches('(').trim_end_matches(')');
    inner.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The capabilities of a code `[CAPABILITY ..]`.
pub fn capabilities_of(code: &Code) -> Option<Vec<String>> {
    (code.name == "CAPABILITY").then(|| code.rest.split_ascii_whitespace().map(str::to_uppercase).collect())
}

fn numbered(values: &[Value]) -> Answer {
    let (Some(number), Some(kind)) = (values.first().and_then(Value::number), values.get(1)) else {
        return Answer::Other;
    };
    let Ok(number) = u32::try_from(number) else { return Answer::Other };
    if kind.is("EXISTS") {
        Answer::Exists(number)
    } else if kind.is("EXPUNGE") {
        Answer::Expunge(number)
    } else if kind.is("FETCH") {
        // A list, or its words when the server forgot the parentheses.
        let items = values.get(2).and_then(Value::list).unwrap_or(&values[2..]);
        Answer::Fetch(fetch(number, items))
    } else {
        Answer::Other
    }
}

fn fetch(sequence: u32, items: &[Value]) -> Fetch {
    let mut found = Fetch { sequence, ..Fetch::default() };
    let mut at = 0;
    while at + 1 < items.len() {
        let (name, value) = (&items[at], &items[at + 1]);
        at += 2;
        let Value::Atom(name) = name else {
            // Out of step: take the next as a name.
            at -= 1;
            continue;
        };
        match name.to_ascii_uppercase().as_slice() {
            b"UID" => found.uid = value.number().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).or(found.uid),
            b"FLAGS" => found.flags = Some(flat(value)),
            b"INTERNALDATE" => found.date = value.text(),
            b"RFC822.SIZE" => found.size = value.number(),
            b"MODSEQ" => {
                found.modseq = value.list().unwrap_or(std::slice::from_ref(value)).first().and_then(Value::number)
            }
            b"BODY[]" | b"BODY[]<0>" | b"BINARY[]" | b"RFC822" => match value {
                Value::Streamed => found.body = Body::Streamed,
                Value::Text(octets) => found.body = Body::Held(octets.clone()),
                _ => {}
            },
            _ => {}
        }
    }
    found
}

fn vanished(values: &[Value]) -> Answer {
    let earlier = values.first().and_then(Value::list).is_some_and(|l| l.iter().any(|v| v.is("EARLIER")));
    let uids = values.last().and_then(Value::text).and_then(|t| Set::parse(&t));
    uids.map_or(Answer::Other, |uids| Answer::Vanished { earlier, uids })
}

fn space_of(value: &Value) -> Option<Space> {
    let parts = value.list()?;
    Some(Space { prefix: parts.first()?.octets()?.to_vec(), delimiter: parts.get(1).and_then(one) })
}

fn one(value: &Value) -> Option<u8> {
    match value.octets()? {
        [octet] => Some(*octet),
        _ => None,
    }
}

/// `(attributes) "delimiter" name`. Read by hand: names come unquoted with spaces, and backslashes as delimiters unescaped.
fn listed(pieces: &[Piece], at: usize) -> Option<Listed> {
    let Some(Piece::Text(text)) = pieces.first() else { return None };
    let text = text.get(at..)?.trim_ascii_start();
    let (attributes, rest) = match text.strip_prefix(b"(") {
        Some(inner) => {
            let end = inner.iter().position(|b| *b == b')')?;
            (&inner[..end], inner[end + 1..].trim_ascii_start())
        }
        None => (&text[..0], text),
    };
    let attributes = String::from_utf8_lossy(attributes);
    let attributes = attributes.split_ascii_whitespace().map(str::to_owned).collect();
    let (delimiter, rest) = match rest {
        [b'"', b'\\', b'"', b' ', rest @ ..] => (Some(b'\\'), rest),
        [b'"', ..] => {
            let (value, used) = quoted(rest);
            (value.first().copied(), rest[used..].trim_ascii_start())
        }
        _ => {
            let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
            let nil = rest[..end].eq_ignore_ascii_case(b"NIL");
            (if nil { None } else { rest.first().copied() }, rest[end..].trim_ascii_start())
        }
    };
    let name = match (rest, pieces.get(1)) {
        ([], Some(Piece::Literal(name))) => name.clone(),
        ([], _) => return None,
        ([b'"', ..], _) => quoted(rest).0,
        // NIL here is a folder with that name. Spaces belong to it; what RFC 5258 puts behind it, in parentheses, does not.
        (bare, _) => {
            let end = bare.windows(2).position(|w| w == b" (").unwrap_or(bare.len());
            bare[..end].to_vec()
        }
    };
    Some(Listed { attributes, delimiter, name })
}

fn standing(pieces: &[Piece], at: usize) -> Answer {
    let Some(Piece::Text(text)) = pieces.first() else { return Answer::Other };
    let text = text.get(at..).unwrap_or_default().trim_ascii_start();
    let all = values(pieces, at);
    let Some(figures) = all.last().and_then(Value::list) else { return Answer::Other };
    let name = match (text, all.first()) {
        ([] | [b'"', ..], Some(Value::Text(name))) => name.clone(),
        // Unquoted, with spaces perhaps.
        (bare, _) => {
            let end = bare.iter().rposition(|b| *b == b'(').unwrap_or(bare.len());
            bare[..end].trim_ascii_end().to_vec()
        }
    };
    let mut found = Figures::default();
    for pair in figures.chunks(2) {
        let [key, value] = pair else { continue };
        let number = value.number();
        match key.text().unwrap_or_default().to_ascii_uppercase().as_str() {
            "MESSAGES" => found.messages = number,
            "SIZE" => found.size = number,
            "UIDNEXT" => found.next = number,
            "UIDVALIDITY" => found.validity = number,
            "HIGHESTMODSEQ" => found.modseq = number.filter(|n| *n > 0),
            "MAILBOXID" => found.identity = flat(value).into_iter().next(),
            _ => {}
        }
    }
    Answer::Status(name, found)
}
