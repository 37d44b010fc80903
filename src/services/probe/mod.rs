//! Synthetic transactions: what a probe asks of a server, and the service that asks again and again and tells Prometheus.
//!
//! ```text
//! probes.json ──config──▶ serve: each probe at each target, every so often ──ask, roundtrip──▶ servers
//!                           └──meter──▶ /metrics: attempts by result, seconds of those that were done
//! ```
//!
//! Where the probe itself cannot be made (no network here, a password that cannot be read) nothing is known of the server.

pub mod config;
mod lines;
mod meter;
mod roundtrip;
pub mod serve;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::trust::{self, Verify};
use crate::model::dns::{RecordSet, SetKey, is_spf, joined};
use crate::model::trigger::{Probe, Target, Transaction};
use crate::protocol::dns::ask_whole;
use lines::{Lines, refused};

/// Ports on which TLS begins with STARTTLS (RFC 3207), after an EHLO.
const STARTTLS: [u16; 2] = [25, 587];

/// What a probe of one target came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It was done.
    Well,
    /// The server failed, and in what.
    Bad(String),
    /// Nothing is known of the server: the probe itself could not be made.
    NotAsked(String),
}

/// One attempt at one target. How long it may take is the caller's to say; `ca` is an authority beside those of this system.
pub async fn ask(probe: &Probe, target: &Target, password: Option<&[u8]>, ca: Option<&Path>) -> Came {
    let login = probe.account.as_deref().zip(password);
    match probe.what {
        Transaction::Dns => dns(target, Duration::from_millis(probe.timeout.max(1))).await,
        Transaction::Roundtrip => Came::NotAsked("a round trip is made by cutover-probe".to_owned()),
        Transaction::Heartbeat => came(connect(target).await.map(drop)),
        Transaction::Tls => came(secure(target, ca).await.map(drop)),
        Transaction::Smtp => match connect(target).await {
            Ok(plain) => smtp(plain, probe.account.as_deref()).await,
            Err(came) => came,
        },
        Transaction::Imap | Transaction::Pop | Transaction::Submission => match secure(target, ca).await {
            Ok(stream) if probe.what == Transaction::Imap => mailbox(stream, IMAP, login).await,
            Ok(stream) if probe.what == Transaction::Pop => mailbox(stream, POP, login).await,
            Ok(stream) => submission(stream, login).await,
            Err(came) => came,
        },
    }
}

/// When the certificate that a server shows ends, whoever signed it (Unix seconds).
pub async fn certificate(target: &Target) -> Result<i64, Came> {
    let stream = encrypt(target, Verify::None, None).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|all| all.first());
    let shown = shown.ok_or_else(|| Came::Bad("TLS: it shows no certificate".to_owned()))?;
    let read =
        X509Certificate::from_der(shown).map_err(|e| Came::Bad(format!("its certificate cannot be read: {e}")))?;
    Ok(read.1.validity().not_after.timestamp())
}

async fn connect(to: &Target) -> Result<TcpStream, Came> {
    TcpStream::connect((to.address.as_str(), to.port)).await.map_err(|e| unreached(&e, &to.address))
}

/// TLS with a certificate of the organisation's authority or of one that this system trusts. No password goes to anybody else.
async fn secure(target: &Target, own: Option<&Path>) -> Result<TlsStream<TcpStream>, Came> {
    match encrypt(target, Verify::Name, own).await {
        // Another authority may have signed for it.
        Err(Came::Bad(first)) if own.is_some() && first.starts_with("TLS: ") => {
            encrypt(target, Verify::Name, None).await.map_err(|_| Came::Bad(first))
        }
        done => done,
    }
}

