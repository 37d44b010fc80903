//! The machines of the proxy: what a client says arrives at the backend as itself and as nothing else.

use cutover::protocol::sasl::{self, Credentials, Mechanism, Proof};
use cutover::services::proxy::session::{
    Ask, Back, BackSettings, BackStep, Front, FrontSettings, Login, Protocol, Refusal,
};
use proptest::prelude::*;

const ALL: [Protocol; 3] = [Protocol::Imap, Protocol::Pop3, Protocol::Submission];

fn settings() -> FrontSettings {
    FrontSettings {
        host: "mail.acme.test".into(),
        tls: false,
        starttls: true,
        plain_login: true,
        tokens: true,
        ehlo: vec!["PIPELINING".into(), "8BITMIME".into()],
        patience: 5,
    }
}

/// Runs a front over octets that arrive in parts of `cut`; what it said, and where it ended.
fn front(protocol: Protocol, octets: &[u8], cut: usize) -> (Front, Vec<u8>, Option<Ask>) {
    let mut front = Front::new(protocol, settings());
    let mut said = front.greeting();
    for part in octets.chunks(cut.max(1)) {
        front.push(part);
        loop {
            match front.ask() {
                Ask::Wait => break,
                Ask::Say(s) => said.extend(s),
                end => return (front, said, Some(end)),
            }
        }
    }
    (front, said, None)
}

fn login(protocol: Protocol, octets: &[u8]) -> Login {
    match front(protocol, octets, usize::MAX) {
        (_, _, Some(Ask::Login(login))) => *login,
        (_, said, end) => panic!("{end:?} after {}", String::from_utf8_lossy(&said)),
    }
}

fn password(login: &Login) -> (&str, &[u8]) {
    match &login.credentials.proof {
        Proof::Password(p) => (&login.credentials.user, p),
        Proof::Token(_) => panic!("a token"),
    }
}

/// Runs a back against a backend that answers each message as told; what was sent to it, and how it ended.
fn back(protocol: Protocol, starttls: bool, login: Login, answers: &[&str], cut: usize) -> (Vec<Vec<u8>>, BackStep) {
    let settings =
        BackSettings { starttls, host: "gate.acme.test".into(), client: Some(([192, 0, 2, 7], 4711).into()) };
    let mut back = Back::new(protocol, settings, login);
    let mut sent = Vec::new();
    for answer in answers {
        for part in answer.as_bytes().chunks(cut) {
            back.push(part);
            loop {
                match back.step() {
                    BackStep::Wait => break,
                    BackStep::Say(octets) => sent.push(octets.to_vec()),
                    BackStep::Tls => match back.secured() {
                        BackStep::Say(octets) => sent.push(octets.to_vec()),
                        other => return (sent, other),
                    },
                    end => return (sent, end),
                }
            }
        }
    }
    (sent, BackStep::Wait)
}

const FORMS: [(Protocol, &str); 13] = [
    (Protocol::Imap, "a LOGIN bob \"pa ss\"\r\n"),
    (Protocol::Imap, "a LOGIN {3}\r\nbob {5+}\r\npa ss\r\n"),
    (Protocol::Imap, "a AUTHENTICATE PLAIN\r\nAGJvYgBwYSBzcw==\r\n"),
    (Protocol::Imap, "a AUTHENTICATE plain AGJvYgBwYSBzcw==\r\n"),
    (Protocol::Imap, "a AUTHENTICATE LOGIN\r\nYm9i\r\ncGEgc3M=\r\n"),
    (Protocol::Imap, "c CAPABILITY\r\ni ID (\"name\" \"x\")\r\na LOGIN bob \"pa ss\"\r\n"),
    (Protocol::Pop3, "USER bob\r\nPASS pa ss\r\n"),
    (Protocol::Pop3, "CAPA\r\nuser bob\r\npass pa ss\r\n"),
    (Protocol::Pop3, "AUTH PLAIN AGJvYgBwYSBzcw==\r\n"),
    (Protocol::Pop3, "AUTH LOGIN\r\nYm9i\r\ncGEgc3M=\r\n"),
    (Protocol::Submission, "EHLO me.test\r\nAUTH PLAIN AGJvYgBwYSBzcw==\r\n"),
    (Protocol::Submission, "EHLO [192.0.2.7]\r\nAUTH PLAIN\r\nAGJvYgBwYSBzcw==\r\n"),
    (Protocol::Submission, "EHLO me\r\nAUTH LOGIN Ym9i\r\ncGEgc3M=\r\n"),
];

