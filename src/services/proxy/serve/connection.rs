//! A connection of a client, from its first octet to its last.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use zeroize::Zeroizing;

use super::header::{self, Header};
use super::relay::{self, Guarded, Relay};
use super::secure::Secure;
use super::servers::{Caller, Failed, Reached};
use super::setup::{Door, Setup};
use super::wire::{Lost, Wire};
use crate::services::proxy::config::Tls;
use crate::services::proxy::handle::{Handle, Landed};
use crate::services::proxy::hub::{Hub, Open};
use crate::services::proxy::limits::Place;
use crate::services::proxy::meter::{Ended, Outcome, Running};
use crate::services::proxy::record::{self, Event};
use crate::services::proxy::route::{Route, Ticket};
use crate::services::proxy::router::{Denied, mailbox};
use crate::services::proxy::session::{Ask, Front, Guard, Login, Protocol, Refusal};

/// How long a client that is sent away may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a login goes back to the routes because they changed under it.
const AGAIN: usize = 5;

/// A session that is passed through, and what it holds until it ends.
struct Passing {
    relay: Relay,
    handle: Arc<Handle>,
    _ticket: Ticket<Handle>,
    _places: [Place; 2],
    _running: Running,
}

pub(super) async fn serve(hub: Arc<Hub>, open: Open, door: Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    // What the login needs is given back before its session begins.
    let Some(mut passing) = Box::pin(log_in(&hub, &door, stream, peer)).await else { return };
    let ended = (&mut passing.relay).await;
    let handle = &passing.handle;
    let why = match &ended {
        relay::Ended::Done => "done",
        relay::Ended::Idle => "idle",
        relay::Ended::Closed => "closed",
        relay::Ended::Guarded(why) => why.as_str(),
        relay::Ended::Broken(e) => {
            tracing::debug!("session {}: {e}", handle.id);
            "lost"
        }
    };
    let (up, down) = handle.octets();
    hub.meter.octets(handle.protocol, up, down);
    record(&hub, handle, why);
    drop((passing, open));
}

fn record(hub: &Hub, handle: &Handle, why: &str) {
    let (up, down) = handle.octets();
    let landed = handle.landed();
    hub.records.access(&record::Ended {
        session: handle.id,
        protocol: handle.protocol,
        client: handle.peer,
        local: handle.local,
        user: landed.map(|l| &*l.user),
        side: landed.map(|l| l.route),
        backend: landed.map(|l| l.backend),
        tls: handle.is_encrypted(),
        seconds: (handle.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        up,
        down,
        why,
    });
}

/// A connection before its login is through.
struct Before<'a> {
    hub: &'a Arc<Hub>,
    setup: Arc<Setup>,
    door: &'a Door,
    wire: Wire,
    front: Front,
    handle: Arc<Handle>,
    refused: u32,
}

/// Why there is no session.
enum Sent {
    /// The client ended it, or lost it.
    Lost(Lost),
    /// We did; what was said is on its way.
    Away(Ended, String),
}

impl From<Lost> for Sent {
    fn from(lost: Lost) -> Self {
        Sent::Lost(lost)
    }
}

async fn log_in(hub: &Arc<Hub>, door: &Door, stream: TcpStream, peer: SocketAddr) -> Option<Passing> {
    let setup = hub.setup.load_full();
    hub.meter.connected(door.protocol);
    let local = door.local.map_or_else(|| stream.local_addr().ok(), Some)?;
    let until = tokio::time::sleep(setup.login_timeout);
    tokio::pin!(until);
    let mut wire = Wire::new(stream);
    let (mut peer, mut local, mut early) = (peer, local, Vec::new());
    if door.trusts(peer) {
        match named(&mut wire, until.as_mut()).await {
            Ok((told, rest)) => {
                early = rest;
                (peer, local) = told.unwrap_or((peer, local));
            }
            Err(()) => {
                hub.meter.ended(Ended::Header);
                return None;
            }
        }
    }
    let handle = Arc::new(Handle::new(door.protocol, peer, local));
    let place = match hub.limits.connection(peer.ip()) {
        Ok(place) => place,
        Err(denied) => {
            hub.meter.ended(Ended::Limit);
            turn_away(&mut wire, door, "too many connections");
            record(hub, &handle, &denied.why);
            return None;
        }
    };
    let front = Front::new(door.protocol, door.front.clone());
    let mut before = Before { hub, setup, door, wire, front, handle, refused: 0 };
    match before.run(&early, until.as_mut()).await {
        Ok((reached, ticket, route, user_place)) => Some(before.pass(reached, ticket, route, [place, user_place])),
        Err(sent) => {
            before.gone(sent).await;
            None
        }
    }
}

