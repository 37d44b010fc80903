//! Answers of IMAP servers, as the documents write them and as servers do; and the same answers read by imap-proto, whose reading
//! ours must not contradict.

use cutover::protocol::imap::answer::{Answer, Body, announces_content, decode, is_spoken};
use cutover::protocol::imap::name;
use cutover::protocol::imap::value::{Piece, announced};
use imap_proto::{AttributeValue, MailboxDatum, NameAttribute, Response, StatusAttribute};
use proptest::prelude::*;

/// Cuts octets into an answer as the session does: content of messages goes elsewhere where `streams`.
fn pieces(octets: &[u8], streams: bool) -> Option<Vec<Piece>> {
    let (mut pieces, mut rest) = (Vec::new(), octets);
    loop {
        let end = rest.iter().position(|b| *b == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        let literal = if pieces.is_empty() && is_spoken(line) { None } else { announced(line) };
        let Some((begins, n)) = literal else {
            pieces.push(Piece::Text(line.to_vec()));
            return Some(pieces);
        };
        let n = usize::try_from(n).ok().filter(|n| *n <= rest.len())?;
        pieces.push(Piece::Text(line[..begins].to_vec()));
        let content = streams && announces_content(&line[..begins]);
        pieces.push(if content { Piece::Streamed } else { Piece::Literal(rest[..n].to_vec()) });
        rest = &rest[n..];
    }
}

fn read(text: &str) -> Answer {
    decode(&pieces(format!("{text}\r\n").as_bytes(), true).unwrap_or_else(|| panic!("{text}")))
}

/// Lines that servers send and the grammar does not have.
#[test]
fn sloppy_lines_are_read_as_they_are_meant() {
    let name = |line: &str| match read(line) {
        Answer::List(l) | Answer::Lsub(l) => {
            (String::from_utf8_lossy(&l.name).into_owned(), l.delimiter.map(char::from))
        }
        other => panic!("{line}: {other:?}"),
    };
    for (line, found, delimiter) in [
        ("* LIST (\\HasNoChildren) \"/\" Sent Items", "Sent Items", Some('/')),
        ("* LIST (\\HasNoChildren) \"/\" 2024", "2024", Some('/')),
        ("* LIST () NIL INBOX", "INBOX", None),
        ("* LIST (\\HasNoChildren) \"\\\" a\\b", "a\\b", Some('\\')),
        ("* LIST (\\HasNoChildren) \"\\\\\" \"a\\\\b\"", "a\\b", Some('\\')),
        ("* XLIST (\\Inbox) \"/\" INBOX", "INBOX", Some('/')),
        ("* list (\\Marked)  \".\"  \"INBOX.a \"", "INBOX.a ", Some('.')),
        ("* LSUB () . INBOX.x", "INBOX.x", Some('.')),
        ("* LIST () \"/\" {3}\r\na\"b", "a\"b", Some('/')),
        ("* LIST () \"/\" Entw\u{fc}rfe", "Entw\u{fc}rfe", Some('/')),
        ("* LIST () \"/\" NIL", "NIL", Some('/')),
        ("* LIST (\\A) \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))", "x", Some('/')),
    ] {
        assert_eq!(name(line), (found.to_owned(), delimiter), "{line}");
    }
    for (line, uid, flags, size) in [
        ("* 1 FETCH (UID 5 FLAGS (\\Seen  \\Answered ) )", Some(5), 2, None),
        ("* 1 fetch (flags (\\Seen) uid 5 rfc822.size NIL)", Some(5), 1, None),
        ("* 1 FETCH (FLAGS (\\Seen a]b $x/y) UID 5 RFC822.SIZE 77 MODSEQ (12))", Some(5), 3, Some(77)),
        ("* 1 FETCH (UID 5 FLAGS () RFC822.SIZE \"77\"", Some(5), 0, Some(77)),
        ("* 1 FETCH UID 5 FLAGS ()", Some(5), 0, None),
        ("* 1 FETCH (X-WHAT (a (b c)) UID 5 FLAGS () ENVELOPE NIL)", Some(5), 0, None),
        ("* 1 FETCH (UID 0 FLAGS ())", None, 0, None),
    ] {
        let Answer::Fetch(fetch) = read(line) else { panic!("{line}") };
        assert_eq!((fetch.uid, fetch.flags.map(|f| f.len()), fetch.size), (uid, Some(flags), size), "{line}");
    }
    for (line, body) in [
        ("* 1 FETCH (UID 5 BODY[] {3}\r\nabc FLAGS (\\Seen))", Body::Streamed),
        ("* 1 FETCH (UID 5 BODY[] ~{3}\r\na\0c)", Body::Streamed),
        ("* 1 FETCH (UID 5 RFC822 {3}\r\nabc)", Body::Streamed),
        ("* 1 FETCH (UID 5 BODY[] \"abc\")", Body::Held(b"abc".to_vec())),
        ("* 1 FETCH (UID 5 BODY[] NIL)", Body::Absent),
        ("* 1 FETCH (UID 5)", Body::Absent),
    ] {
        assert!(matches!(read(line), Answer::Fetch(f) if f.body == body && f.uid == Some(5)), "{line}");
    }
    assert!(matches!(read("* STATUS Sent Items (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5 )"), Answer::Status(n, f)
        if n == b"Sent Items" && (f.messages, f.next, f.validity, f.modseq) == (Some(3), Some(4), Some(5), None)));
    assert!(
        matches!(read("* STATUS \"a\" (HIGHESTMODSEQ 0 MAILBOXID (M1))"), Answer::Status(_, f) if f.modseq.is_none() && f.identity.as_deref() == Some("M1"))
    );
    assert!(matches!(read("* OK [UIDVALIDITY 77]"), Answer::State(d) if d.code.as_ref().unwrap().number() == Some(77)));
    assert!(matches!(read("* OK [PERMANENTFLAGS (\\Seen x]y \\*)]Limited"), Answer::State(d) if d.text == "Limited"));
    assert!(matches!(read("* OK see {12}"), Answer::State(d) if d.text == "see {12}"));
    assert!(matches!(read("a1 OK"), Answer::Tagged(t, d) if t == "a1" && d.is_ok()));
    assert!(matches!(read("a1 NO[TRYCREATE] x"), Answer::Other | Answer::Tagged(..)));
    assert_eq!(read("+"), Answer::Continue(vec![]));
    assert_eq!(read("* 3 exists"), Answer::Exists(3));
    assert!(matches!(read("* SEARCH 1 2 3 (MODSEQ 5)"), Answer::Search(s) if s.len() == 3));
    assert!(matches!(read("* ESEARCH (TAG \"a\") UID ALL 1:5,9"), Answer::Search(s) if s.len() == 6));
    assert!(matches!(read("* VANISHED (EARLIER) 1:5"), Answer::Vanished { earlier: true, uids } if uids.len() == 5));
    for line in [
        "",
        "*",
        "* ",
        "* 5",
        "* X Y",
        "HTTP/1.1 400 Bad Request",
        "* 99999999999 EXISTS",
        "* LIST",
        "* LIST (",
        "* LIST () \"/\"",
    ] {
        assert_eq!(read(line), Answer::Other, "{line}");
    }
}

/// What imap-proto reads, ours reads the same.
fn compare(octets: &[u8]) -> Result<(), TestCaseError> {
    let Ok((_, theirs)) = Response::from_bytes(octets) else { return Ok(()) };
    let Some(ours) = pieces(octets, false).map(|p| decode(&p)) else { return Ok(()) };
    match (theirs, ours) {
        (Response::Fetch(number, attributes), Answer::Fetch(fetch)) => {
            prop_assert_eq!(number, fetch.sequence);
            for attribute in attributes {
                match attribute {
                    AttributeValue::Uid(uid) => prop_assert_eq!(Some(uid), fetch.uid),
                    AttributeValue::Rfc822Size(size) => prop_assert_eq!(Some(u64::from(size)), fetch.size),
                    AttributeValue::ModSeq(n) => prop_assert_eq!(Some(n), fetch.modseq),
                    AttributeValue::InternalDate(date) => prop_assert_eq!(Some(date.into_owned()), fetch.date.clone()),
                    AttributeValue::Flags(flags) => {
                        prop_assert_eq!(
                            Some(flags.iter().map(|f| f.to_string()).collect::<Vec<_>>()),
                            fetch.flags.clone()
                        );
                    }
                    AttributeValue::BodySection { section: None, data: Some(data), .. } => {
                        prop_assert_eq!(Body::Held(data.into_owned()), fetch.body.clone());
                    }
                    _ => {}
                }
            }
        }
        (
            Response::MailboxData(MailboxDatum::List { name_attributes, delimiter, name }),
            Answer::List(l) | Answer::Lsub(l),
        ) => {
            // imap-proto leaves the backslashes of quoted strings where they are.
            if !name.contains('\\') {
                prop_assert_eq!(name.as_bytes(), l.name.as_slice());
            }
            prop_assert_eq!(delimiter.and_then(|d| d.bytes().next()), l.delimiter);
            prop_assert_eq!(name_attributes.contains(&NameAttribute::NoSelect), l.has("\\Noselect"));
        }
        (Response::MailboxData(MailboxDatum::Status { mailbox, status }), Answer::Status(name, figures)) => {
            prop_assert_eq!(mailbox.as_bytes(), name.as_slice());
            for attribute in status {
                match attribute {
                    StatusAttribute::Messages(n) => prop_assert_eq!(Some(u64::from(n)), figures.messages),
                    StatusAttribute::UidNext(n) => prop_assert_eq!(Some(u64::from(n)), figures.next),
                    StatusAttribute::UidValidity(n) => prop_assert_eq!(Some(u64::from(n)), figures.validity),
                    _ => {}
                }
            }
        }
        (Response::MailboxData(MailboxDatum::Exists(n)), ours) => prop_assert_eq!(ours, Answer::Exists(n)),
        (Response::Expunge(n), ours) => prop_assert_eq!(ours, Answer::Expunge(n)),
        (Response::Fetch(..), ours) => prop_assert!(false, "{ours:?}"),
        _ => {}
    }
    Ok(())
}

fn list() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[A-Za-z0-9/&._-]{1,12}", "[ -~]{1,12}".prop_map(|n: String| n)];
    (
        name,
        prop::sample::select(vec!["\\HasNoChildren", "\\Noselect \\HasChildren", ""]),
        prop::sample::select(vec!['/', '.', '\\']),
    )
        .prop_map(|(n, attributes, d)| {
            let quoted =
                |t: &str| String::from_utf8_lossy(&name::quoted(t.as_bytes()).unwrap_or_default()).into_owned();
            format!("* LIST ({attributes}) {} {}\r\n", quoted(&d.to_string()), quoted(&n))
        })
}

