//! Answers Postfix where the mail of a recipient goes, from the routes that logins follow (socketmap_table(5)).
//!
//! Each request is a netstring `NAME KEY`; NAME is one of two tables:
//!
//! - `transport`: for `transport_maps`. Mail for a held recipient waits.
//! - `verify`: for `address_verify_transport_maps`. Whether a held recipient exists is asked of the old side.
//!
//! For `ann+lists@acme.example` Postfix asks this name, then `ann@acme.example`, `acme.example` and `.example` (transport(5)).
//! Only whole addresses have a route here. An extension is cut off, since the user's route holds for it too; what is outside the
//! configured domains, and named by nobody, is not found, and Postfix goes on with its other tables.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::config::SocketMap;
use super::hub::Hub;
use super::route::Route;
use super::router::Denied;
use crate::services::accept;

/// Octets of a request: a table's name and an address (RFC 5321 section 4.5.3.1: 64 and 255 of them).
const LONGEST: usize = 1024;

/// Postfix keeps its connection open; one that is unused for so long is closed.
const IDLE: Duration = Duration::from_secs(3600);

/// Connections at the most: one for each process of Postfix that asks.
const MOST: usize = 500;

pub async fn serve(hub: Arc<Hub>, listener: UnixListener) {
    let one = |hub: Arc<Hub>, stream| async move {
        // A connection that is lost is opened again by Postfix.
        let _ = connection(&hub, stream).await;
    };
    accept::accept(|cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), MOST, |stream| one(hub.clone(), stream))
        .await;
}

async fn connection(hub: &Hub, mut stream: UnixStream) -> std::io::Result<()> {
    let mut held = Vec::new();
    loop {
        let answer = match netstring(&held) {
            Some(Ok((request, used))) => {
                let text = String::from_utf8(request.to_vec());
                held.drain(..used);
                let config = hub.config.load_full();
                match (text, &config.proxy.socketmap) {
                    (Ok(text), Some(map)) => answer(hub, map, &text).await,
                    (Err(_), _) => "NOTFOUND ".to_owned(),
                    (_, None) => "TEMP there is no such table any more".to_owned(),
                }
            }
            Some(Err(())) => {
                stream.write_all(b"29:PERM that is no netstring now,").await?;
                return Ok(());
            }
            None => {
                let mut octets = [0; LONGEST];
                let read = tokio::time::timeout(IDLE, stream.read(&mut octets)).await;
                match read {
                    Ok(Ok(0)) | Err(_) => return Ok(()),
                    Ok(n) => held.extend_from_slice(&octets[..n?]),
                }
                continue;
            }
        };
        stream.write_all(format!("{}:{answer},", answer.len()).as_bytes()).await?;
    }
}

/// A whole netstring at the beginning and how many octets it takes; nothing while there is none yet.
fn netstring(octets: &[u8]) -> Option<Result<(&[u8], usize), ()>> {
    let Some(colon) = octets.iter().take(6).position(|b| *b == b':') else {
        return if octets.len() < 6 && octets.iter().all(u8::is_ascii_digit) { None } else { Some(Err(())) };
    };
    let length = std::str::from_utf8(&octets[..colon]).ok().filter(|l| l.bytes().all(|b| b.is_ascii_digit()));
    let Some(length) = length.and_then(|l| l.parse::<usize>().ok()).filter(|l| *l <= LONGEST) else {
        return Some(Err(()));
    };
    let end = colon + 1 + length;
    match octets.get(end) {
        None => None,
        Some(b',') => Some(Ok((&octets[colon + 1..end], end + 1))),
        Some(_) => Some(Err(())),
    }
}

