//! What triggers see: who did not arrive, and how probes go, asked from the machine on which cutover runs.
//!
//! A server that does not answer a probe has failed it. Where the probe itself cannot be made (a secret that cannot be read, no network on this
//! machine) nothing is known, which is no failure and no pass.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::calendar::record;
use super::lines::LinesFile;
use super::moving::Crews;
use crate::execution::{Conditions, Fired, Guarded, Look, Seen};
use crate::journal::StateDir;
use crate::model::dns::SetKey;
use crate::model::trigger::{Condition, Probe, Target, Transaction, Trigger, reaches};
use crate::moving::content::Content;
use crate::moving::gates::Gates;
use crate::protocol::dns::ask_whole;
use crate::secret::{Resolve as _, Resolver};
use crate::services::trust::{self, Verify};

/// Longest line that a server may answer with.
const LINE: usize = 8 << 10;

/// Whoever has people, secrets and authorities within reach.
pub struct Eyes<G, C> {
    pub crews: Arc<Crews<G, C>>,
    pub probes: Probes,
}

/// What a probe is made with.
#[derive(Clone)]
pub struct Probes {
    pub resolver: Arc<Resolver>,
    /// The organisation's own authority; servers may have certificates of the system's too.
    pub ca: PathBuf,
}

/// A trigger that fired, as a line beside the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// RFC 3339.
    pub at: String,
    pub apply: String,
    pub point: String,
    pub trigger: String,
    pub why: String,
    /// `stop` or `rollback`.
    pub action: String,
    /// USER@MACHINE.
    pub by: String,
}

impl Firing {
    pub fn of(apply: &str, fired: &Fired) -> Self {
        let record::Entry { at, by, apply, .. } = record::Entry::new(apply);
        let action = if fired.rolls_back { "rollback" } else { "stop" }.to_owned();
        let Fired { point, trigger, why, .. } = fired.clone();
        Self { at, apply, point, trigger, why, action, by }
    }
}

pub(super) fn file(state: &StateDir) -> LinesFile<Firing> {
    LinesFile::of(state, "triggers.jsonl")
}

/// What a probe of one target came to.
enum Came {
    Well,
    Bad(String),
    NotAsked(String),
}

impl<G: Gates + Send, C: Content + Send> Conditions for Eyes<G, C> {
    fn look<'a>(&'a self, of: &'a Guarded, trigger: &'a Trigger) -> Look<'a> {
        Box::pin(async move {
            match (&trigger.when, &of.cohort) {
                (Condition::Failed { share }, Some(cohort)) => failed(&self.crews.stayed(cohort), *share),
                (Condition::Failed { .. }, None) => Seen::Well,
                (Condition::Probe { probe, share }, _) => self.probes.probe(probe, *share).await,
                (Condition::Unasked { what }, _) => Seen::NotAsked(what.clone()),
            }
        })
    }
}

/// Of each wave that was begun: how many did not arrive, of how many.
fn failed(waves: &[(String, u64, u64)], share: u64) -> Seen {
    let worst = waves.iter().find(|(_, stayed, people)| reaches(*stayed, *people, share));
    worst.map_or(Seen::Well, |(wave, stayed, people)| {
        Seen::Bad(format!("{stayed} of {people} people of wave {wave} did not arrive"))
    })
}

impl Probes {
    pub fn of(resolver: &Arc<Resolver>, state: &StateDir) -> Self {
        Self { resolver: Arc::clone(resolver), ca: state.path().join("ca/ca.pem") }
    }

    /// All targets of a probe, asked side by side.
    pub async fn probe(&self, probe: &Probe, share: Option<u64>) -> Seen {
        let password = match &probe.password {
            None => None,
            Some(secret) => match self.resolver.bytes(secret).await {
                Ok(bytes) => Some(bytes),
                Err(e) => {
                    return Seen::NotAsked(format!(
                        "the password of probe {} cannot be read: {}",
                        probe.name, e.message
                    ));
                }
            },
        };
        let asked = probe.targets.iter().map(|t| self.one(probe, t, password.as_deref().map(|b| b.as_slice())));
        let came = futures_util::future::join_all(asked).await;
        let bad: Vec<&str> =
            came.iter().filter_map(|c| if let Came::Bad(why) = c { Some(why.as_str()) } else { None }).collect();
        let unknown = came.iter().find_map(|c| if let Came::NotAsked(why) = c { Some(why.clone()) } else { None });
        if reaches(bad.len() as u64, came.len() as u64, share.unwrap_or(0)) {
            let more =
                if bad.len() > 1 { format!(", and {} more of {}", bad.len() - 1, came.len()) } else { String::new() };
            return Seen::Bad(format!("probe {}: {}{more}", probe.name, bad[0]));
        }
        // Those that could not be asked might be the ones.
        unknown.map_or(Seen::Well, |why| Seen::NotAsked(format!("probe {}: {why}", probe.name)))
    }

