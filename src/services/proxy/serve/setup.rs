//! What the configuration says, as connections need it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::servers::Servers;
use crate::services::proxy::config::{Config, Listen, Tls};
use crate::services::proxy::route::Route;
use crate::services::proxy::session::{FrontSettings, Protocol};

pub struct Setup {
    pub(super) doors: Vec<Arc<Door>>,
    /// By side and protocol.
    servers: [[Option<Arc<Servers>>; 3]; 2],
    pub(super) login_timeout: Duration,
    pub(super) backend_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) spare_files: usize,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) spot: Spot,
    pub(super) protocol: Protocol,
    pub(super) tls: Tls,
    pub(super) front: FrontSettings,
    trusted: Vec<IpNet>,
    /// What every connection was made to, when that is one address.
    pub(super) local: Option<SocketAddr>,
}

/// Which socket a listener has. By it a listener is the same after a reload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Name of a socket that is handed over.
    pub(super) name: Option<String>,
    /// Where it is opened when none is.
    pub(super) address: Option<SocketAddr>,
}

impl Spot {
    /// Its name among sockets that are handed over.
    pub(super) fn label(&self) -> String {
        match (&self.name, &self.address) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        }
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.name, &self.address) {
            (_, Some(address)) => write!(f, "{address}"),
            (Some(name), None) => write!(f, "socket {name}"),
            (None, None) => f.write_str("nowhere"),
        }
    }
}

const EHLO: [&str; 4] = ["PIPELINING", "8BITMIME", "SIZE 52428800", "ENHANCEDSTATUSCODES"];

impl Setup {
    /// Opens the authorities that the configuration names; every mistake at once.
    pub fn of(config: &Config) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let servers = [Route::Old, Route::New].map(|route| {
            Protocol::ALL.map(|protocol| {
                let back = config.sides.back(route, protocol)?;
                let at = format!("side.{}.{}", route.as_str(), protocol.as_str());
                Servers::of(back, &config.proxy.name).map(Arc::new).map_err(|e| faults.push(format!("{at}: {e}"))).ok()
            })
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            doors: config.listeners.iter().map(|l| Arc::new(Door::of(l, config))).collect(),
            servers,
            login_timeout: config.limits.login_timeout,
            backend_timeout: config.limits.backend_timeout,
            idle_timeout: config.limits.idle_timeout,
            spare_files: config.limits.spare_files,
        })
    }

    pub(super) fn servers(&self, route: Route, protocol: Protocol) -> Option<&Arc<Servers>> {
        self.servers[usize::from(route == Route::New)][protocol as usize].as_ref()
    }
}

impl Door {
    fn of(listen: &Listen, config: &Config) -> Self {
        let told = || EHLO.map(str::to_owned).to_vec();
        Self {
            spot: Spot { name: listen.socket.clone(), address: listen.address },
            protocol: listen.protocol,
            tls: listen.tls,
            front: FrontSettings {
                host: config.proxy.name.clone(),
                tls: listen.tls == Tls::Implicit,
                starttls: listen.tls == Tls::Starttls,
                plain_login: listen.plain_login,
                tokens: listen.tokens,
                ehlo: listen.ehlo.clone().unwrap_or_else(told),
                patience: config.limits.patience,
            },
            trusted: listen.proxy_protocol.clone(),
            local: listen.address.filter(|a| listen.socket.is_none() && !a.ip().is_unspecified() && a.port() != 0),
        }
    }

    /// Whether a peer must begin with a PROXY header.
    pub(super) fn trusts(&self, peer: SocketAddr) -> bool {
        !self.trusted.is_empty() && {
            let ip = peer.ip().to_canonical();
            self.trusted.iter().any(|net| net.contains(&ip))
        }
    }
}
