//! Hosts in memory, faithful in what matters to execution: compare and swap, completion marks, leases, the ledger, kept former
//! states, the dead man's switch, a script that goes on after its controller died. They can be killed, cut, rebooted and
//! meddled with between any two micro-actions.
//!
//! Not a model of packages or files: a resource is a set of attributes.

mod agent;
mod host;
mod machine;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use host::{Host, Mark};
use machine::Script;

use crate::model::HostName;
use crate::model::attr::Attrs;

/// What happens instead of, or right before, a micro-action.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// `kill -9` of the controller; scripts go on, see [`World::ghost`].
    KillController,
    /// `kill -9` of the controller and of the script where it stands.
    KillBoth,
    /// `kill -9` of the script only.
    KillScript,
    /// The line breaks; the script goes on for a while. The host cannot be reached for some seconds.
    CutLine { seconds: i64 },
    /// The machine stops where it stands and is back after some seconds.
    Reboot { seconds: i64 },
    /// Somebody else changes (or removes) a resource. Waits until no step of ours is between its check and its mark there.
    Foreign { host: HostName, local: String, attrs: Option<Attrs> },
    /// The change of the step at hand fails and leaves nothing.
    FailStep,
}

/// All hosts, and the faults to come.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub hosts: BTreeMap<HostName, Host>,
    /// Fault by tick. Each micro-action and each call takes one tick.
    pub faults: BTreeMap<u64, Fault>,
    /// Ticks so far.
    pub ticks: u64,
    /// Micro-actions that an orphaned script still takes by itself; it always completes the step at hand when somebody waits for it.
    pub ghost: u32,
    /// Writes over a state that the step had not pinned. Always 0 unless compare and swap is broken.
    pub stale_writes: u32,
    /// Steps that worked at the same time on one host, or with an old token after a newer one had worked. Always 0.
    pub intrusions: u32,
    /// Scripts that were sent.
    pub batches: u32,
    /// What each tick was, when asked for.
    pub trace: Option<Vec<String>>,
    waiting: Vec<Fault>,
    fail_next: bool,
}

impl World {
    pub fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.entry(name.into()).or_default()
    }

    /// The controller is started anew: it can hear and speak again, with these faults before it.
    pub fn restart(&mut self, faults: BTreeMap<u64, Fault>) {
        self.faults = faults;
        self.ticks = 0;
        self.fail_next = false;
        for host in self.hosts.values_mut() {
            if let Some(script) = &mut host.script {
                script.orphan = true;
            }
        }
    }

    /// What a user would call the state of the hosts: resources, ledger, asked-for reloads, how often commands ran.
    pub fn state(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        for (name, host) in &self.hosts {
            for (local, attrs) in &host.resources {
                let _ = writeln!(out, "{name} {local} {}", host::fingerprint(Some(attrs)));
            }
            for (local, owned) in &host.owned {
                let _ = writeln!(out, "{name} owns {local} for {}", owned.owner);
            }
            for (service, how) in &host.pending {
                let _ = writeln!(out, "{name} pending {service} {how:?}");
            }
            for (command, runs) in &host.runs {
                let _ = writeln!(out, "{name} ran {command} {runs} times");
            }
            if let Some(armed) = &host.armed {
                let _ = writeln!(out, "{name} armed for {}", armed.apply);
            }
        }
        out
    }
}

/// An [`super::agent::Agent`] over a [`World`]. Clones share it.
#[derive(Clone)]
pub struct ScriptedHosts {
    world: Arc<Mutex<World>>,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The controller is dead: nobody listens any more.
    dead: Arc<AtomicBool>,
}

impl std::fmt::Debug for ScriptedHosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedHosts")
    }
}

impl ScriptedHosts {
    /// `now` gives Unix milliseconds, the same for all hosts. `dead` is set when the controller is killed, and heeded.
    pub fn new(world: World, now: impl Fn() -> i64 + Send + Sync + 'static, dead: Arc<AtomicBool>) -> Self {
        Self { world: Arc::new(Mutex::new(world)), now: Arc::new(now), dead }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