    async fn one(&self, probe: &Probe, target: &Target, password: Option<&[u8]>) -> Came {
        let who = format!(
            "{} of {}",
            probe.what.as_str(),
            target.host.as_ref().map_or(target.name.as_str(), |h| h.0.as_str())
        );
        let began = Instant::now();
        let limit = Duration::from_millis(probe.timeout.max(1));
        let came = match tokio::time::timeout(limit, self.ask(probe, target, password)).await {
            Ok(came) => came,
            Err(_) => Came::Bad(format!("no answer in {} ms", probe.timeout)),
        };
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match (came, probe.within) {
            (Came::Well, Some(within)) if took > within => {
                Came::Bad(format!("{who}: took {took} ms, {within} are wanted"))
            }
            (Came::Well, _) => Came::Well,
            (Came::Bad(why), _) => Came::Bad(format!("{who}: {why}")),
            (Came::NotAsked(why), _) => Came::NotAsked(format!("{who}: {why}")),
        }
    }

    async fn ask(&self, probe: &Probe, target: &Target, password: Option<&[u8]>) -> Came {
        if probe.what == Transaction::Dns {
            return dns(target, Duration::from_millis(probe.timeout.max(1))).await;
        }
        let plain = match TcpStream::connect((target.address.as_str(), target.port)).await {
            Ok(stream) => stream,
            Err(e) => return unreached(&e, &target.address),
        };
        match (probe.what, &probe.account) {
            (Transaction::Heartbeat | Transaction::Dns, _) => Came::Well,
            (Transaction::Smtp, account) => smtp(plain, account.as_deref()).await,
            (Transaction::Imap | Transaction::Pop, account) => {
                let stream = match self.secure(plain, target).await {
                    Ok(stream) => stream,
                    Err(came) => return came,
                };
                let login = account.as_deref().zip(password);
                if probe.what == Transaction::Imap { imap(stream, login).await } else { pop(stream, login).await }
            }
        }
    }

