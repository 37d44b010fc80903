//! The control socket: whoever may open it sees sessions and changes routes.
//!
//! A change is acknowledged when it is on the disk, holds for every login, and the sessions that it closes are gone or, after a
//! wait, counted.

pub mod wire;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::hub::{Hub, Phase};
use super::record::Event;
use super::route::{Route, Victim};
use super::router::Wish;
use crate::services::accept;
use wire::{Answer, Changed, LONGEST, Request, SessionLine, Shown, ShownRoute, Status};

/// Connections at the same time.
const MOST: usize = 32;

/// How long a request may take to come in.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an answer waits for sessions at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How often it is looked whose password has to go.
const SWEEP: Duration = Duration::from_secs(60);

/// Users that one record of the audit log names.
const NAMED: usize = 1000;

pub async fn serve(hub: Arc<Hub>, listener: UnixListener) {
    let one = |hub: Arc<Hub>, stream| async move {
        // Whoever is gone does not read the answer.
        let _ = connection(&hub, stream).await;
    };
    accept::accept(|cx| listener.poll_accept(cx).map_ok(|(stream, _)| stream), MOST, |stream| one(hub.clone(), stream))
        .await;
}

async fn connection(hub: &Arc<Hub>, mut stream: UnixStream) -> std::io::Result<()> {
    let uid = stream.peer_cred().ok().map(|c| c.uid());
    let mut held = Vec::new();
    loop {
        let Some(end) = held.iter().position(|b| *b == b'\n') else {
            let mut octets = vec![0; 64 * 1024];
            let Ok(read) = tokio::time::timeout(PATIENCE, stream.read(&mut octets)).await else { return Ok(()) };
            match read? {
                0 => return Ok(()),
                n if held.len() + n > LONGEST => {
                    let error = Answer::<()>::Error(format!("a request has {LONGEST} octets at the most"));
                    return say(&mut stream, &error).await;
                }
                n => held.extend_from_slice(&octets[..n]),
            }
            continue;
        };
        let line: Vec<u8> = held.drain(..=end).collect();
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => answer(hub, uid, request).await,
            Err(e) => json(&Answer::<()>::Error(format!("that is no request: {e}"))),
        };
        stream.write_all(&answer).await?;
    }
}

async fn say<T: Serialize>(stream: &mut UnixStream, answer: &Answer<T>) -> std::io::Result<()> {
    stream.write_all(&json(answer)).await
}

fn json<T: Serialize>(answer: &Answer<T>) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_else(|_| b"{\"error\":\"no answer can be written\"}".to_vec());
    line.push(b'\n');
    line
}

/// One command: carried out, then in the audit log, then answered.
async fn answer(hub: &Arc<Hub>, uid: Option<u32>, request: Request) -> Vec<u8> {
    let (name, answer) = match request {
        Request::Sessions { user } => ("sessions", told(Ok(sessions(hub, user.as_deref())))),
        Request::Routes { users } => ("routes", told(Ok(shown(hub, &users).await))),
        Request::Set { users, to, close, expect_epoch, wait_ms } => {
            let wish = Wish { users: users.into_iter().map(|u| (u, to)).collect(), close, expect: expect_epoch };
            ("set", told(set(hub, uid, wish, Duration::from_millis(wait_ms)).await))
        }
        Request::Kick { users, wait_ms } => ("kick", told(kick(hub, &users, Duration::from_millis(wait_ms)).await)),
        Request::Status {} => ("status", told(Ok(status(hub)))),
        Request::Flush { user } => ("flush", told(flush(hub, user.as_deref()))),
        Request::Drain {} => {
            // Answered when nobody can connect any more, so that whoever asked may stop a server behind it. A process that
            // is further already stays there.
            hub.phase.send_if_modified(|phase| {
                let serving = *phase == Phase::Serving;
                if serving {
                    *phase = Phase::Leaving;
                }
                serving
            });
            let _ = hub.phase.subscribe().wait_for(|phase| *phase >= Phase::Draining).await;
            ("drain", told(Ok(status(hub))))
        }
        Request::Proven {} => ("proven", told(Ok(hub.keeper.list()))),
        Request::Purge { moved, user, older } => ("purge", told(purge(hub, moved, user, older).await)),
    };
    let text = answer.as_ref().err().cloned().unwrap_or_default();
    hub.records.audit(&Event::Command { uid, command: name, done: answer.is_ok(), text: &text });
    if matches!(name, "set" | "kick" | "drain" | "purge") {
        let records = hub.records.clone();
        let _ = tokio::task::spawn_blocking(move || records.sync()).await;
    }
    answer.unwrap_or_else(|text| json(&Answer::<()>::Error(text)))
}

fn told<T: Serialize>(result: Result<T, String>) -> Result<Vec<u8>, String> {
    result.map(|done| json(&Answer::Done(done)))
}

fn sessions(hub: &Hub, user: Option<&str>) -> Vec<SessionLine> {
    let user = user.map(|u| hub.router.name(u));
    let mut out = Vec::new();
    hub.router.routes().each(user.as_deref(), |user, route, handle| {
        let (up, down) = handle.octets();
        out.push(SessionLine {
            session: handle.id,
            side: handle.landed().and(route),
            user: user.to_owned(),
            protocol: handle.protocol,
            client: handle.peer.to_string(),
            local: handle.local.to_string(),
            backend: handle.landed().map(|l| l.backend.to_string()),
            tls: handle.is_encrypted(),
            seconds: handle.began.elapsed().as_secs(),
            up,
            down,
        });
    });
    out.sort_by(|a, b| (&a.user, a.session).cmp(&(&b.user, b.session)));
    out
}

