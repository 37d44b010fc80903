//! Connections to the servers of a directory. Runs on a thread of its own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ldap3::{Ldap, Scope, SearchEntry, SearchOptions, parse_refs};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::super::config::{self, Referrals};
use super::query::{self, Answer};
use crate::services::ldap::{Door, late, plain, result};
use crate::services::trust::{self, Verify};

/// A server that did not answer comes last for so long.
const AVOID: Duration = Duration::from_secs(30);

/// Referrals that are followed for one user.
const STEPS: usize = 4;

/// Why nothing is known of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No server could be asked.
    Unreachable(String),
    /// They answer, and the answer cannot be: two entries, values that contradict each other.
    Wrong(String),
}

pub(super) struct Servers {
    config: config::Directory,
    password: Zeroizing<String>,
    tls: Option<Arc<rustls::ClientConfig>>,
    places: Semaphore,
    /// Connections that nobody uses, with the number of their server.
    idle: Mutex<Vec<(usize, Ldap)>>,
    avoid: Mutex<Vec<Option<Instant>>>,
}

impl Servers {
    /// Reads what the configuration names; opens no connection.
    pub(super) fn new(config: config::Directory) -> Result<Self, String> {
        if ldap3::parse_filter(query::filter(&config.filter, "user@example.test")).is_err() {
            return Err(format!("directory.filter: `{}` is no filter of RFC 4515", config.filter));
        }
        let mut password = Zeroizing::new(String::new());
        if let Some(path) = &config.password_file {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|e| format!("directory.password-file: {}: {e}", path.display()))?;
            *password = text.lines().next().unwrap_or_default().to_owned();
            if password.is_empty() {
                // A bind with a name and without a password succeeds as nobody (RFC 4513 section 5.1.2).
                return Err(format!("directory.password-file: the first line of {} is empty", path.display()));
            }
        }
        let encrypted = config.starttls || config.servers.iter().any(|s| s.starts_with("ldaps://"));
        let tls = || trust::client(Verify::Name, config.ca.as_deref(), &[]).map_err(|e| format!("directory.{e}"));
        let tls = if encrypted { Some(tls()?) } else { None };
        let places = Semaphore::new(config.pool.max(1));
        let avoid = Mutex::new(vec![None; config.servers.len()]);
        Ok(Self { config, password, tls, places, idle: Mutex::default(), avoid })
    }

    /// Asks about a user; nothing when there is no such entry.
    pub(super) async fn ask(&self, user: &str) -> Result<Option<Answer>, Fault> {
        let place = tokio::time::timeout(self.config.timeout, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(Fault::Unreachable("all connections are busy".into()));
        };
        let filter = query::filter(&self.config.filter, user);
        let kept = self.idle.lock().unwrap_or_else(|e| e.into_inner()).pop();
        if let Some((server, mut ldap)) = kept {
            let found = match ldap.is_closed() {
                true => Err("closed".to_owned()),
                false => self.search(&mut ldap, &self.config.base, &filter).await,
            };
            match found {
                Ok(found) => {
                    self.keep(server, ldap);
                    return self.read(found, &filter).await;
                }
                // What nobody used for a while may be closed at the other end, and then the others are too.
                Err(_) => self.idle.lock().unwrap_or_else(|e| e.into_inner()).retain(|(n, _)| *n != server),
            }
        }
        let mut why = Vec::new();
        for server in self.order() {
            let url = &self.config.servers[server];
            match self.connect(url).await {
                Ok(mut ldap) => match self.search(&mut ldap, &self.config.base, &filter).await {
                    Ok(found) => {
                        self.avoided(server, None);
                        self.keep(server, ldap);
                        return self.read(found, &filter).await;
                    }
                    Err(e) => why.push(format!("{url}: {e}")),
                },
                Err(e) => why.push(format!("{url}: {e}")),
            }
            self.avoided(server, Some(Instant::now() + AVOID));
        }
        Err(Fault::Unreachable(why.join("; ")))
    }

    fn keep(&self, server: usize, ldap: Ldap) {
        self.idle.lock().unwrap_or_else(|e| e.into_inner()).push((server, ldap));
    }

    fn avoided(&self, server: usize, until: Option<Instant>) {
        self.avoid.lock().unwrap_or_else(|e| e.into_inner())[server] = until;
    }

    /// As they are written, those that did not answer last.
    fn order(&self) -> Vec<usize> {
        let avoid = self.avoid.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        let mut order: Vec<usize> = (0..avoid.len()).collect();
        order.sort_by_key(|n| avoid[*n].is_some_and(|until| until > now));
        order
    }

    async fn connect(&self, url: &str) -> Result<Ldap, String> {
        let c = &self.config;
        let bind = c.bind_dn.as_deref().map(|dn| (dn, self.password.as_str()));
        Door { url, starttls: c.starttls, tls: self.tls.as_ref(), bind, limit: c.timeout }.open().await
    }

    async fn search(&self, ldap: &mut Ldap, base: &str, filter: &str) -> Result<Found, String> {
        let c = &self.config;
        let mut attributes = vec![c.attribute.as_str()];
        attributes.extend(c.login_old.as_deref());
        attributes.extend(c.login_new.as_deref());
        let seconds = i32::try_from(c.timeout.as_secs()).unwrap_or(i32::MAX).max(1);
        // Two are enough to see that there is more than one.
        ldap.with_search_options(SearchOptions::new().sizelimit(2).timelimit(seconds));
        let asked = tokio::time::timeout(c.timeout, ldap.search(base, Scope::Subtree, filter, attributes)).await;
        let ldap3::SearchResult(items, end) = asked.map_err(|_| late(c.timeout))?.map_err(|e| plain(&e))?;
        let mut found = Found { entries: Vec::new(), referrals: end.refs.clone(), more: end.rc == 4 };
        // Success, sizeLimitExceeded, referral (RFC 4511 section 4.1.9): all else is no answer, and least of all "not there".
        if !matches!(end.rc, 0 | 4 | 10) {
            return Err(result(end.rc, &end.text));
        }
        for item in items {
            match item.is_ref() {
                true => found.referrals.extend(parse_refs(item.0)),
                false if item.is_intermediate() => {}
                false => found.entries.push(SearchEntry::construct(item)),
            }
        }
        Ok(found)
    }

    async fn read(&self, mut found: Found, filter: &str) -> Result<Option<Answer>, Fault> {
        if found.entries.is_empty() && self.config.referrals == Referrals::Follow {
            for url in found.referrals.iter().take(STEPS) {
                let there = self.follow(url, filter).await;
                let there = there.map_err(|e| Fault::Unreachable(format!("a referral to {url}: {e}")))?;
                found.entries.extend(there.entries);
                found.more |= there.more;
            }
        }
        let entry = match found.entries.as_slice() {
            [] => return Ok(None),
            [one] if !found.more => one,
            _ => return Err(Fault::Wrong("more than one entry is this user".into())),
        };
        let c = &self.config;
        let wrong = |e: String| Fault::Wrong(format!("{}: {e}", entry.dn));
        let answer = Answer {
            route: query::side(c, values(entry, Some(&c.attribute))).map_err(wrong)?,
            login_old: query::login(c.login_old.as_deref(), values(entry, c.login_old.as_deref())).map_err(wrong)?,
            login_new: query::login(c.login_new.as_deref(), values(entry, c.login_new.as_deref())).map_err(wrong)?,
        };
        Ok(Some(answer))
    }

    /// One step, with the same bind: `ldap://HOST/BASE??SCOPE` (RFC 4516).
    async fn follow(&self, url: &str, filter: &str) -> Result<Found, String> {
        let (scheme, rest) = url.split_once("://").ok_or("it is no address")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let base = path.split('?').next().unwrap_or_default();
        let base = ldap3_percent(base).ok_or("its base is no text")?;
        if !matches!(scheme, "ldap" | "ldaps") {
            return Err("it is no address of a directory".into());
        }
        // The password does not go where it would be read along.
        if scheme == "ldap" && !self.config.starttls && self.config.servers.iter().any(|s| s.starts_with("ldaps://")) {
            return self.follow_at(&format!("ldaps://{host}"), &base, filter).await;
        }
        self.follow_at(&format!("{scheme}://{host}"), &base, filter).await
    }

    async fn follow_at(&self, url: &str, base: &str, filter: &str) -> Result<Found, String> {
        let mut ldap = self.connect(url).await?;
        let found = self.search(&mut ldap, base, filter).await;
        let _ = ldap.unbind().await;
        found
    }
}

struct Found {
    entries: Vec<SearchEntry>,
    referrals: Vec<String>,
    /// There are more entries than were asked for.
    more: bool,
}

/// By name without case, as servers answer in a case of their own.
fn values<'a>(entry: &'a SearchEntry, attribute: Option<&str>) -> &'a [String] {
    let found = attribute.and_then(|a| entry.attrs.iter().find(|(name, _)| name.eq_ignore_ascii_case(a)));
    found.map_or(&[], |(_, values)| values)
}

fn ldap3_percent(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            out.push(octet);
            continue;
        }
        let pair = [octets.next()?, octets.next()?];
        out.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
    }
    String::from_utf8(out).ok()
}
