//! A letter that is sent through one server and looked for in a mailbox: what users have of their mail, from end to end.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::lines::{Lines, refused};
use super::{Came, connect, secure};
use crate::model::trigger::Target;

/// The field of a letter by which it is found again.
const FIELD: &str = "X-Cutover-Probe";

/// How long between two looks into the mailbox.
const LOOK: Duration = Duration::from_millis(250);

/// For how long a session waits for a letter; after that each look has its own.
const HOLD: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(5);

/// Letters that one command takes away.
const AT_ONCE: usize = 500;

type Mailbox = Lines<TlsStream<TcpStream>>;

pub struct Trip<'a> {
    pub account: &'a str,
    pub password: &'a [u8],
    /// Takes the letter.
    pub send: &'a Target,
    /// Holds the mailbox.
    pub read: &'a Target,
    pub ca: Option<&'a Path>,
    /// For each connection with what is said over it.
    pub timeout: Duration,
    /// How long after it was taken a letter may come.
    pub patience: Duration,
    /// What all letters of this probe through this server begin with, and those of no other.
    pub mark: &'a str,
}

/// How far a letter came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Arrived,
    CannotSend(String),
    NotArrived,
    CannotRead(String),
    NotAsked(String),
}

impl Trip<'_> {
    pub async fn make(&self) -> Ended {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let token = format!("{}/{}", self.mark, since.as_nanos());
        match self.within(self.send(&token)).await {
            Ok(()) => {}
            Err(Came::NotAsked(why)) => return Ended::NotAsked(why),
            Err(Came::Bad(why)) => return Ended::CannotSend(why),
            Err(Came::Well) => {}
        }
        let sent = Instant::now();
        match self.read(&token, sent).await {
            Ok(true) => Ended::Arrived,
            Ok(false) => Ended::NotArrived,
            Err(Came::NotAsked(why)) => Ended::NotAsked(why),
            Err(Came::Bad(why)) => Ended::CannotRead(why),
            Err(Came::Well) => Ended::Arrived,
        }
    }

    async fn within<T>(&self, what: impl Future<Output = Result<T, Came>>) -> Result<T, Came> {
        let late = |_| Came::Bad(format!("no answer in {} ms", self.timeout.as_millis()));
        tokio::time::timeout(self.timeout, what).await.map_err(late)?
    }

    /// From nobody, so that no server answers it with a letter.
    async fn send(&self, token: &str) -> Result<(), Came> {
        let account = self.account;
        if account.contains(['\r', '\n', '<', '>']) {
            return Err(Came::NotAsked(format!("{account:?} is no address")));
        }
        let mut lines = Lines::of(connect(self.send).await?);
        lines.wants("220", "greeting").await?;
        lines.say("EHLO probe.invalid\r\n").await?;
        lines.wants("250", "EHLO").await?;
        for (line, good, what) in [
            ("MAIL FROM:<>".to_owned(), "250", "MAIL"),
            (format!("RCPT TO:<{account}>"), "25", "RCPT"),
            ("DATA".to_owned(), "354", "DATA"),
        ] {
            lines.say(&format!("{line}\r\n")).await?;
            lines.wants(good, what).await?;
        }
        let date = jiff::fmt::rfc2822::to_string(&jiff::Zoned::now()).unwrap_or_default();
        let id = token.replace('/', ".");
        lines
            .say(&format!(
                "From: {account}\r\nTo: {account}\r\nSubject: probe\r\nDate: {date}\r\nMessage-ID: <{id}@probe.invalid>\r\n\
                 Auto-Submitted: auto-generated\r\n{FIELD}: {token}\r\n\r\nA probe of cutover, which takes it away again.\r\n.\r\n"
            ))
            .await?;
        lines.wants("250", "end of DATA").await?;
        lines.say("QUIT\r\n").await
    }

    /// Whether it came in time.
    async fn read(&self, token: &str, sent: Instant) -> Result<bool, Came> {
        let mut held = None;
        loop {
            let mut lines = match held.take() {
                Some(lines) => lines,
                None => self.within(self.open()).await?,
            };
            let found = self.within(search(&mut lines, &format!("HEADER {FIELD} \"{token}\""))).await?;
            let gone = sent.elapsed();
            if !found.is_empty() {
                self.within(removed(&mut lines, &found)).await?;
                // What former attempts left says nothing of this one. A session in which that did not go well ends as it is.
                let cleaned = self.within(self.takes_late(&mut lines)).await;
                if cleaned.is_ok() {
                    self.within(lines.say("z LOGOUT\r\n")).await?;
                }
                return Ok(true);
            }
            if gone < HOLD.min(self.patience) {
                tokio::time::sleep(LOOK).await;
                self.within(lines.command("NOOP")).await?;
                held = Some(lines);
                continue;
            }
            // Others are under way, too: servers bound how many sessions one user has.
            self.within(lines.say("z LOGOUT\r\n")).await?;
            if gone >= self.patience {
                return Ok(false);
            }
            tokio::time::sleep(LATER.min(self.patience - gone)).await;
        }
    }

    /// Letters of former attempts that came too late for them, so many at once as a command may name.
    async fn takes_late(&self, lines: &mut Mailbox) -> Result<(), Came> {
        let before =
            jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().saturating_sub(jiff::Span::new().days(1));
        let late = format!("HEADER {FIELD} \"{}/\" BEFORE {}", self.mark, before.strftime("%d-%b-%Y"));
        let mut found = search(lines, &late).await?;
        found.truncate(AT_ONCE);
        if found.is_empty() { Ok(()) } else { removed(lines, &found).await }
    }

    async fn open(&self) -> Result<Mailbox, Came> {
        let mut lines = Lines::of(secure(self.read, self.ca).await?);
        let greeting = lines.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(refused("greeting", &greeting));
        }
        lines.logs_in("a AUTHENTICATE PLAIN", (self.account, self.password), "a OK").await?;
        lines.command("SELECT INBOX").await?;
        Ok(lines)
    }
}

/// Unique identifiers of letters.
async fn search(lines: &mut Mailbox, which: &str) -> Result<Vec<String>, Came> {
    let said = lines.command(&format!("UID SEARCH {which}")).await?;
    let found = said.iter().filter_map(|l| l.strip_prefix("* SEARCH")).flat_map(str::split_whitespace);
    Ok(found.filter(|w| w.bytes().all(|b| b.is_ascii_digit())).map(str::to_owned).collect())
}

/// Takes these away and nothing else: what the account's own user has marked stays, so that a server without UIDPLUS (RFC 4315) keeps them
/// marked.
async fn removed(lines: &mut Mailbox, found: &[String]) -> Result<(), Came> {
    let found = found.join(",");
    lines.command(&format!("UID STORE {found} +FLAGS.SILENT (\\Deleted)")).await?;
    let said = lines.command("CAPABILITY").await?;
    if said.iter().flat_map(|l| l.split_whitespace()).any(|w| w.eq_ignore_ascii_case("UIDPLUS")) {
        lines.command(&format!("UID EXPUNGE {found}")).await?;
    }
    Ok(())
}
