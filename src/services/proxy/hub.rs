//! What all connections of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::config::Config;
use super::limits::Limits;
use super::meter::Meter;
use super::proof::Keeper;
use super::record::Records;
use super::router::Router;
use super::serve::setup::Setup;
use super::serve::tls::{Certificates, Set};
use super::trigger::Trigger;

/// Where a process stands between its first and its last connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Told to go; its listeners are about to close.
    Leaving,
    /// Takes no connections; those that are there go on.
    Draining,
    /// Sessions are asked to end.
    Closing,
    Over,
}

pub struct Hub {
    pub config: ArcSwap<Config>,
    pub router: Arc<Router>,
    pub limits: Arc<Limits>,
    pub meter: Arc<Meter>,
    pub records: Arc<Records>,
    pub keeper: Keeper,
    pub trigger: Trigger,
    pub certificates: Certificates,
    pub phase: watch::Sender<Phase>,
    pub(super) setup: ArcSwap<Setup>,
    connections: AtomicUsize,
}

impl Hub {
    /// Opens all that the configuration names, but no listener.
    pub fn begin(config: Config) -> Result<Arc<Self>, Vec<String>> {
        let mut faults = Vec::new();
        let meter = Arc::new(Meter::default());
        let certificates = kept(Certificates::open(&config.certificates), &mut faults);
        let setup = kept(Setup::of(&config), &mut faults);
        let router = kept(Router::begin(&config, meter.clone()), &mut faults);
        let records = kept(Records::begin(&config.log, meter.clone()).map_err(|e| vec![e]), &mut faults);
        let keeper = kept(
            Keeper::begin(&config.passwords, &config.proxy.state, meter.clone()).map_err(|e| vec![e]),
            &mut faults,
        );
        let trigger = kept(Trigger::begin(config.cms.as_ref(), meter.clone()).map_err(|e| vec![e]), &mut faults);
        let (Some(certificates), Some(setup), Some(router), Some(records), Some(keeper), Some(trigger)) =
            (certificates, setup, router, records, keeper, trigger)
        else {
            return Err(faults);
        };
        meter.certificates(certificates.expiry());
        Ok(Arc::new(Self {
            limits: Limits::new(config.limits.clone()),
            config: ArcSwap::from_pointee(config),
            router,
            meter,
            records,
            keeper,
            trigger,
            certificates,
            phase: watch::Sender::new(Phase::Serving),
            setup: ArcSwap::from_pointee(setup),
            connections: AtomicUsize::new(0),
        }))
    }

    /// Another configuration from now on, or the one in force when anything of the new one is wrong. Connections that stand
    /// keep what they began with.
    pub fn reload(&self, config: Config) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let set = kept(Set::open(&config.certificates), &mut faults);
        let setup = kept(Setup::of(&config), &mut faults);
        let (Some(set), Some(setup)) = (set, setup) else { return Err(faults) };
        self.router.reload(&config)?;
        self.limits.reload(config.limits.clone());
        self.certificates.replace(set);
        self.meter.certificates(self.certificates.expiry());
        self.records.reopen();
        self.setup.store(Arc::new(setup));
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Connections of clients that are open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }
}

/// A connection that counts until it is dropped.
pub(super) struct Open(Arc<Hub>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn kept<T>(result: Result<T, Vec<String>>, faults: &mut Vec<String>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}