fn fetch() -> impl Strategy<Value = String> {
    let flags = prop::collection::vec(prop::sample::select(vec!["\\Seen", "\\Flagged", "$Forwarded", "Work"]), 0..4);
    (1u32..99, 1u32..9999, flags, 0u32..99_999, "[ -~\r\n]{0,30}", 1u64..999).prop_map(|(n, uid, flags, size, body, modseq)| {
        format!(
            "* {n} FETCH (UID {uid} FLAGS ({}) INTERNALDATE \" 1-Jul-2020 10:00:00 +0200\" RFC822.SIZE {size} MODSEQ ({modseq}) BODY[] {{{}}}\r\n{body})\r\n",
            flags.join(" "),
            body.len()
        )
    })
}

proptest! {
    #[test]
    fn ours_does_not_contradict_imap_proto(line in prop_oneof![list(), fetch(),
        "(\\* STATUS [a-z]{1,8} \\(MESSAGES [0-9]{1,4} UIDNEXT [0-9]{1,5} UIDVALIDITY [0-9]{1,6}\\)|\\* [0-9]{1,5} (EXISTS|EXPUNGE|RECENT))\r\n"]) {
        compare(line.as_bytes())?;
    }

    /// Octets changed at random: both may read it otherwise than it was, but not ours alone what theirs reads strictly.
    #[test]
    fn nothing_from_outside_panics(line in fetch(), at in 0usize..200, octet in any::<u8>(), cut in 0usize..200, streams in any::<bool>()) {
        let mut octets = line.into_bytes();
        if let Some(held) = octets.get_mut(at) {
            *held = octet;
        }
        octets.truncate(octets.len().saturating_sub(cut % 40));
        octets.extend_from_slice(b")\r\n");
        if let Some(pieces) = pieces(&octets, streams) {
            decode(&pieces);
        }
        decode(&[Piece::Text(octets)]);
    }

    #[test]
    fn no_octets_panic_and_no_nesting_is_too_deep(octets in prop::collection::vec(prop_oneof![any::<u8>(),
        prop::sample::select(b"* ()[]{}\"\\0123456789FETCHUIDLIST\r\n".to_vec())], 0..400), deep in 0usize..50_000) {
        decode(&[Piece::Text(octets.clone())]);
        decode(&[Piece::Text([b"* LIST ".as_slice(), &octets].concat()), Piece::Literal(octets.clone()), Piece::Text(octets)]);
        decode(&[Piece::Text([b"* 1 FETCH ".as_slice(), &b"(".repeat(deep)].concat())]);
    }
}