/// Reads a PROXY header: whom it names, and what stands behind it.
async fn named(wire: &mut Wire, mut until: Pin<&mut Sleep>) -> Result<(Option<(SocketAddr, SocketAddr)>, Vec<u8>), ()> {
    let mut octets = Vec::new();
    loop {
        match header::read(&octets) {
            Header::Found(told, used) => return Ok((told, octets.split_off(used))),
            Header::Wrong => return Err(()),
            Header::More => {}
        }
        let room = header::MOST - octets.len();
        wire.read(room, until.as_mut(), |more| octets.extend_from_slice(more)).await.map_err(|_| ())?;
    }
}

/// A word for a client that is not served, where it can read one.
pub(super) fn turn_away(wire: &mut Wire, door: &Door, why: &str) {
    if door.tls != Tls::Implicit {
        let line = match door.protocol {
            Protocol::Imap => format!("* BYE [UNAVAILABLE] {why}\r\n"),
            Protocol::Pop3 => format!("-ERR [SYS/TEMP] {why}\r\n"),
            Protocol::Submission => format!("421 4.7.0 {why}\r\n"),
        };
        let _ = wire.say(line.as_bytes());
    }
}

type Through = (Reached, Ticket<Handle>, Route, Place);

impl Before<'_> {
    /// Until a server has taken the login.
    async fn run(&mut self, early: &[u8], mut until: Pin<&mut Sleep>) -> Result<Through, Sent> {
        let mut early = early;
        if self.door.tls == Tls::Implicit {
            self.secure(early, until.as_mut()).await?;
            early = &[];
        }
        self.front.push(early);
        let greeting = self.front.greeting();
        self.wire.say(&greeting)?;
        let mut first = self.door.tls != Tls::Implicit && early.is_empty();
        loop {
            match self.front.ask() {
                Ask::Wait => {
                    // What the client does not read stays bounded.
                    self.wire.flush(until.as_mut()).await?;
                    let room = self.front.room();
                    let (front, mut header) = (&mut self.front, false);
                    let take = |octets: &[u8]| {
                        header = first && header::begins(octets);
                        front.push(octets);
                    };
                    self.wire.read(room, until.as_mut(), take).await?;
                    if header {
                        return Err(Sent::Away(
                            Ended::Header,
                            "a PROXY header of somebody who may not send one".into(),
                        ));
                    }
                    first = false;
                }
                Ask::Say(octets) => self.wire.say(&octets)?,
                Ask::StartTls(octets) => {
                    self.wire.say(&octets)?;
                    self.secure(&[], until.as_mut()).await?;
                    self.front.secured();
                }
                Ask::Close { say, why } => {
                    self.wire.say(&say)?;
                    return Err(Sent::Away(Ended::Protocol, why));
                }
                Ask::Login(login) => {
                    if let Some(through) = self.login(*login).await? {
                        return Ok(through);
                    }
                }
            }
        }
    }

    async fn secure(&mut self, early: &[u8], until: Pin<&mut Sleep>) -> Result<(), Sent> {
        let config = self.hub.certificates.server(self.door.protocol);
        let tls = config.ok_or_else(|| "no configuration".to_owned());
        let tls = tls.and_then(|config| Secure::server(config).map_err(|e| e.to_string()));
        let tls = tls.map_err(|e| Lost::Tls(std::io::Error::other(e)))?;
        self.wire.secure(tls, early, until).await?;
        self.handle.encrypt();
        Ok(())
    }

    /// One login: the session, or nothing when the client may try again.
    async fn login(&mut self, login: Login) -> Result<Option<Through>, Sent> {
        let typed = mailbox(&login.credentials).to_owned();
        for _ in 0..AGAIN {
            let entry = {
                let (router, handle) = (self.hub.router.clone(), self.handle.clone());
                let enter = router.enter(&typed, &handle);
                tokio::select! {
                    biased;
                    entry = enter => entry,
                    () = left(&self.wire, &self.front) => return Err(Sent::Lost(Lost::Gone(
                        std::io::Error::from(std::io::ErrorKind::UnexpectedEof),
                    ))),
                }
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(denied) => return self.deny(&typed, None, denied, None).await.map(|()| None),
            };
            let place = match self.hub.limits.user(&entry.user) {
                Ok(place) => place,
                Err(denied) => return self.deny(&typed, Some(entry.route), denied, None).await.map(|()| None),
            };
            let Some(servers) = self.setup.servers(entry.route, self.door.protocol).cloned() else {
                let why = format!("the {} side has no {}", entry.route.as_str(), self.door.protocol.as_str());
                let denied = Denied { refusal: Refusal::Later, why };
                return self.deny(&typed, Some(entry.route), denied, None).await.map(|()| None);
            };
            let told = Login {
                credentials: entry.credentials(login.credentials.clone()),
                tag: login.tag.clone(),
                client_said: login.client_said.clone(),
            };
            let caller = Caller { protocol: self.door.protocol, peer: self.handle.peer, local: self.handle.local };
            let reached = match servers.reach(&caller, &told, self.setup.backend_timeout).await {
                Ok(reached) => reached,
                Err(Failed { refusal, said, why, broken }) => {
                    if broken {
                        self.hub.meter.backend_failed(self.door.protocol, entry.route);
                        tracing::warn!("the {} side: {why}", entry.route.as_str());
                    }
                    let denied = Denied { refusal, why };
                    return self.deny(&typed, Some(entry.route), denied, said).await.map(|()| None);
                }
            };
            // The routes changed meanwhile: the login belongs elsewhere now, and the client need not know.
            if !entry.ticket.settle() {
                let handle = Handle::new(self.door.protocol, self.handle.peer, self.handle.local);
                if self.handle.is_encrypted() {
                    handle.encrypt();
                }
                self.handle = Arc::new(handle);
                continue;
            }
            let landed = Landed { user: entry.user.as_str().into(), route: entry.route, backend: reached.address };
            self.handle.land(landed);
            self.hub.limits.proven(self.handle.peer.ip());
            self.hub.keeper.proven(&entry.user, entry.route, &login.credentials);
            if entry.route == Route::Old {
                self.hub.trigger.login(&entry.user);
            }
            self.hub.meter.login(self.door.protocol, Some(entry.route), Outcome::In);
            self.hub.records.audit(&Event::Login {
                session: self.handle.id,
                protocol: self.door.protocol,
                client: self.handle.peer,
                user: &entry.user,
                side: entry.route,
                backend: reached.address,
            });
            return Ok(Some((reached, entry.ticket, entry.route, place)));
        }
        let denied = Denied { refusal: Refusal::Later, why: "the routes do not come to rest".into() };
        self.deny(&typed, None, denied, None).await.map(|()| None)
    }

    /// Tells a refusal, after the wait that its address has earned.
    async fn deny(
        &mut self,
        typed: &str,
        side: Option<Route>,
        denied: Denied,
        said: Option<Vec<u8>>,
    ) -> Result<(), Sent> {
        let Denied { refusal, why } = denied;
        self.hub.meter.login(self.door.protocol, side, Outcome::Refused(refusal));
        self.hub.records.audit(&Event::Refused {
            session: self.handle.id,
            protocol: self.door.protocol,
            client: self.handle.peer,
            typed,
            user: None,
            side,
            refusal: refusal.as_str(),
            why: &why,
        });
        if refusal == Refusal::Wrong {
            let wait = self.hub.limits.failed(self.handle.peer.ip());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = left(&self.wire, &self.front) => {}
            }
        }
        let answer = self.front.refused(refusal, said.as_deref());
        self.wire.say(&answer)?;
        self.refused += 1;
        if self.refused >= self.door.front.patience.max(1) {
            return Err(Sent::Away(Ended::Protocol, "too many refused logins".into()));
        }
        Ok(())
    }

    /// From the machines to the relay.
    fn pass(self, reached: Reached, ticket: Ticket<Handle>, route: Route, places: [Place; 2]) -> Passing {
        let Before { hub, setup, door, wire, mut front, handle, .. } = self;
        let (mut client, inbox) = wire.into_parts();
        let (mut server, from_server) = reached.wire.into_parts();
        let mut guarded = (door.protocol == Protocol::Submission)
            .then(|| Box::new(Guarded { guard: Guard::new(reached.chunking), held: Vec::new() }));
        // What fails here fails again in the relay, which says so.
        let _ = client.tell(&reached.answer);
        for octets in [&reached.rest, &from_server] {
            if !octets.is_empty() {
                if let Some(guarded) = &mut guarded {
                    guarded.guard.server(octets);
                }
                let _ = client.tell(octets);
            }
        }
        let early: Zeroizing<Vec<u8>> = Zeroizing::new([front.rest().as_slice(), &inbox].concat());
        match &mut guarded {
            Some(guarded) => guarded.held = early.to_vec(),
            None if early.is_empty() => {}
            None => drop(server.tell(&early)),
        }
        let running = hub.meter.session(door.protocol, route);
        let relay = Relay::new(client, server, handle.clone(), guarded, setup.idle_timeout);
        Passing { relay, handle, _ticket: ticket, _places: places, _running: running }
    }

    /// The end of a connection that came to nothing.
    async fn gone(mut self, sent: Sent) {
        let why = match sent {
            Sent::Lost(Lost::Late) => {
                self.hub.meter.ended(Ended::Timeout);
                turn_away(&mut self.wire, self.door, "no login in time");
                "no login in time".to_owned()
            }
            Sent::Lost(lost) => {
                if matches!(lost, Lost::Tls(_)) {
                    self.hub.meter.ended(Ended::Tls);
                }
                lost.to_string()
            }
            Sent::Away(ended, why) => {
                self.hub.meter.ended(ended);
                why
            }
        };
        record(self.hub, &self.handle, &why);
        let _ = self.wire.end.farewell();
        let until = tokio::time::sleep(FAREWELL);
        tokio::pin!(until);
        if self.wire.flush(until.as_mut()).await.is_ok() && self.wire.end.shut().is_ok() {
            // A socket that is closed with octets unread takes back what it has sent.
            let mut left = 64 * 1024usize;
            while left > 0 {
                let mut n = 0;
                if self.wire.read(left.min(4096), until.as_mut(), |octets| n = octets.len()).await.is_err() {
                    break;
                }
                left = left.saturating_sub(n.max(1));
            }
        }
    }
}

/// Ready when the client has gone for good: its side is over, and nothing that it has sent waits for an answer.
async fn left(wire: &Wire, front: &Front) {
    loop {
        match wire.end.stream.ready(Interest::READABLE).await {
            Ok(ready)
                if ready.is_read_closed() && (!wire.end.is_plain() || wire.end.is_spent() && front.is_spent()) =>
            {
                return;
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(250)).await,
            Err(_) => return,
        }
    }
}
