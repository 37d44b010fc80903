//! Conversations that go well, and broken ones out of them.

use cutover::services::proxy::session::Protocol;

use crate::dice::Dice;

#[derive(Clone)]
pub struct Input {
    pub client: Vec<u8>,
    pub server: Vec<u8>,
    /// STARTTLS behind; CHUNKING.
    pub flag: bool,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (client, server) = (self.client.escape_ascii(), self.server.escape_ascii());
        write!(f, "client \"{client}\"\nserver \"{server}\" flag {}", self.flag)
    }
}

const IMAP: &[(&str, &str)] = &[
    (
        "a LOGIN bob \"pa ss\"\r\n",
        "* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] hi\r\n* ID NIL\r\ncutover3 OK\r\n* 1 EXISTS\r\na OK [CAPABILITY X] in\r\n",
    ),
    (
        "a LOGIN {3}\r\nbob {5+}\r\npa ss\r\nb SELECT INBOX\r\n",
        "* OK hi\r\n* CAPABILITY IMAP4\r\ncutover2 OK\r\n+ go\r\n+ go\r\na OK in\r\n* BYE\r\n",
    ),
    (
        "a AUTHENTICATE PLAIN\r\nAGJvYgBwYSBzcw==\r\n",
        "* OK [CAPABILITY STARTTLS] x\r\ncutover1 OK\r\n* CAPABILITY IMAP4 AUTH=PLAIN\r\ncutover2 OK\r\n+ \r\na NO [AUTHENTICATIONFAILED] no\r\n",
    ),
    (
        "i ID (\"name\" \"x\")\r\na AUTHENTICATE OAUTHBEARER bixhPWJvYiwBYXV0aD1CZWFyZXIgdG9rLmVuAQE=\r\n",
        "* OK [CAPABILITY SASL-IR AUTH=OAUTHBEARER AUTH=XOAUTH2] x\r\n+ eyJzdGF0dXMiOiI0MDAifQ==\r\na NO no\r\n",
    ),
    (
        "a AUTHENTICATE XOAUTH2 dXNlcj1ib2IBYXV0aD1CZWFyZXIgdG9rLmVuAQE=\r\n",
        "* OK [CAPABILITY IMAP4 AUTH=XOAUTH2] x\r\n+ \r\na OK {3}\r\nabc\r\n",
    ),
    ("c CAPABILITY\r\nn NOOP\r\ns STARTTLS\r\n", ""),
    ("a AUTHENTICATE LOGIN\r\nYm9i\r\ncGEgc3M=\r\n", "* PREAUTH\r\n"),
    (
        "a LOGIN \"b\\\"o\\\\b\" {2+}\r\n\"\u{fc}\r\nl LOGOUT\r\n",
        "* OK {4}\r\nabcd hi\r\n* CAPABILITY IMAP4 LITERAL+\r\ncutover2 OK\r\na OK\r\n",
    ),
];

const POP3: &[(&str, &str)] = &[
    ("USER bob\r\nPASS pa ss\r\nSTAT\r\n", "+OK <1.2@x>\r\n+OK\r\n+OK 3 messages\r\n+OK 0 0\r\n"),
    ("CAPA\r\nAUTH PLAIN AGJvYgBwYSBzcw==\r\n", "+OK\r\n+OK\r\n-ERR [SYS/TEMP] later\r\n"),
    ("AUTH PLAIN\r\nYW5uAGJvYgBwYXNz\r\n", "+OK\r\n+OK\r\nUSER\r\nSASL LOGIN PLAIN\r\n.\r\n+ \r\n+OK\r\n"),
    ("AUTH LOGIN\r\nYm9i\r\ncGEgc3M=\r\n", "+OK\r\n+OK\r\n+OK\r\n"),
    (
        "AUTH XOAUTH2 dXNlcj1ib2IBYXV0aD1CZWFyZXIgdG9rLmVuAQE=\r\n",
        "+OK\r\n+OK\r\nSASL XOAUTH2\r\n.\r\n+ \r\n+ eyJ9\r\n-ERR\r\n",
    ),
    ("STLS\r\n", "+OK\r\n+OK\r\n+OK\r\n+OK\r\n"),
    ("APOP bob c4c9334bac560ecc979e58001b3e22fb\r\nQUIT\r\n", "-ERR\r\n"),
    ("AUTH\r\n*\r\nNOOP\r\nUSER b b\r\nPASS x\r\n", "+OK\r\n-ERR\r\n"),
];