#[test]
fn a_login_is_the_same_in_every_form_and_however_it_arrives() {
    for (protocol, form) in FORMS {
        for cut in 1..form.len() {
            let (_, said, end) = front(protocol, form.as_bytes(), cut);
            let Some(Ask::Login(login)) = end else { panic!("{form} {cut}: {}", String::from_utf8_lossy(&said)) };
            assert_eq!(password(&login), ("bob", &b"pa ss"[..]), "{form}");
        }
    }
}

#[test]
fn what_is_sent_behind_a_login_is_kept_for_the_backend() {
    for (protocol, form) in FORMS {
        let behind = b"z SELECT INBOX\r\nDATA \0\n\xff.";
        let all = [form.as_bytes(), behind].concat();
        let (mut front, _, end) = front(protocol, &all, usize::MAX);
        assert!(matches!(end, Some(Ask::Login(_))), "{form}");
        assert_eq!(front.rest().as_slice(), behind, "{form}");
    }
}

#[test]
fn nothing_stands_behind_starttls() {
    let begin = [
        (Protocol::Imap, "s STARTTLS\r\n", "x LOGIN bob x\r\n"),
        (Protocol::Pop3, "STLS\r\n", "USER bob\r\n"),
        (Protocol::Submission, "EHLO me\r\nSTARTTLS\r\n", "EHLO them\r\n"),
    ];
    for (protocol, begin, injected) in begin {
        let all = format!("{begin}{injected}");
        // In one segment, or in two with the cut anywhere: what is read before TLS begins is either nothing or the end.
        for cut in 1..=all.len() {
            let (first, second) = all.as_bytes().split_at(cut);
            let mut front = Front::new(protocol, settings());
            let mut asks = Vec::new();
            for part in [first, second] {
                front.push(part);
                loop {
                    match front.ask() {
                        Ask::Wait => break,
                        Ask::Say(_) => {}
                        end => {
                            asks.push(end);
                            break;
                        }
                    }
                }
                if !asks.is_empty() {
                    break;
                }
            }
            match asks.as_slice() {
                [Ask::StartTls(_)] => assert!(first.len() == begin.len(), "{protocol:?} {cut}"),
                [Ask::Close { .. }] => assert!(first.len() != begin.len(), "{protocol:?} {cut}"),
                other => panic!("{protocol:?} {cut}: {other:?}"),
            }
        }
        // What was said before does not count afterwards.
        let (mut front, _, end) = front(protocol, begin.as_bytes(), 3);
        assert!(matches!(end, Some(Ask::StartTls(_))));
        front.secured();
        if protocol == Protocol::Submission {
            front.push(b"AUTH PLAIN AGJvYgBwYXNz\r\n");
            assert!(matches!(front.ask(), Ask::Say(s) if s.starts_with(b"503")), "EHLO is said again");
        } else {
            front.push(begin.as_bytes());
            assert!(matches!(front.ask(), Ask::Say(s) if !s.is_empty()), "a second STARTTLS is refused");
        }
    }
}

#[test]
fn a_password_does_not_cross_a_line_in_clear_unless_that_is_allowed() {
    for (protocol, form) in FORMS {
        let mut front = Front::new(protocol, FrontSettings { plain_login: false, ..settings() });
        front.push(form.as_bytes());
        let mut said = front.greeting();
        loop {
            match front.ask() {
                Ask::Wait => break,
                Ask::Say(s) => said.extend(s),
                Ask::Close { say, .. } => {
                    said.extend(say);
                    break;
                }
                other => panic!("{form}: {other:?}"),
            }
        }
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("AUTH=") && !said.contains("\nSASL ") && !said.contains("250 AUTH"), "{said}");
    }
}

