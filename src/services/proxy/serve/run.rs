//! From the first socket to the last session: signals, reload, drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::listen::{Listeners, Named};
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
}

/// Serves until it is told to stop. The error says why it did not begin.
pub fn run(config: Config, given: Given) -> Result<(), Vec<String>> {
    let one = |e: std::io::Error| vec![format!("the system does not let it run: {e}")];
    shield();
    let workers = config.proxy.workers;
    let hub = Hub::begin(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(one)?;
    let mut listeners = Listeners::start(&hub, workers).map_err(|e| vec![e])?;
    let Given { mut sockets, read, notify } = given;
    listeners.set(&hub.setup.load(), &mut sockets)?;
    for (name, _) in &sockets {
        tracing::warn!("a socket `{name}` was handed over and no listener has it");
    }
    drop(sockets);
    for address in listeners.addresses() {
        tracing::info!("listening at {address}");
    }
    let aside = Aside::begin(&hub)?;
    if let Some(address) = aside.metrics {
        tracing::info!("metrics at {address}");
    }
    let result = runtime.block_on(live(&hub, &mut listeners, &*read, &*notify)).map_err(one);
    hub.phase.send_replace(Phase::Over);
    listeners.stop();
    drop(aside);
    result
}

async fn live(
    hub: &Arc<Hub>,
    listeners: &mut Listeners,
    read: &dyn Fn() -> Result<Config, Vec<String>>,
    notify: &dyn Fn(&str),
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut phase = hub.phase.subscribe();
    notify("READY=1");
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify("RELOADING=1");
                match reload(hub, listeners, read) {
                    Ok(()) => tracing::info!("the configuration was read anew"),
                    Err(faults) => faults.iter().for_each(|f| tracing::error!("the configuration stays as it was: {f}")),
                }
                notify("READY=1");
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow() != Phase::Serving {
                    break;
                }
            }
        }
    }
    notify("STOPPING=1");
    hub.phase.send_replace(Phase::Draining);
    listeners.close_all();
    let end = tokio::time::Instant::now() + hub.config.load().proxy.drain;
    tracing::info!("no connections are taken any more; {} go on", hub.connections());
    while hub.connections() > 0 && tokio::time::Instant::now() < end {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            // Asked twice, it hurries.
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    hub.phase.send_replace(Phase::Closing);
    hub.router.routes().each(None, |_, _, session| session.close());
    let end = tokio::time::Instant::now() + CLOSING;
    while hub.connections() > 0 && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn reload(
    hub: &Arc<Hub>,
    listeners: &mut Listeners,
    read: &dyn Fn() -> Result<Config, Vec<String>>,
) -> Result<(), Vec<String>> {
    let config = read()?;
    // Listeners first: they are what fails for reasons that no reading shows.
    listeners.set(&super::setup::Setup::of(&config)?, &mut Vec::new())?;
    hub.reload(config)?;
    listeners.set(&hub.setup.load(), &mut Vec::new())
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
