//! How many connections, sessions and failures one address, one user and all may have.
//!
//! An address is one IPv4 address or one /64 of IPv6: whoever has one address of such a network has all of them. What is
//! remembered is bounded: addresses with a connection by the number of connections, those with failures by [`REMEMBERED`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use super::config;
use super::router::Denied;
use super::session::Refusal;

/// Addresses without a connection whose failures are remembered. About 100 octets each.
const REMEMBERED: usize = 65_536;

/// The delay doubles up to this many times the first.
const STEEPEST: u32 = 16;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Address {
    connections: usize,
    /// Refused logins in a row.
    refused: u32,
    /// Refused logins since `since`.
    failures: u32,
    since: Instant,
    barred_until: Option<Instant>,
}

/// All counts.
pub struct Limits {
    config: RwLock<config::Limits>,
    connections: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
    users: [Mutex<HashMap<String, usize>>; 16],
}

/// What is counted until it is dropped.
pub struct Place {
    limits: Arc<Limits>,
    of: Of,
}

enum Of {
    Address(IpAddr),
    User(String),
}

/// The address that counts: IPv4 as such, also when a socket of both families shows it as IPv6; the /64 of IPv6.
pub fn counted(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Limits {
    pub fn new(config: config::Limits) -> Arc<Self> {
        Arc::new(Self {
            config: RwLock::new(config),
            connections: AtomicUsize::new(0),
            addresses: Mutex::default(),
            users: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Other bounds from now on; what is beyond them stays until it ends by itself.
    pub fn reload(&self, config: config::Limits) {
        *self.config.write().unwrap_or_else(|e| e.into_inner()) = config;
    }

    fn config<T>(&self, look: impl FnOnce(&config::Limits) -> T) -> T {
        look(&self.config.read().unwrap_or_else(|e| e.into_inner()))
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn users(&self, user: &str) -> MutexGuard<'_, HashMap<String, usize>> {
        let part = user.bytes().fold(0usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(b))) % self.users.len();
        self.users[part].lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A connection of a peer: of the client itself, when a PROXY header names it.
    pub fn connection(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Denied> {
        let (all, each) = self.config(|c| (c.connections, c.per_address));
        let key = counted(peer);
        let now = Instant::now();
        let mut addresses = self.addresses();
        let address = remembered(&mut addresses, key, now);
        if address.barred_until.is_some_and(|until| until > now) {
            return Err(limit(format!("{key} had too many refused logins within a minute")));
        }
        if each > 0 && address.connections >= each {
            return Err(limit(format!("{key} has {each} connections, as many as one address may have")));
        }
        // Under the lock, so that two never take the last place together.
        if all > 0 && self.connections.load(Ordering::Relaxed) >= all {
            if address.idle(now) {
                addresses.remove(&key);
            }
            return Err(limit(format!("there are {all} connections, as many as there may be")));
        }
        address.connections += 1;
        self.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Place { limits: self.clone(), of: Of::Address(key) })
    }

    /// A session of a user, by the name that the routes know; over all protocols.
    pub fn user(self: &Arc<Self>, user: &str) -> Result<Place, Denied> {
        let most = self.config(|c| c.per_user);
        let mut users = self.users(user);
        let sessions = users.get(user).copied().unwrap_or_default();
        if most > 0 && sessions >= most {
            return Err(limit(format!("the user has {most} sessions, as many as one user may have")));
        }
        users.insert(user.to_owned(), sessions + 1);
        Ok(Place { limits: self.clone(), of: Of::User(user.to_owned()) })
    }

    /// A login was refused: how long the client waits before it hears of it.
    pub fn failed(&self, peer: IpAddr) -> Duration {
        let (first, most) = self.config(|c| (c.failure_delay, c.failures_per_minute));
        let key = counted(peer);
        let now = Instant::now();
        let mut addresses = self.addresses();
        let address = remembered(&mut addresses, key, now);
        if now.duration_since(address.since) >= MINUTE {
            (address.failures, address.since) = (0, now);
        }
        address.refused = address.refused.saturating_add(1);
        address.failures = address.failures.saturating_add(1);
        if most > 0 && address.failures >= most {
            address.barred_until = Some(now + MINUTE);
        }
        let times = 1u32.checked_shl(address.refused - 1).filter(|_| address.refused < 32).unwrap_or(STEEPEST);
        first * times.min(STEEPEST)
    }

    /// A login was accepted: the next refusal is told as soon as a first one. Failures of this minute still count: an address
    /// with one account must not guess at others for ever.
    pub fn proven(&self, peer: IpAddr) {
        if let Some(address) = self.addresses().get_mut(&counted(peer)) {
            address.refused = 0;
        }
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Addresses that are remembered.
    pub fn remembered(&self) -> usize {
        self.addresses().len()
    }
}

impl Address {
    fn new(now: Instant) -> Self {
        Self { connections: 0, refused: 0, failures: 0, since: now, barred_until: None }
    }

    /// Nothing is left that counts.
    fn idle(&self, now: Instant) -> bool {
        let past = self.failures == 0 || now.duration_since(self.since) >= MINUTE;
        self.connections == 0 && past && self.barred_until.is_none_or(|until| until <= now)
    }
}

/// What is known of an address. Room for one that is new is made first.
fn remembered(addresses: &mut HashMap<IpAddr, Address>, key: IpAddr, now: Instant) -> &mut Address {
    if addresses.len() >= REMEMBERED && !addresses.contains_key(&key) {
        forget(addresses, now);
    }
    addresses.entry(key).or_insert_with(|| Address::new(now))
}

/// Makes room: those that count no more; else the half that failed least and has no connection, so that whoever is barred
/// stays so however many addresses somebody else has.
fn forget(addresses: &mut HashMap<IpAddr, Address>, now: Instant) {
    addresses.retain(|_, a| !a.idle(now));
    if addresses.len() < REMEMBERED {
        return;
    }
    let mut failures: Vec<u32> = addresses.values().filter(|a| a.connections == 0).map(|a| a.failures).collect();
    let middle = failures.len() / 2;
    if failures.is_empty() {
        return;
    }
    let bar = *failures.select_nth_unstable(middle).1;
    let mut leave = failures.len() / 2 + 1;
    addresses.retain(|_, a| {
        let goes = a.connections == 0 && a.failures <= bar && leave > 0;
        leave -= usize::from(goes);
        !goes
    });
}

fn limit(why: String) -> Denied {
    Denied { refusal: Refusal::Limit, why }
}

impl Drop for Place {
    fn drop(&mut self) {
        match &self.of {
            Of::Address(key) => {
                let mut addresses = self.limits.addresses();
                if let Some(address) = addresses.get_mut(key) {
                    address.connections = address.connections.saturating_sub(1);
                    if address.connections == 0 && address.failures == 0 && address.barred_until.is_none() {
                        addresses.remove(key);
                    }
                }
                drop(addresses);
                self.limits.connections.fetch_sub(1, Ordering::Relaxed);
            }
            Of::User(user) => {
                let mut users = self.limits.users(user);
                match users.get_mut(user) {
                    Some(n) if *n > 1 => *n -= 1,
                    _ => drop(users.remove(user)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: config::Limits) -> Arc<Limits> {
        Limits::new(config)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let l = limits(config::Limits { connections: 3, per_address: 2, per_user: 2, ..Default::default() });
        let a = l.connection(ip("192.0.2.1")).unwrap();
        let _b = l.connection(ip("::ffff:192.0.2.1")).unwrap();
        assert!(l.connection(ip("192.0.2.1")).is_err(), "one address in either form");
        let _c = l.connection(ip("2001:db8::1")).unwrap();
        assert!(l.connection(ip("192.0.2.9")).is_err(), "three in all");
        drop(a);
        let _d = l.connection(ip("2001:db8:0:0:ffff::2")).unwrap();
        assert!(l.connection(ip("2001:db8::3")).is_err());
        let _u = l.user("ann").unwrap();
        let v = l.user("ann").unwrap();
        assert!(l.user("ann").is_err() && l.user("bob").is_ok());
        drop(v);
        assert!(l.user("ann").is_ok());
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let l = limits(config::Limits { per_address: 1, ..Default::default() });
        let _a = l.connection(ip("2001:db8:1:2::1")).unwrap();
        assert!(l.connection(ip("2001:db8:1:2:ffff::9")).is_err());
        assert!(l.connection(ip("2001:db8:1:3::1")).is_ok());
    }

    #[test]
    fn delays_double_up_to_a_bound_and_begin_anew_after_a_success() {
        let l = limits(config::Limits { failures_per_minute: 0, ..Default::default() });
        let delays: Vec<u128> = (0..7).map(|_| l.failed(ip("192.0.2.1")).as_millis()).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(l.failed(ip("192.0.2.2")).as_millis(), 500);
        for _ in 0..50 {
            l.failed(ip("192.0.2.1"));
        }
        assert_eq!(l.failed(ip("192.0.2.1")).as_millis(), 8000);
        l.proven(ip("192.0.2.1"));
        assert_eq!(l.failed(ip("192.0.2.1")).as_millis(), 500);
    }

    #[test]
    fn who_fails_too_often_is_refused_for_a_while_and_success_does_not_help() {
        let l = limits(config::Limits { failures_per_minute: 5, ..Default::default() });
        for _ in 0..4 {
            l.failed(ip("192.0.2.1"));
            l.proven(ip("192.0.2.1"));
        }
        assert!(l.connection(ip("192.0.2.1")).is_ok());
        l.failed(ip("192.0.2.1"));
        assert!(l.connection(ip("192.0.2.1")).is_err());
        assert!(l.connection(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn memory_is_bounded_under_addresses_that_never_come_again() {
        let l = limits(config::Limits { failures_per_minute: 3, ..Default::default() });
        for _ in 0..3 {
            l.failed(ip("192.0.2.1"));
        }
        let _held = l.connection(ip("192.0.2.7")).unwrap();
        for n in 0..200_000u32 {
            l.failed(IpAddr::V4((0x0a00_0000 + n).into()));
        }
        assert!(l.remembered() <= REMEMBERED + 1, "{}", l.remembered());
        assert!(l.connection(ip("192.0.2.1")).is_err(), "who is barred stays so");
        for n in 0..1000u32 {
            drop(l.connection(IpAddr::V4((0x0b00_0000 + n).into())));
        }
        assert!(l.remembered() <= REMEMBERED + 1);
    }
}