const SMTP: &[(&str, &str)] = &[
    (
        "EHLO me.test\r\nAUTH PLAIN AGJvYgBwYSBzcw==\r\nMAIL FROM:<a@b>\r\n",
        "220 x\r\n250-x\r\n250-XCLIENT NAME ADDR\r\n250 AUTH PLAIN LOGIN\r\n220 x\r\n250-x\r\n250 AUTH PLAIN\r\n235 2.7.0 in\r\n",
    ),
    (
        "EHLO [192.0.2.7]\r\nAUTH LOGIN Ym9i\r\ncGEgc3M=\r\n",
        "220 x\r\n250-x\r\n250-STARTTLS\r\n250 AUTH=LOGIN\r\n220 go\r\n250-x\r\n250 AUTH PLAIN\r\n535 5.7.8 no\r\n",
    ),
    ("HELO me\r\nEHLO me\r\nSTARTTLS\r\n", "220-x\r\n220 y\r\n"),
    (
        "EHLO x\r\nAUTH OAUTHBEARER bixhPWJvYiwBYXV0aD1CZWFyZXIgdG9rLmVuAQE=\r\n",
        "220 x\r\n250-x\r\n250 AUTH OAUTHBEARER\r\n334 eyJ9\r\n535 no\r\n",
    ),
    ("RSET\r\nNOOP\r\nEHLO x\r\nAUTH PLAIN\r\n*\r\nQUIT\r\n", "421 no\r\n"),
    ("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", "454 later\r\n"),
    ("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\n\n\r.\r\nBDAT 0 LAST\r\nRSET\r\n", "550 no\r\n"),
    ("EHLO x\r\nXCLIENT ADDR=192.0.2.1\r\n", "220 x\r\n"),
];

const WORDS: &[&str] = &[
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\"",
    "\\",
    "{",
    "}",
    "{3}\r\n",
    "{3+}\r\n",
    "{0}\r\n",
    "{99999999999}\r\n",
    "{4294967296+}\r\n",
    "(",
    ")",
    "*",
    "+ ",
    "=",
    "==",
    ".",
    "\r\n.\r\n",
    "\n.\n",
    "\r.\r",
    "LOGIN",
    "AUTHENTICATE",
    "AUTH ",
    "PLAIN",
    "STARTTLS\r\n",
    "STLS\r\n",
    "CAPABILITY",
    "ID NIL",
    "NIL",
    "USER ",
    "PASS ",
    "APOP ",
    "EHLO ",
    "HELO ",
    "BDAT ",
    "BDAT 18446744073709551615",
    "DATA\r\n",
    "XCLIENT ",
    "XFORWARD ",
    "RSET\r\n",
    "QUIT\r\n",
    "* BYE\r\n",
    "* OK ",
    "[CAPABILITY ",
    "cutover1 OK\r\n",
    "cutover2 OK\r\n",
    "cutover3 OK\r\n",
    "a OK\r\n",
    "a NO\r\n",
    "+OK",
    "-ERR",
    "220 ",
    "250-",
    "250 ",
    "235 ",
    "334 ",
    "535 ",
    "AGJvYgBwYSBzcw==",
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{fc}",
    "%s%n",
    "${jndi:x}",
];

fn conversations(protocol: Protocol) -> &'static [(&'static str, &'static str)] {
    match protocol {
        Protocol::Imap => IMAP,
        Protocol::Pop3 => POP3,
        Protocol::Submission => SMTP,
    }
}

pub fn seeds(protocol: Protocol) -> Vec<Input> {
    let inputs = conversations(protocol).iter().flat_map(|(client, server)| {
        [true, false].map(|flag| Input { client: client.as_bytes().to_vec(), server: server.as_bytes().to_vec(), flag })
    });
    inputs.collect()
}

/// A child of the pool.
pub fn mutate(protocol: Protocol, pool: &[Input], dice: &mut Dice) -> Input {
    let mut input = pool[dice.below(pool.len())].clone();
    let other = &pool[dice.below(pool.len())];
    if dice.below(8) == 0 {
        input.flag = !input.flag;
    }
    if dice.below(4) == 0 {
        input.server.clone_from(&other.server);
    }
    let times = 1 + dice.below(4);
    for _ in 0..times {
        let (octets, others) = match dice.below(5) < 3 {
            true => (&mut input.client, &other.client),
            false => (&mut input.server, &other.server),
        };
        change(octets, others, protocol, dice);
    }
    input.client.truncate(24 << 10);
    input.server.truncate(24 << 10);
    input
}

fn change(octets: &mut Vec<u8>, other: &[u8], protocol: Protocol, dice: &mut Dice) {
    let at = dice.below(octets.len() + 1);
    let end = (at + 1 + dice.below(12)).min(octets.len());
    match dice.below(9) {
        0 => drop(octets.drain(at..end)),
        1 => octets.splice(at..at, dice.pick(WORDS).bytes()).for_each(drop),
        2 => octets.splice(at..end, dice.pick(WORDS).bytes()).for_each(drop),
        3 if at < octets.len() => octets[at] = dice.next() as u8,
        4 => octets.insert(at, dice.next() as u8),
        5 => {
            let again = octets[at..end].to_vec();
            octets.splice(at..at, again).for_each(drop);
        }
        6 => {
            let from = dice.below(other.len() + 1);
            let to = (from + dice.below(60)).min(other.len());
            octets.splice(at..end, other[from..to].iter().copied()).for_each(drop);
        }
        7 if dice.below(16) == 0 => {
            let flood = vec![b"xA\"=\\1"[dice.below(6)]; 1 << dice.below(15)];
            octets.splice(at..at, flood).for_each(drop);
        }
        8 if dice.below(4) == 0 => {
            let all = conversations(protocol);
            octets.extend_from_slice(all[dice.below(all.len())].0.as_bytes());
        }
        _ if at < octets.len() => octets[at] ^= 1 << dice.below(8),
        _ => octets.push(dice.next() as u8),
    }
}