#[test]
fn errors_are_counted_and_end() {
    for protocol in ALL {
        let mut front = Front::new(protocol, settings());
        for n in 0..5 {
            front.push(b"what is this\r\n");
            match front.ask() {
                Ask::Say(_) => assert!(n < 4),
                Ask::Close { .. } => assert_eq!(n, 4),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_client_is_not_read_from_without_bound() {
    for protocol in ALL {
        let mut front = Front::new(protocol, settings());
        let mut taken = 0;
        while front.room() > 0 {
            let n = front.room().min(1000);
            front.push(&vec![b'x'; n]);
            taken += n;
            if matches!(front.ask(), Ask::Close { .. }) {
                break;
            }
        }
        assert!(taken <= 16 * 1024, "{protocol:?}: {taken}");
        front.push(&[b'x'; 100_000]);
        assert!(front.rest().len() <= 16 * 1024);
    }
}

#[test]
fn backends_of_every_kind_are_logged_in_to() {
    let imap = login(Protocol::Imap, b"a1 LOGIN bob \"pa ss\"\r\n");
    // Capabilities in the greeting, SASL-IR, ID: one round trip.
    let greeting = "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] hello\r\n";
    let end = "* ID (\"name\" \"Dovecot\")\r\ncutover3 OK ID\r\n* CAPABILITY IMAP4rev1 IDLE\r\na1 OK Logged in\r\n";
    for cut in 1..40 {
        let (sent, ended) = back(Protocol::Imap, false, imap.clone(), &[greeting, end], cut);
        assert_eq!(sent.len(), 1);
        let sent = String::from_utf8_lossy(&sent[0]).into_owned();
        assert_eq!(
            sent,
            "cutover3 ID (\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\")\r\na1 AUTHENTICATE PLAIN AGJvYgBwYSBzcw==\r\n"
        );
        assert_eq!(ended, BackStep::In(b"* CAPABILITY IMAP4rev1 IDLE\r\na1 OK Logged in\r\n".to_vec()), "{cut}");
    }
    // An old one: nothing in the greeting, no SASL.
    let answers = ["* OK hi\r\n", "* CAPABILITY IMAP4\r\ncutover2 OK\r\n", "a1 OK in\r\n"];
    let (sent, ended) = back(Protocol::Imap, false, imap.clone(), &answers, 7);
    assert_eq!(sent[1], b"a1 LOGIN \"bob\" \"pa ss\"\r\n");
    assert_eq!(ended, BackStep::In(b"a1 OK in\r\n".to_vec()));
    // The same with a password that does not go into quotes.
    let mut odd = imap.clone();
    odd.credentials = Credentials::password("b\u{fc}b".as_bytes(), b"", b"\x01\"x").unwrap();
    let answers = ["* OK [CAPABILITY IMAP4] hi\r\n", "+ go\r\n", "+ go\r\n", "a1 OK in\r\n"];
    let (sent, _) = back(Protocol::Imap, false, odd.clone(), &answers, 7);
    assert_eq!(sent, [b"a1 LOGIN {4}\r\n".to_vec(), "b\u{fc}b {3}\r\n".as_bytes().to_vec(), b"\x01\"x\r\n".to_vec()]);
    let (sent, _) = back(Protocol::Imap, false, odd, &["* OK [CAPABILITY IMAP4 LITERAL+] hi\r\n"], 7);
    assert_eq!(sent, ["a1 LOGIN {4+}\r\nb\u{fc}b {3+}\r\n\u{1}\"x\r\n".as_bytes().to_vec()]);
    // STARTTLS: capabilities are asked for anew.
    let answers = [
        "* OK [CAPABILITY IMAP4 STARTTLS AUTH=PLAIN] hi\r\n",
        "cutover1 OK\r\n",
        "* CAPABILITY IMAP4\r\ncutover2 OK\r\n",
    ];
    let (sent, _) = back(Protocol::Imap, true, imap.clone(), &answers, 100);
    assert_eq!(sent[0], b"cutover1 STARTTLS\r\n");
    assert_eq!(sent[1], b"cutover2 CAPABILITY\r\n");
    assert!(sent[2].starts_with(b"a1 LOGIN"));

    let pop3 = login(Protocol::Pop3, b"USER bob\r\nPASS pa ss\r\n");
    let (sent, ended) =
        back(Protocol::Pop3, true, pop3.clone(), &["+OK <1.2@x>\r\n", "+OK\r\n", "+OK\r\n", "+OK 3 messages\r\n"], 3);
    assert_eq!(sent, [b"STLS\r\n".to_vec(), b"USER bob\r\n".to_vec(), b"PASS pa ss\r\n".to_vec()]);
    assert_eq!(ended, BackStep::In(b"+OK 3 messages\r\n".to_vec()));
    let mut master = pop3;
    master.credentials.acts_as = Some("bob".into());
    master.credentials.user = "admin".into();
    let (sent, ended) = back(
        Protocol::Pop3,
        false,
        master,
        &["+OK\r\n", "+OK\r\nUSER\r\nSASL LOGIN PLAIN\r\n.\r\n", "+ \r\n", "-ERR [SYS/TEMP] later\r\n"],
        3,
    );
    assert_eq!(sent[1], b"AUTH PLAIN\r\n");
    assert_eq!(sent[2], b"Ym9iAGFkbWluAHBhIHNz\r\n");
    assert!(matches!(ended, BackStep::Refused { refusal: Refusal::Later, .. }));

    let smtp = login(Protocol::Submission, b"EHLO me.test\r\nAUTH PLAIN AGJvYgBwYSBzcw==\r\n");
    let told = "250-x\r\n250-XCLIENT NAME ADDR\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n";
    let answers = ["220 x\r\n", told, "220 go\r\n", told, "220 x\r\n", told, "235 2.7.0 in\r\n"];
    let (sent, ended) = back(Protocol::Submission, true, smtp, &answers, 5);
    let sent: Vec<String> = sent.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
    assert_eq!(
        sent,
        [
            "EHLO me.test\r\n",
            "STARTTLS\r\n",
            "EHLO me.test\r\n",
            "XCLIENT ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=me.test\r\n",
            "EHLO me.test\r\n",
            "AUTH PLAIN AGJvYgBwYSBzcw==\r\n"
        ]
    );
    assert_eq!(ended, BackStep::In(b"235 2.7.0 in\r\n".to_vec()));
}

#[test]
fn a_backend_cannot_put_octets_behind_its_starttls() {
    for (protocol, begin, injected) in [
        (Protocol::Imap, "* OK hi\r\n", "cutover1 OK\r\n* CAPABILITY AUTH=PLAIN\r\n"),
        (Protocol::Pop3, "+OK\r\n", "+OK\r\n+OK\r\n"),
        (Protocol::Submission, "220 x\r\n", "250-x\r\n250 STARTTLS\r\n220 go\r\n250 x\r\n"),
    ] {
        let form = FORMS.iter().find(|(p, _)| *p == protocol).unwrap().1;
        let (_, ended) = back(protocol, true, login(protocol, form.as_bytes()), &[begin, injected], usize::MAX);
        assert!(matches!(&ended, BackStep::Broken(why) if why.contains("STARTTLS")), "{protocol:?}: {ended:?}");
    }
}

#[test]
fn backends_that_are_none_are_told_apart_from_wrong_passwords() {
    for (protocol, form) in [FORMS[0], FORMS[6], FORMS[10]] {
        let login = login(protocol, form.as_bytes());
        let flood = "x".repeat(100_000);
        for garbage in [
            "HTTP/1.1 400 Bad\r\n",
            "\r\n",
            "\n",
            "* BYE\r\n",
            "421 no\r\n",
            "-ERR no\r\n",
            "* OK {999999999}\r\n",
            &flood,
        ] {
            let (_, ended) = back(protocol, false, login.clone(), &[garbage], 1000);
            assert!(matches!(ended, BackStep::Broken(_)), "{protocol:?} {:.20}: {ended:?}", garbage);
        }
    }
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b" \r\n\0\"\\{}+@".to_vec())], 0..24)
}

proptest! {
    /// All 256 octets in every field: what the front lets through reaches the backend as the same credentials, in commands
    /// of the proxy's own and no other.
    #[test]
    fn who_logs_in_is_who_arrives(user in field(), secret in field(), acts in field()) {
        let message = [acts.as_slice(), b"\0", &user, b"\0", &secret].concat();
        let response = sasl::encode(&message);
        for protocol in ALL {
            let form = match protocol {
                Protocol::Imap => format!("a AUTHENTICATE PLAIN {}\r\n", *response),
                Protocol::Pop3 => format!("AUTH PLAIN {}\r\n", *response),
                Protocol::Submission => format!("EHLO x\r\nAUTH PLAIN {}\r\n", *response),
            };
            let (_, _, end) = front(protocol, form.as_bytes(), 100);
            let Some(Ask::Login(login)) = end else { continue };
            prop_assert_eq!(login.credentials.user.as_bytes(), &user[..]);
            prop_assert!(!login.credentials.user.chars().any(char::is_control));
            let plain = |text: &str| Credentials::of_message(Mechanism::Plain, &sasl::decode(text.trim_end().as_bytes()).unwrap()).unwrap();
            match protocol {
                Protocol::Imap => {
                    let (sent, _) = back(protocol, false, (*login).clone(), &["* OK [CAPABILITY SASL-IR AUTH=PLAIN] x\r\n"], 100);
                    let text = String::from_utf8(sent.concat()).unwrap();
                    prop_assert_eq!(text.matches('\n').count(), 1);
                    prop_assert_eq!(&plain(text.strip_prefix("a AUTHENTICATE PLAIN ").unwrap()), &login.credentials);
                }
                Protocol::Pop3 => {
                    let answers = ["+OK\r\n", "+OK\r\n", "+OK\r\n"];
                    let (sent, _) = back(protocol, false, (*login).clone(), &answers, 100);
                    for line in &sent {
                        prop_assert_eq!(line.iter().filter(|b| matches!(b, b'\r' | b'\n' | 0)).count(), 2, "{:?}", sent);
                    }
                }
                Protocol::Submission => {
                    let (sent, _) = back(protocol, false, (*login).clone(), &["220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n"], 100);
                    let text = String::from_utf8(sent.last().unwrap().clone()).unwrap();
                    prop_assert_eq!(&plain(text.strip_prefix("AUTH PLAIN ").unwrap()), &login.credentials);
                }
            }
        }
    }

    #[test]
    fn no_front_and_no_back_panics_or_depends_on_how_octets_are_cut(
        octets in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n aLOGINUSERPASSAUTHEHLO{}+=\"".to_vec())], 0..300), cut in 1usize..30)
    {
        for protocol in ALL {
            let (_, once, end) = front(protocol, &octets, usize::MAX);
            let (_, again, end_again) = front(protocol, &octets, cut);
            // STARTTLS alone depends on what has arrived behind it.
            if !matches!(end, Some(Ask::StartTls(_) | Ask::Close { .. })) {
                prop_assert_eq!(once, again);
                prop_assert_eq!(end, end_again);
            }
            let form = FORMS.iter().find(|(p, _)| *p == protocol).unwrap().1;
            let text = String::from_utf8_lossy(&octets);
            back(protocol, cut % 2 == 0, login(protocol, form.as_bytes()), &["* OK [CAPABILITY IMAP4]\r\n", "+OK\r\n", "220 x\r\n", &text], cut);
        }
    }
}
