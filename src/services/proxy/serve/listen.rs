//! The sockets that clients connect to, and the threads that serve them.
//!
//! Every thread has a runtime of its own and accepts from the same sockets; a connection stays with the thread that took it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use super::connection;
use super::setup::{Door, Setup, Spot};
use super::wire::Wire;
use crate::services::proxy::hub::Hub;
use crate::services::proxy::meter::Ended;

/// Connections that wait to be accepted; the kernel has a bound of its own (net.core.somaxconn).
const BACKLOG: i32 = 4096;
/// A wait when there are no file descriptors: connections wait in the backlog meanwhile.
const NO_FILES: Duration = Duration::from_millis(50);

/// How long threads have to close their listeners.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// How near the next timer of a thread always is.
const NEAR: Duration = Duration::from_millis(500);

/// An open listener, and what its connections are served by.
struct Open {
    listener: TcpListener,
    door: Arc<ArcSwap<Door>>,
}

enum Order {
    Open(Spot, TcpListener, Arc<ArcSwap<Door>>),
    /// The sender goes when the thread's socket has.
    Close(Spot, Sender<()>),
}

/// All listeners and all threads.
pub(super) struct Listeners {
    open: BTreeMap<Spot, Open>,
    workers: Vec<(UnboundedSender<Order>, JoinHandle<()>)>,
}

/// A socket that somebody else has opened, and its name.
pub type Named = (String, TcpListener);

impl Listeners {
    /// Starts `workers` threads; 0 is one for each core.
    pub(super) fn start(hub: &Arc<Hub>, workers: usize) -> Result<Self, String> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if workers == 0 { cores() } else { workers };
        let start = |n: usize| {
            let (send, receive) = unbounded_channel();
            let hub = hub.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || work(&hub, receive));
            thread.map(|thread| (send, thread)).map_err(|e| format!("the system gives no thread: {e}"))
        };
        let workers = (0..workers).map(start).collect::<Result<_, _>>()?;
        Ok(Self { open: BTreeMap::new(), workers })
    }

    /// Opens what a setup has and is not open yet, and closes what it has not. Nothing changes when one cannot be opened.
    pub(super) fn set(&mut self, setup: &Setup, given: &mut Vec<Named>) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let mut fresh = Vec::new();
        for door in setup.doors.iter().filter(|d| !self.open.contains_key(&d.spot)) {
            match listener(&door.spot, given) {
                Ok(listener) => fresh.push((door.clone(), listener)),
                Err(e) => faults.push(e),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        for (door, listener) in fresh {
            let open = Open { listener, door: Arc::new(ArcSwap::new(door.clone())) };
            for (worker, _) in &self.workers {
                let own = open.listener.try_clone().map_err(|e| vec![format!("listen: {}: {e}", door.spot)])?;
                let _ = worker.send(Order::Open(door.spot.clone(), own, open.door.clone()));
            }
            self.open.insert(door.spot.clone(), open);
        }
        for door in &setup.doors {
            if let Some(open) = self.open.get(&door.spot) {
                open.door.store(door.clone());
            }
        }
        let gone = |spot: &Spot| !setup.doors.iter().any(|d| d.spot == *spot);
        let gone: Vec<Spot> = self.open.keys().filter(|s| gone(s)).cloned().collect();
        drop(self.close(&gone));
        Ok(())
    }

    /// Closes listeners; the receiver ends when every thread has closed its own.
    fn close(&mut self, spots: &[Spot]) -> Receiver<()> {
        let (closing, closed) = channel(1);
        for spot in spots {
            for (worker, _) in &self.workers {
                let _ = worker.send(Order::Close(spot.clone(), closing.clone()));
            }
            self.open.remove(spot);
        }
        closed
    }

    /// Takes no connections any more: whoever connects after this is refused by the system.
    pub(super) async fn close_all(&mut self) {
        let all: Vec<Spot> = self.open.keys().cloned().collect();
        let mut closed = self.close(&all);
        if tokio::time::timeout(CLOSED_WITHIN, closed.recv()).await.is_err() {
            tracing::warn!("a thread is too busy to close its listeners; it still takes connections");
        }
    }

    /// What is open, to be handed to another process.
    pub(super) fn sockets(&self) -> std::io::Result<Vec<(String, OwnedFd)>> {
        self.open.iter().map(|(spot, open)| Ok((spot.label(), open.listener.try_clone()?.into()))).collect()
    }

    /// Where connections are taken.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.values().filter_map(|o| o.listener.local_addr().ok()).collect()
    }

    /// Ends the threads, and the connections that are left.
    pub(super) fn stop(self) {
        for (orders, thread) in self.workers {
            drop(orders);
            let _ = thread.join();
        }
    }
}

/// The socket of a spot: handed over, or opened here.
fn listener(spot: &Spot, given: &mut Vec<Named>) -> Result<TcpListener, String> {
    let label = spot.label();
    let handed = given.iter().position(|(name, listener)| {
        *name == label
            || spot.name.as_ref().is_some_and(|n| n == name)
            || spot.address.is_some_and(|a| a.port() != 0 && listener.local_addr().is_ok_and(|l| l == a))
    });
    let found = match (handed, spot.address) {
        (Some(at), _) => Ok(given.swap_remove(at).1),
        (None, Some(address)) => bound(address),
        (None, None) => return Err(format!("listen: no socket `{label}` was handed over, and there is no address")),
    };
    let ready = found.and_then(|listener| {
        let socket = socket2::SockRef::from(&listener);
        // Connections inherit these.
        socket.set_tcp_nodelay(true)?;
        let alive = TcpKeepalive::new().with_time(Duration::from_secs(300)).with_interval(Duration::from_secs(60));
        socket.set_tcp_keepalive(&alive)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    ready.map_err(|e| format!("listen: {spot} cannot be opened: {e}"))
}

fn bound(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // [::] is all of IPv4 too.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn work(hub: &Arc<Hub>, mut orders: UnboundedReceiver<Order>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tracing::error!("a thread cannot begin: {e}"),
    };
    runtime.block_on(async {
        // A new timer wakes the reactor when it comes before all others: with one that is always near, those of logins do not.
        tokio::spawn(async {
            let mut near = tokio::time::interval(NEAR);
            loop {
                near.tick().await;
            }
        });
        let mut accepting: BTreeMap<Spot, tokio::task::JoinHandle<()>> = BTreeMap::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Open(spot, listener, door) => match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        accepting.insert(spot, tokio::spawn(accept(hub.clone(), listener, door)));
                    }
                    Err(e) => tracing::error!("{spot} is not served by a thread: {e}"),
                },
                Order::Close(spot, closing) => {
                    if let Some(task) = accepting.remove(&spot) {
                        task.abort();
                        let _ = task.await;
                    }
                    drop(closing);
                }
            }
        }
    });
}

async fn accept(hub: Arc<Hub>, listener: tokio::net::TcpListener, door: Arc<ArcSwap<Door>>) {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let door = door.load_full();
                // The lowest number that is free is given: so many are taken.
                let spare = hub.setup.load().spare_files as u64;
                if stream.as_raw_fd() as u64 + spare >= files {
                    hub.meter.ended(Ended::Files);
                    connection::turn_away(&mut Wire::new(stream), &door, "too many connections");
                    continue;
                }
                let open = hub.opened();
                tokio::spawn(connection::serve(hub.clone(), open, door, stream, peer));
            }
            Err(e) => {
                let e = rustix::io::Errno::from_io_error(&e);
                use rustix::io::Errno;
                if matches!(e, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
                    hub.meter.ended(Ended::Files);
                    tokio::time::sleep(NO_FILES).await;
                }
            }
        }
    }
}
