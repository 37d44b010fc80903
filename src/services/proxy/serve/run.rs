//! From the first socket to the last session: signals, reload, drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::handover::{self, Heir};
use super::listen::{Listeners, Named};
use super::setup::Setup;
use crate::services::proxy::aside::Aside;
use crate::services::proxy::config::Config;
use crate::services::proxy::hub::{Hub, Phase};
use crate::services::proxy::route::Session as _;

/// How long sessions have to end once they were asked to.
const CLOSING: Duration = Duration::from_millis(250);

/// What a process is given by whoever starts it.
pub struct Given {
    /// Sockets that somebody else has opened.
    pub sockets: Vec<Named>,
    /// Reads the configuration anew.
    pub read: Box<dyn Fn() -> Result<Config, Vec<String>>>,
    /// Tells the service manager (sd_notify(3)); does nothing where there is none.
    pub notify: Box<dyn Fn(&str)>,
    /// Called when connections are taken.
    pub ready: Box<dyn FnOnce()>,
    /// Starts the process that takes over when SIGUSR2 asks for it.
    pub heir: Box<Heir>,
}

/// The metrics' socket among those that are handed over.
const METRICS: &str = "metrics";

/// Serves until it is told to stop. The error says why it did not begin.
pub fn run(config: Config, given: Given) -> Result<(), Vec<String>> {
    let one = |e: std::io::Error| vec![format!("the system does not let it run: {e}")];
    shield();
    let workers = config.proxy.workers;
    let hub = Hub::begin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(one)?;
    let mut listeners = Listeners::start(&hub, workers).map_err(|e| vec![e])?;
    let Given { mut sockets, read, notify, ready, heir } = given;
    let metrics = sockets.iter().position(|(name, _)| name == METRICS).map(|at| sockets.swap_remove(at).1);
    listeners.set(&hub.setup.load(), &mut sockets)?;
    for (name, _) in &sockets {
        tracing::warn!("a socket `{name}` was handed over and no listener has it");
    }
    drop(sockets);
    for address in listeners.addresses() {
        tracing::info!("listening at {address}");
    }
    let mut aside = Aside::begin(&hub, metrics)?;
    if let Some(address) = aside.metrics {
        tracing::info!("metrics at {address}");
    }
    ready();
    let mut running = Running { hub: &hub, listeners: &mut listeners, aside: &mut aside, read, notify, heir };
    let result = runtime.block_on(running.live()).map_err(one);
    hub.phase.send_replace(Phase::Over);
    listeners.stop();
    drop(aside);
    result
}

/// A process that serves.
struct Running<'a> {
    hub: &'a Arc<Hub>,
    listeners: &'a mut Listeners,
    aside: &'a mut Aside,
    read: Box<dyn Fn() -> Result<Config, Vec<String>>>,
    notify: Box<dyn Fn(&str)>,
    heir: Box<Heir>,
}

impl Running<'_> {
    async fn live(&mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut upgrade = signal(SignalKind::user_defined2())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut phase = self.hub.phase.subscribe();
        (self.notify)("READY=1");
        let mut relieved = false;
        while !relieved {
            tokio::select! {
                _ = hangup.recv() => {
                    (self.notify)("RELOADING=1");
                    match self.reload() {
                        Ok(()) => tracing::info!("the configuration was read anew"),
                        Err(faults) => {
                            faults.iter().for_each(|f| tracing::error!("the configuration stays as it was: {f}"));
                        }
                    }
                    (self.notify)("READY=1");
                }
                _ = upgrade.recv() => match self.hand_over() {
                    Ok(pid) => {
                        tracing::info!("process {pid} has taken over");
                        relieved = true;
                    }
                    Err(e) => tracing::error!("no upgrade, this process goes on: {e}"),
                },
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                changed = phase.changed() => {
                    if changed.is_err() || *phase.borrow() != Phase::Serving {
                        break;
                    }
                }
            }
        }
        if !relieved {
            (self.notify)("STOPPING=1");
        }
        self.hub.phase.send_replace(Phase::Leaving);
        self.listeners.close_all().await;
        self.hub.phase.send_replace(Phase::Draining);
        tracing::info!("no connections are taken any more; {} go on", self.hub.connections());
        // Relieved by another process there is no hurry: sessions end when their clients end them.
        let drain = tokio::time::Instant::now() + self.hub.config.load().proxy.drain;
        // Whoever asked for it hears so.
        let least = tokio::time::Instant::now() + CLOSING;
        let early = || tokio::time::Instant::now() < least;
        while early() || self.hub.connections() > 0 && (relieved || tokio::time::Instant::now() < drain) {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                // Asked again, it hurries.
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        self.hub.phase.send_replace(Phase::Closing);
        self.hub.router.routes().each(None, |_, _, session| session.close());
        let end = tokio::time::Instant::now() + CLOSING;
        while self.hub.connections() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), Vec<String>> {
        let config = (self.read)()?;
        // Listeners first: they are what fails for reasons that no reading shows.
        self.listeners.set(&Setup::of(&config)?, &mut Vec::new())?;
        let changed = self.hub.reload(config);
        // As the configuration in force has it, whichever that is now.
        self.listeners.set(&self.hub.setup.load(), &mut Vec::new()).and(changed)
    }

    /// Starts the next process and gives it the sockets; this one goes on when that fails.
    fn hand_over(&mut self) -> Result<u32, String> {
        // What the next process would stumble over is found here first.
        (self.read)().map_err(|faults| faults.join("; "))?;
        let mut sockets = self.listeners.sockets().map_err(|e| e.to_string())?;
        if let Some(metrics) = &self.aside.listener {
            sockets.push((METRICS.to_owned(), metrics.try_clone().map_err(|e| e.to_string())?));
        }
        let pid = handover::give(&sockets, &*self.heir)?;
        (self.notify)(&format!("MAINPID={pid}"));
        if let Err(e) = self.hub.router.hand_over() {
            tracing::error!("the routes cannot be left to process {pid}: {e}");
        }
        Ok(pid)
    }
}

/// No memory of this process is written to a disk or read by another one: passwords pass through it. And as many connections as
/// the system allows.
fn shield() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(e) = setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
    {
        tracing::warn!("core dumps cannot be turned off: {e}");
    }
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    }
}