async fn answer(hub: &Hub, map: &SocketMap, request: &str) -> String {
    let Some((table, key)) = request.split_once(' ') else { return "PERM a request is TABLE KEY".into() };
    if !matches!(table, "transport" | "verify") {
        return "PERM there are tables transport and verify".into();
    }
    let found = match recipient(key, &map.delimiter) {
        None => return "NOTFOUND ".into(),
        Some(recipient) => route(hub, map, &recipient).await,
    };
    let transport = match found {
        Err(denied) => return format!("TEMP {}", plain(&denied.why)),
        Ok(None) => return "NOTFOUND ".into(),
        Ok(Some(Route::New)) => &map.new,
        Ok(Some(Route::Held)) if table == "transport" => &map.held,
        Ok(Some(Route::Old | Route::Held | Route::Blocked)) => &map.old,
    };
    if transport.is_empty() { "NOTFOUND ".into() } else { format!("OK {}", plain(transport)) }
}

/// The user of an address, and the address itself; nothing for what is no whole address.
fn recipient(key: &str, delimiter: &str) -> Option<[String; 2]> {
    let (name, domain) = key.rsplit_once('@')?;
    if name.is_empty() || domain.is_empty() || key.len() > 512 || key.contains(char::is_control) {
        return None;
    }
    // A name that begins with the delimiter has no user in front of it.
    let cut = delimiter.chars().next().and_then(|d| name.find(d)).filter(|at| *at > 0);
    let user = cut.map_or(name, |at| &name[..at]);
    Some([format!("{user}@{domain}"), key.to_owned()])
}

/// What routes know of a recipient. Somebody who is blocked may not log in; their mail goes where the default route leads.
async fn route(hub: &Hub, map: &SocketMap, [user, whole]: &[String; 2]) -> Result<Option<Route>, Denied> {
    let router = &hub.router;
    let ours = |name: &str| {
        let domain = name.rsplit_once('@').map_or("", |(_, d)| d);
        map.domains.iter().any(|d| d.eq_ignore_ascii_case(domain))
    };
    let default = |route: Route| match route {
        Route::Blocked => router.routes().read(|t| t.default),
        other => other,
    };
    let (user, whole) = (router.name(user), router.name(whole));
    // A user whose very name holds the delimiter comes first.
    if whole != user
        && let Some(route) = router.routes().read(|t| t.users.get(&whole).copied())
    {
        return Ok(Some(default(route)));
    }
    let named = router.routes().read(|t| t.users.contains_key(&user));
    // Nobody asks the directory about the whole world.
    if !named && !map.domains.is_empty() && !ours(&user) {
        return Ok(None);
    }
    match router.find(&user).await? {
        (_, "default") if !ours(&user) => Ok(None),
        (route, _) => Ok(Some(default(route))),
    }
}

/// A reply is one line of text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_are_whole_or_wait_or_are_none() {
        let whole = b"13:transport a@b,3:x";
        for cut in 0..whole.len() {
            assert_eq!(netstring(&whole[..cut]).map(|r| r.is_ok()), (cut >= 17).then_some(true), "{cut}");
        }
        assert_eq!(netstring(b"13:transport a@b,rest"), Some(Ok((&b"transport a@b"[..], 17))));
        for bad in [&b":x,"[..], b"x", b"-1:x,", b"1:xx", b"99999:", b"999999", b" 1:x,", b"+1:x,"] {
            assert_eq!(netstring(bad), Some(Err(())), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn only_whole_addresses_are_recipients() {
        for none in ["acme.example", ".example", "ann", "@acme.example", "ann@", "a\n@b", "*"] {
            assert_eq!(recipient(none, "+"), None, "{none:?}");
        }
        let of = |key, delimiter| recipient(key, delimiter).map(|[user, _]| user);
        assert_eq!(of("ann+x+y@acme.example", "+").as_deref(), Some("ann@acme.example"));
        assert_eq!(of("ann+x@acme.example", "").as_deref(), Some("ann+x@acme.example"));
        assert_eq!(of("+x@acme.example", "+").as_deref(), Some("+x@acme.example"));
        assert_eq!(of("\"a@b\"@acme.example", "+").as_deref(), Some("\"a@b\"@acme.example"));
    }
}
