//! The servers of one side for one protocol: which one is asked, how it is reached, and what became of a login there.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use zeroize::Zeroizing;

use super::header;
use super::secure::Secure;
use super::wire::{Lost, Wire};
use crate::services::proxy::config::{Back as Config, ClientHint, HeaderOut, Tls};
use crate::services::proxy::session::{Back, BackSettings, BackStep, Login, Protocol, Refusal};
use crate::services::trust;

/// How long a server that did not answer comes last.
const LAST_FOR: Duration = Duration::from_secs(30);
/// How long the addresses of a name are taken as they were.
const RESOLVED_FOR: Duration = Duration::from_secs(15);

pub(super) struct Servers {
    servers: Vec<Server>,
    tls: Tls,
    client: Option<Arc<ClientConfig>>,
    header: HeaderOut,
    tell: bool,
    host: String,
}

struct Server {
    host: String,
    port: u16,
    name: ServerName<'static>,
    /// Comes last until then; milliseconds since the process began.
    last_until: AtomicU64,
    resolved: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

/// A server that has taken the login.
pub(super) struct Reached {
    pub(super) wire: Wire,
    pub(super) address: SocketAddr,
    /// For the client: the answer to its login.
    pub(super) answer: Vec<u8>,
    /// For the client: what the server has sent behind it.
    pub(super) rest: Zeroizing<Vec<u8>>,
    pub(super) chunking: bool,
}

/// A login that no server has taken.
pub(super) struct Failed {
    pub(super) refusal: Refusal,
    pub(super) said: Option<Vec<u8>>,
    pub(super) why: String,
    /// No server said so: none could be used.
    pub(super) broken: bool,
}

/// Who logs in, and where they came in.
pub(super) struct Caller {
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

fn now() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64
}

impl Servers {
    pub(super) fn of(config: &Config, host: &str) -> Result<Self, String> {
        let servers = config.servers.iter().map(|s| Server::of(s, config)).collect::<Result<_, _>>()?;
        let client = (config.tls != Tls::None)
            .then(|| trust::client(config.verify, config.ca.as_deref(), &config.pins))
            .transpose()?;
        let (header, tell) = (config.proxy_protocol, config.client == ClientHint::Tell);
        Ok(Self { servers, tls: config.tls, client, header, tell, host: host.to_owned() })
    }

    /// Carries a login to the first server that can be used.
    pub(super) async fn reach(&self, caller: &Caller, login: &Login, within: Duration) -> Result<Reached, Failed> {
        let end = Instant::now() + within;
        let began = now();
        let mut order: Vec<&Server> = self.servers.iter().collect();
        order.sort_by_cached_key(|s| s.last_until.load(Ordering::Relaxed) > began);
        let mut why = String::new();
        for (left, server) in (1..=self.servers.len() as u32).rev().zip(order) {
            let share = end.saturating_duration_since(Instant::now()) / left;
            if share.is_zero() {
                break;
            }
            let until = tokio::time::sleep(share);
            tokio::pin!(until);
            match self.attempt(server, caller, login, until).await {
                Ok(Ok(reached)) => {
                    server.last_until.store(0, Ordering::Relaxed);
                    return Ok(reached);
                }
                Ok(Err(failed)) => return Err(failed),
                Err(text) => {
                    server.last_until.store(now() + LAST_FOR.as_millis() as u64, Ordering::Relaxed);
                    let more = format!("{}:{}: {text}", server.host, server.port);
                    why = if why.is_empty() { more } else { format!("{why}; {more}") };
                }
            }
        }
        Err(Failed { refusal: Refusal::Later, said: None, why, broken: true })
    }

    /// The outer error is a server that cannot be used, the inner one its refusal.
    async fn attempt(
        &self,
        server: &Server,
        caller: &Caller,
        login: &Login,
        mut until: Pin<&mut Sleep>,
    ) -> Result<Result<Reached, Failed>, String> {
        let lost = |e: Lost| e.to_string();
        let connected = tokio::select! {
            biased;
            connected = server.connect() => connected,
            () = until.as_mut() => Err("it cannot be reached in time".to_owned()),
        };
        let (stream, address) = connected?;
        let _ = stream.set_nodelay(true);
        let mut wire = Wire::new(stream);
        if let Some(header) = header::write(self.header, caller.peer, caller.local) {
            wire.say(&header).map_err(lost)?;
        }
        if self.tls == Tls::Implicit {
            self.secure(server, &mut wire, until.as_mut()).await?;
        }
        let settings = BackSettings {
            starttls: self.tls == Tls::Starttls,
            host: self.host.clone(),
            client: self.tell.then_some(caller.peer),
        };
        let mut back = Back::new(caller.protocol, settings, login.clone());
        let mut step = back.step();
        loop {
            step = match step {
                BackStep::Wait => {
                    wire.flush(until.as_mut()).await.map_err(lost)?;
                    wire.read(back.room(), until.as_mut(), |octets| back.push(octets)).await.map_err(lost)?;
                    back.step()
                }
                BackStep::Say(octets) => {
                    wire.say(&octets).map_err(lost)?;
                    back.step()
                }
                BackStep::Tls => {
                    self.secure(server, &mut wire, until.as_mut()).await?;
                    back.secured()
                }
                BackStep::In(answer) => {
                    let chunking = back.chunking();
                    let rest = back.rest();
                    return Ok(Ok(Reached { wire, address, answer, rest, chunking }));
                }
                BackStep::Refused { refusal, said } => {
                    let why = said.as_deref().map_or_else(String::new, |s| String::from_utf8_lossy(s).into_owned());
                    return Ok(Err(Failed { refusal, said, why, broken: false }));
                }
                BackStep::Broken(why) => return Err(why),
            };
        }
    }

    async fn secure(&self, server: &Server, wire: &mut Wire, until: Pin<&mut Sleep>) -> Result<(), String> {
        let config = self.client.clone().ok_or("it has no TLS")?;
        let tls = Secure::client(config, server.name.clone()).map_err(|e| e.to_string())?;
        wire.secure(tls, &[], until).await.map_err(|e| e.to_string())
    }
}

impl Server {
    fn of(text: &str, config: &Config) -> Result<Self, String> {
        let bad = || format!("servers: `{text}` is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let shown = config.tls_name.as_deref().unwrap_or(&host);
        let name = ServerName::try_from(shown.to_owned()).map_err(|_| format!("`{shown}` is no host name"))?;
        let port = port.parse().map_err(|_| bad())?;
        let fixed = host.parse().ok().map(|ip| (Instant::now(), vec![SocketAddr::new(ip, port)]));
        Ok(Self { host, port, name, last_until: AtomicU64::new(0), resolved: Mutex::new(fixed) })
    }

    /// To the first of its addresses that answers.
    async fn connect(&self) -> Result<(TcpStream, SocketAddr), String> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok((stream, address)),
                Err(e) => last = e,
            }
        }
        Err(format!("it cannot be reached: {last}"))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let literal = self.host.parse::<std::net::IpAddr>().is_ok();
        let known = self.resolved.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some((at, addresses)) = &known
            && (literal || at.elapsed() < RESOLVED_FOR)
        {
            return Ok(addresses.clone());
        }
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                *self.resolved.lock().unwrap_or_else(|e| e.into_inner()) = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            // Rather where it was than nowhere.
            Err(e) => known.map(|(_, addresses)| addresses).ok_or_else(|| format!("its name is not found: {e}")),
        }
    }
}