async fn shown(hub: &Hub, users: &[String]) -> Shown {
    let (epoch, default) = hub.router.routes().read(|t| (t.epoch, t.default));
    let mut routes = Vec::new();
    for user in users.iter().map(|u| hub.router.name(u)) {
        let (route, by) = match hub.router.find(&user).await {
            Ok((route, by)) => (Some(route), by.to_owned()),
            Err(denied) => (None, denied.why),
        };
        routes.push(ShownRoute { user, route, by });
    }
    if users.is_empty() {
        hub.router.routes().read(|t| {
            let line = |(user, route): (&String, &Route)| ShownRoute {
                user: user.clone(),
                route: Some(*route),
                by: "table".into(),
            };
            routes.extend(t.users.iter().map(line));
        });
        routes.sort_by(|a, b| a.user.cmp(&b.user));
    }
    Shown { epoch, default, routes }
}

async fn set(hub: &Arc<Hub>, uid: Option<u32>, wish: Wish, wait: Duration) -> Result<Changed, String> {
    let users = wish.users.len();
    let named: BTreeMap<String, Option<Route>> = wish.users.iter().take(NAMED).cloned().collect();
    let router = hub.router.clone();
    let done = tokio::task::spawn_blocking(move || router.set(wish)).await;
    let done = done.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let (epoch, closed) = (done.epoch, done.victims.len());
    let by = uid.map_or_else(|| "control".to_owned(), |uid| format!("uid {uid}"));
    hub.records.audit(&Event::Routes { by: &by, epoch, users, to: &named, closed });
    let remaining = gone(hub, &done.victims, wait).await;
    Ok(Changed { epoch, users, told: closed, remaining })
}

async fn kick(hub: &Arc<Hub>, users: &[String], wait: Duration) -> Result<Changed, String> {
    let victims: Vec<Victim> = users.iter().flat_map(|u| hub.router.routes().kick(&hub.router.name(u))).collect();
    let remaining = gone(hub, &victims, wait).await;
    Ok(Changed { epoch: hub.router.routes().epoch(), users: users.len(), told: victims.len(), remaining })
}

/// Waits until they are gone; how many are left.
async fn gone(hub: &Hub, victims: &[Victim], wait: Duration) -> usize {
    let end = tokio::time::Instant::now() + wait.min(LONGEST_WAIT);
    loop {
        let remaining = hub.router.routes().remaining(victims);
        if remaining == 0 || tokio::time::Instant::now() >= end {
            return remaining;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn status(hub: &Hub) -> Status {
    let count = hub.router.routes().count();
    let of = |route: Option<Route>| count.get(&route).copied().unwrap_or_default();
    let (epoch, default, routes) = hub.router.routes().read(|t| (t.epoch, t.default, t.users.len()));
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        phase: format!("{:?}", *hub.phase.borrow()).to_lowercase(),
        epoch,
        default,
        routes,
        connections: hub.connections(),
        old: of(Some(Route::Old)),
        new: of(Some(Route::New)),
        waiting: of(None),
    }
}

fn flush(hub: &Hub, user: Option<&str>) -> Result<usize, String> {
    match (hub.router.directory(), user) {
        (None, _) => Err("there is no directory".into()),
        (Some(_), Some(user)) => Ok(usize::from(hub.router.flush(&hub.router.name(user)))),
        (Some(directory), None) => {
            let flushed = directory.flush_all();
            hub.router.routes().wake();
            Ok(flushed)
        }
    }
}

async fn purge(
    hub: &Arc<Hub>,
    moved: bool,
    user: Option<String>,
    older: Option<u64>,
) -> Result<super::proof::Purged, String> {
    let mut which = super::proof::Which { user: user.map(|u| hub.router.name(&u)), older, ..Default::default() };
    if !moved && which.user.is_none() && older.is_none() {
        return Err(
            "which passwords? those of moved users, of one user, or those that are older than so many seconds".into()
        );
    }
    if moved {
        which.moved = on_the_new_side(hub).await;
    }
    let theirs = hub.clone();
    let purged = tokio::task::spawn_blocking(move || theirs.keeper.purge(&which)).await;
    purged.map_err(|e| e.to_string())?
}

/// Users with a captured password who are on the new side. Whose route nobody knows is not there.
async fn on_the_new_side(hub: &Hub) -> HashSet<String> {
    let mut moved = HashSet::new();
    for user in hub.keeper.captured() {
        if matches!(hub.router.find(&user).await, Ok((Route::New, _))) {
            moved.insert(user);
        }
    }
    moved
}

/// Destroys captured passwords when their time has come, for as long as the process lives.
pub async fn retention(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(keep) = hub.config.load().passwords.purge else { continue };
        let moved = on_the_new_side(&hub).await;
        let theirs = hub.clone();
        let swept = tokio::task::spawn_blocking(move || theirs.keeper.sweep(moved, keep)).await;
        match swept {
            Ok(Ok(Some(purged))) => {
                let text = format!("{} captured passwords destroyed, {} are left", purged.count, purged.left);
                hub.records.audit(&Event::Command { uid: None, command: "purge", done: true, text: &text });
            }
            Ok(Ok(None)) => {}
            Ok(Err(text)) => hub.records.audit(&Event::Fault { part: "passwords", text: &text }),
            Err(_) => return,
        }
    }
}