async fn encrypt(target: &Target, verify: Verify, ca: Option<&Path>) -> Result<TlsStream<TcpStream>, Came> {
    let name =
        ServerName::try_from(target.name.clone()).map_err(|e| Came::NotAsked(format!("{}: {e}", target.name)))?;
    let known = trust::client(verify, ca, &[]).map_err(Came::NotAsked)?;
    let mut plain = connect(target).await?;
    if STARTTLS.contains(&target.port) {
        let mut lines = Lines::of(plain);
        lines.wants("220", "greeting").await?;
        lines.say("EHLO probe.invalid\r\n").await?;
        lines.wants("250", "EHLO").await?;
        lines.say("STARTTLS\r\n").await?;
        lines.wants("220", "STARTTLS").await?;
        plain = lines.into_inner();
    }
    TlsConnector::from(known).connect(name, plain).await.map_err(|e| Came::Bad(format!("TLS: {e}")))
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
    let server = SocketAddr::new(ip, target.port);
    match ask_whole(server, &key, patience).await {
        Ok(said) if said.authoritative && said.set.is_some() => {}
        Ok(said) => {
            return Came::Bad(format!("{} answers {} and does not hold {}", target.address, said.code, target.name));
        }
        Err(e) => return Came::Bad(format!("{}: {e}", target.address)),
    }
    for wanted in &target.sets {
        let SetKey { name, kind } = &wanted.key;
        match ask_whole(server, &wanted.key, patience).await {
            Ok(said) if same(wanted, said.set.as_ref()) => {}
            Ok(said) => {
                let has = said.set.map(|s| s.data.into_iter().collect::<Vec<_>>().join("; "));
                let has = has.map_or_else(|| format!("nothing ({})", said.code), |has| format!("`{has}`"));
                let wants = wanted.data.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
                return Came::Bad(format!("{}: {kind} of {name} is {has}, not `{wants}`", target.address));
            }
            Err(e) => return Came::Bad(format!("{}: {kind} of {name}: {e}", target.address)),
        }
    }
    Came::Well
}

/// Of what TXT records say only who may send mail: others may write theirs beside it.
fn same(wanted: &RecordSet, said: Option<&RecordSet>) -> bool {
    let of = |set: &RecordSet| -> BTreeSet<String> {
        let texts = set.key.kind == "TXT";
        let counts = set.data.iter().filter(|d| !texts || is_spf(d));
        // Into which strings a text is cut means nothing (RFC 7208, section 3.3).
        counts.map(|d| if texts { joined(d) } else { d.clone() }).collect()
    };
    said.is_some_and(|said| of(said) == of(wanted))
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

/// How a mailbox is greeted, logged in to and left.
struct Words {
    greeting: &'static str,
    login: &'static str,
    good: &'static str,
    leave: &'static str,
}

const IMAP: Words = Words { greeting: "* OK", login: "a AUTHENTICATE PLAIN", good: "a OK", leave: "z LOGOUT\r\n" };
const POP: Words = Words { greeting: "+OK", login: "AUTH PLAIN", good: "+OK", leave: "QUIT\r\n" };

async fn mailbox<S: AsyncRead + AsyncWrite + Unpin>(stream: S, words: Words, login: Option<(&str, &[u8])>) -> Came {
    let mut lines = Lines::of(stream);
    came(
        async {
            let greeting = lines.line().await?;
            if !greeting.starts_with(words.greeting) {
                return Err(refused("greeting", &greeting));
            }
            if let Some(login) = login {
                lines.logs_in(words.login, login, words.good).await?;
            }
            lines.say(words.leave).await
        }
        .await,
    )
}

/// A login where users hand in mail (RFC 6409), of which none is sent.
async fn submission<S: AsyncRead + AsyncWrite + Unpin>(stream: S, login: Option<(&str, &[u8])>) -> Came {
    let mut lines = Lines::of(stream);
    came(
        async {
            lines.say("EHLO probe.invalid\r\n").await?;
            lines.wants("250", "EHLO").await?;
            if let Some(login) = login {
                lines.logs_in("AUTH PLAIN", login, "235").await?;
            }
            lines.say("QUIT\r\n").await
        }
        .await,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(kind: &str, data: &[&str]) -> RecordSet {
        let key = SetKey { name: "acme.example.".into(), kind: kind.into() };
        RecordSet { key, ttl: 60, data: data.iter().map(|d| (*d).to_owned()).collect() }
    }

    #[test]
    fn of_texts_only_who_may_send_counts() {
        let (spf, mx) = (set("TXT", &["\"v=spf1 mx -all\""]), set("MX", &["10 a.acme.example."]));
        let mut said = set("TXT", &["\"of=others\"", "\"v=spf1 mx\" \" -all\""]);
        assert!(same(&spf, Some(&said)) && !same(&spf, None));
        said.data.insert("\"v=spf1 -all\"".to_owned());
        assert!(!same(&spf, Some(&said)), "two of them are an error of every receiver");
        assert!(same(&mx, Some(&RecordSet { ttl: 9, ..mx.clone() })));
        assert!(!same(&mx, Some(&set("MX", &["10 a.acme.example.", "20 b.acme.example."]))));
    }
}