    /// TLS with a certificate of the organisation's authority or of one that this system trusts. No password goes to anybody else.
    async fn secure(
        &self,
        plain: TcpStream,
        target: &Target,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Came> {
        let name =
            ServerName::try_from(target.name.clone()).map_err(|e| Came::NotAsked(format!("{}: {e}", target.name)))?;
        let own = Some(self.ca.as_path()).filter(|p| p.exists());
        let known = trust::client(Verify::Name, own, &[]).map_err(Came::NotAsked)?;
        match TlsConnector::from(known).connect(name.clone(), plain).await {
            Ok(stream) => Ok(stream),
            Err(first) if own.is_some() => {
                // Another authority may have signed for it.
                let again = TcpStream::connect((target.address.as_str(), target.port)).await;
                let again = again.map_err(|e| unreached(&e, &target.address))?;
                let system = trust::client(Verify::Name, None, &[]).map_err(|_| Came::Bad(format!("TLS: {first}")))?;
                TlsConnector::from(system).connect(name, again).await.map_err(|_| Came::Bad(format!("TLS: {first}")))
            }
            Err(e) => Err(Came::Bad(format!("TLS: {e}"))),
        }
    }
}

/// What is wrong on this machine says nothing of the other one.
fn unreached(e: &io::Error, address: &str) -> Came {
    use io::ErrorKind::{AddrNotAvailable, NetworkDown, NetworkUnreachable, PermissionDenied};
    let here = matches!(e.kind(), NetworkDown | NetworkUnreachable | AddrNotAvailable | PermissionDenied);
    match here || e.raw_os_error().is_some_and(|n| [23, 24].contains(&n)) {
        true => Came::NotAsked(format!("this machine cannot reach {address}: {e}")),
        false => Came::Bad(format!("{address}: {e}")),
    }
}

async fn dns(target: &Target, patience: Duration) -> Came {
    let Ok(ip) = target.address.parse() else { return Came::NotAsked(format!("{} is no address", target.address)) };
    let key = SetKey { name: format!("{}.", target.name.trim_end_matches('.')), kind: "SOA".into() };
    match ask_whole(SocketAddr::new(ip, target.port), &key, patience).await {
        Ok(said) if said.authoritative && said.set.is_some() => Came::Well,
        Ok(said) => Came::Bad(format!("{} answers {} and does not hold {}", target.address, said.code, target.name)),
        Err(e) => Came::Bad(format!("{}: {e}", target.address)),
    }
}

/// Lines to and from a server.
struct Lines<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    fn of(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    async fn line(&mut self) -> Result<String, Came> {
        let mut line = Vec::new();
        loop {
            let piece = self.0.fill_buf().await.map_err(|e| Came::Bad(e.to_string()))?;
            if piece.is_empty() {
                return Err(Came::Bad("it hung up".to_owned()));
            }
            let end = piece.iter().position(|b| *b == b'\n');
            let taken = end.map_or(piece.len(), |at| at + 1);
            line.extend_from_slice(&piece[..taken]);
            self.0.consume(taken);
            if end.is_some() || line.len() > LINE {
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), Came> {
        let failed = |e: io::Error| Came::Bad(e.to_string());
        self.0.get_mut().write_all(text.as_bytes()).await.map_err(failed)?;
        self.0.get_mut().flush().await.map_err(failed)
    }

    /// The last line of an answer of SMTP.
    async fn reply(&mut self) -> Result<String, Came> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// SASL PLAIN (RFC 4616) after a continuation line; what IMAP says untagged before the answer is passed over.
    async fn logs_in(&mut self, command: &str, login: (&str, &[u8]), good: &str) -> Result<(), Came> {
        self.say(&format!("{command}\r\n")).await?;
        let said = self.line().await?;
        if !said.starts_with('+') {
            return Err(refused("login", &said));
        }
        self.say(&plain(login)).await?;
        let said = loop {
            let line = self.line().await?;
            if !line.starts_with("* ") {
                break line;
            }
        };
        if said.starts_with(good) { Ok(()) } else { Err(refused("login", &said)) }
    }

    async fn wants(&mut self, good: &str, what: &str) -> Result<(), Came> {
        let said = self.reply().await?;
        if said.starts_with(good) { Ok(()) } else { Err(refused(what, &said)) }
    }
}

fn refused(what: &str, said: &str) -> Came {
    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    Came::Bad(format!("{what}: {said}"))
}

fn came(done: Result<(), Came>) -> Came {
    done.err().unwrap_or(Came::Well)
}

/// The greeting; and whether it takes mail for an account, of which none is sent.
async fn smtp(stream: TcpStream, account: Option<&str>) -> Came {
    let mut lines = Lines::of(stream);
    came(
        async {
            lines.wants("220", "greeting").await?;
            lines.say("EHLO probe.invalid\r\n").await?;
            lines.wants("250", "EHLO").await?;
            if let Some(account) = account.filter(|a| !a.contains(['\r', '\n', '<', '>'])) {
                lines.say("MAIL FROM:<>\r\n").await?;
                lines.wants("250", "MAIL").await?;
                lines.say(&format!("RCPT TO:<{account}>\r\n")).await?;
                lines.wants("25", "RCPT").await?;
            }
            lines.say("QUIT\r\n").await
        }
        .await,
    )
}

async fn imap<S: AsyncRead + AsyncWrite + Unpin>(stream: S, login: Option<(&str, &[u8])>) -> Came {
    let mut lines = Lines::of(stream);
    came(
        async {
            let greeting = lines.line().await?;
            if !greeting.starts_with("* OK") {
                return Err(refused("greeting", &greeting));
            }
            if let Some(login) = login {
                lines.logs_in("a AUTHENTICATE PLAIN", login, "a OK").await?;
            }
            lines.say("z LOGOUT\r\n").await
        }
        .await,
    )
}

async fn pop<S: AsyncRead + AsyncWrite + Unpin>(stream: S, login: Option<(&str, &[u8])>) -> Came {
    let mut lines = Lines::of(stream);
    came(
        async {
            let greeting = lines.line().await?;
            if !greeting.starts_with("+OK") {
                return Err(refused("greeting", &greeting));
            }
            if let Some(login) = login {
                lines.logs_in("AUTH PLAIN", login, "+OK").await?;
            }
            lines.say("QUIT\r\n").await
        }
        .await,
    )
}

/// SASL PLAIN (RFC 4616) as a line.
fn plain((user, password): (&str, &[u8])) -> Zeroizing<String> {
    let words = Zeroizing::new([b"\0".as_slice(), user.as_bytes(), b"\0", password].concat());
    let mut line = Zeroizing::new(STANDARD.encode(words.as_slice()));
    line.push_str("\r\n");
    line
}
