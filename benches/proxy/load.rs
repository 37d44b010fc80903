//! A cheap IMAP backend and a load generator, for benchmarks of proxies: `benches/proxy/run` starts them.
//!
//! `stub ADDRESS`; `logins ADDRESS CLIENTS SECONDS [tls]`; `bulk ADDRESS MESSAGES [tls]`; `idle ADDRESS CONNECTIONS [tls]`.
//! Each prints one line of `key=value` words. TLS is 1.3 with a full handshake each time; the certificate is not looked at.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Octets of a message.
const MESSAGE: usize = 10 << 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["stub", at] => stub(at),
        ["logins", at, clients, seconds, tls @ ..] => {
            logins(at, clients.parse().unwrap(), seconds.parse().unwrap(), !tls.is_empty());
        }
        ["bulk", at, messages, tls @ ..] => bulk(at, messages.parse().unwrap(), !tls.is_empty()),
        ["idle", at, connections, tls @ ..] => idle(at, connections.parse().unwrap(), !tls.is_empty()),
        _ => println!("benches/proxy/run runs this"),
    }
}

// ── the backend

fn stub(at: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(at).await.unwrap();
        let message: Arc<Vec<u8>> = Arc::new(vec![b'x'; MESSAGE]);
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer(stream, message.clone()));
            }
        }
    });
}

async fn answer(mut stream: tokio::net::TcpStream, message: Arc<Vec<u8>>) -> std::io::Result<()> {
    stream.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID] ready\r\n").await?;
    let mut held = Vec::with_capacity(512);
    let mut tag = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        held.extend_from_slice(&buffer[..n]);
        let mut out = Vec::new();
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            let line = line.trim_ascii_end();
            let upper = line.to_ascii_uppercase();
            let first = line.split(|b| *b == b' ').next().unwrap_or_default();
            let literal = line.ends_with(b"}") && !line.ends_with(b"+}");
            let of = |out: &mut Vec<u8>, tag: &[u8], text: &[u8]| {
                out.extend_from_slice(tag);
                out.extend_from_slice(text);
            };
            if !tag.is_empty() {
                // A piece of a LOGIN by literals.
                if literal {
                    out.extend_from_slice(b"+ \r\n");
                } else {
                    of(&mut out, &std::mem::take(&mut tag), b" OK done\r\n");
                }
            } else if literal {
                tag = first.to_vec();
                out.extend_from_slice(b"+ \r\n");
            } else if upper.ends_with(b"LOGOUT") {
                out.extend_from_slice(b"* BYE\r\n");
                of(&mut out, first, b" OK done\r\n");
                stream.write_all(&out).await?;
                return stream.shutdown().await;
            } else if upper.windows(5).any(|w| w == b"FETCH") {
                out.extend_from_slice(format!("* 1 FETCH (BODY[] {{{MESSAGE}}}\r\n").as_bytes());
                stream.write_all(&out).await?;
                out.clear();
                stream.write_all(&message).await?;
                out.extend_from_slice(b")\r\n");
                of(&mut out, first, b" OK done\r\n");
            } else {
                if upper.windows(10).any(|w| w == b"CAPABILITY") {
                    out.extend_from_slice(b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID\r\n");
                }
                of(&mut out, first, b" OK done\r\n");
            }
        }
        stream.write_all(&out).await?;
    }
}

// ── the clients

enum Line {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    fn open(at: &str, tls: Option<&Arc<ClientConfig>>) -> std::io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from("mail.test").unwrap();
        let connection = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, stream))))
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(s) => s.read(buffer),
            Self::Tls(s) => s.read(buffer),
        }
    }

    fn say(&mut self, octets: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(s) => s.write_all(octets),
            Self::Tls(s) => s.write_all(octets),
        }
    }

    /// Reads until a line that holds `word`.
    fn until(&mut self, word: &[u8]) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        let mut seen = Vec::new();
        loop {
            let n = self.read(&mut buffer)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            seen.extend_from_slice(&buffer[..n]);
            if seen.ends_with(b"\n") && seen.windows(word.len()).any(|w| w == word) {
                return Ok(());
            }
        }
    }

    fn log_in(at: &str, tls: Option<&Arc<ClientConfig>>, user: &str) -> std::io::Result<Self> {
        let mut line = Self::open(at, tls)?;
        line.until(b"* OK")?;
        line.say(format!("a LOGIN {user} secret\r\n").as_bytes())?;
        line.until(b"a OK")?;
        Ok(line)
    }
}

fn config(tls: bool) -> Option<Arc<ClientConfig>> {
    tls.then(|| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(Arc::new(Anything));
        let mut config = builder.with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    })
}

fn logins(at: &str, clients: usize, seconds: u64, tls: bool) {
    let config = config(tls);
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let (mut times, errors) = std::thread::scope(|scope| {
        let run = |n: usize| {
            let (config, stop) = (config.as_ref(), &stop);
            move || {
                let (mut times, mut errors) = (Vec::new(), 0u32);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let session = Line::log_in(at, config, &format!("user{n}@acme.test"));
                    let login = began.elapsed();
                    match session.and_then(|mut line| line.say(b"b LOGOUT\r\n").and_then(|()| line.until(b"b OK"))) {
                        Ok(()) => times.push(login),
                        Err(_) => errors += 1,
                    }
                }
                (times, errors)
            }
        };
        let threads: Vec<_> = (0..clients).map(|n| scope.spawn(run(n))).collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let mut all = (Vec::new(), 0);
        for thread in threads {
            let (times, errors) = thread.join().unwrap();
            all.0.extend(times);
            all.1 += errors;
        }
        all
    });
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    println!("count={} rate={rate:.1} p50_ms={:.3} p99_ms={:.3} errors={errors}", times.len(), at(0.5), at(0.99));
}

fn bulk(at: &str, messages: usize, tls: bool) {
    let mut line = Line::log_in(at, config(tls).as_ref(), "bulk@acme.test").unwrap();
    let mut buffer = vec![0; 256 << 10];
    let began = Instant::now();
    for _ in 0..messages {
        line.say(b"c FETCH 1 BODY[]\r\n").unwrap();
        let mut left = MESSAGE;
        let mut tail = Vec::new();
        while left > 0 || !tail.ends_with(b"c OK done\r\n") {
            let n = line.read(&mut buffer).unwrap();
            assert!(n > 0, "it ended");
            left = left.saturating_sub(n);
            tail = buffer[n.saturating_sub(64)..n].to_vec();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("mb={} rate={:.1}", messages * 10, (messages * MESSAGE) as f64 / 1e6 / seconds);
}

fn idle(at: &str, connections: usize, tls: bool) {
    let config = config(tls);
    let each = connections / 8;
    let lines: Vec<Line> = std::thread::scope(|scope| {
        let open = |n: usize| {
            let config = config.as_ref();
            move || {
                let log_in = |m: usize| Line::log_in(at, config, &format!("user{}@acme.test", n * each + m));
                (0..each).map(log_in).collect::<std::io::Result<Vec<_>>>()
            }
        };
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(open(n))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap().unwrap()).collect()
    });
    println!("connections={}", lines.len());
    // Until whoever measures has seen enough.
    let _ = std::io::stdin().read(&mut [0]);
}

#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519]
    }
}
