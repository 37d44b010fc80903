//! A session as others see it: what `cutover-proxy sessions` lists, and what a change of routes closes.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use futures_util::task::AtomicWaker;

use super::route::{self, Route};
use super::session::Protocol;

/// One connection of a client, from its first octet to its last.
#[derive(Debug)]
pub struct Handle {
    /// Unlike that of any other session of this process.
    pub id: u64,
    pub protocol: Protocol,
    /// The client: who connected, or whom a trusted PROXY protocol header named.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    pub began: Instant,
    landed: OnceLock<Landed>,
    encrypted: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
    closing: AtomicBool,
    waker: AtomicWaker,
}

/// Where a login has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The name that the routes know.
    pub user: Box<str>,
    pub route: Route,
    pub backend: SocketAddr,
}

impl Handle {
    pub fn new(protocol: Protocol, peer: SocketAddr, local: SocketAddr) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            protocol,
            peer,
            local,
            began: Instant::now(),
            landed: OnceLock::new(),
            encrypted: AtomicBool::new(false),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Notes that a backend has taken the login.
    pub fn land(&self, landed: Landed) {
        // There is one login a session.
        let _ = self.landed.set(landed);
    }

    /// Nothing before the login is through.
    pub fn landed(&self) -> Option<&Landed> {
        self.landed.get()
    }

    pub fn encrypt(&self) {
        self.encrypted.store(true, Ordering::Relaxed);
    }

    /// Whether the client's side is behind TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted.load(Ordering::Relaxed)
    }

    /// Counts octets behind the login, from the client and to it.
    pub fn count(&self, up: u64, down: u64) {
        if up > 0 {
            self.up.fetch_add(up, Ordering::Relaxed);
        }
        if down > 0 {
            self.down.fetch_add(down, Ordering::Relaxed);
        }
    }

    /// Octets behind the login: from the client, and to it.
    pub fn octets(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Whether somebody wants this session to end.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Who is woken by [`route::Session::close`]. Register before looking at [`Handle::is_closing`].
    pub fn wake_by(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

impl route::Session for Handle {
    /// Ends the session where nothing is unanswered, as far as that can be told from the outside.
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }
}
