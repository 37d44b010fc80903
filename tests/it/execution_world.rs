//! A controller with a manual clock, a memory journal and scripted hosts: everything of an apply but the wires.

use std::collections::BTreeMap;
use std::time::Duration;

use cutover::execution::{self, ApplyError, Clock as _, Identity, ManualClock, Report, Run, Settings, Wanted};
use cutover::journal::memory::MemoryDisk;
use cutover::journal::{Holder, Journal};
use cutover::model::event::Event;
use cutover::model::observed::Observed;
use cutover::model::plan::Plan;
use cutover::model::site::Site;
use cutover::planning::{PlanInput, PlanOptions, plan};
use cutover::providers::scripted::{Fault, ScriptedHosts, World};
use cutover::secret::Resolver;
use tokio::sync::{mpsc, watch};

pub const START: i64 = 1_795_000_000_000;

/// One operator's machine and the hosts that it reaches.
pub struct Bench {
    pub clock: ManualClock,
    pub hosts: ScriptedHosts,
    pub disk: MemoryDisk,
    pub site: Site,
    pub settings: Settings,
    pub identity: Identity,
    pub events: Vec<Event>,
    pub wanted: watch::Sender<Wanted>,
    resolver: Resolver,
}

pub fn holder(pid: u32) -> Holder {
    Holder { user: "kim".into(), machine: "desk".into(), pid, boot: "b".into(), since: START, apply: "a".into() }
}

impl Bench {
    pub fn new(site: Site, world: World) -> Self {
        let clock = ManualClock::at(START);
        let disk = MemoryDisk::default();
        let time = clock.clone();
        Self {
            hosts: ScriptedHosts::new(world, move || time.now(), disk.dead()),
            clock,
            disk,
            site,
            settings: Settings::new("key"),
            identity: Identity { holder: holder(1), dead: None },
            events: Vec::new(),
            wanted: watch::channel(Wanted::Run).0,
            resolver: Resolver::fixed([("env:PASSWORD", "(secret env:PASSWORD)")]),
        }
    }

    /// Another operator's machine on the same hosts, with a clock and a journal of its own. The clock is shared, time is one.
    pub fn observe(&self) -> Observed {
        let ask = execution::observe_all(&self.hosts, &self.site, None, "key", 32, |_, _| {});
        self.clock.run(ask, || false).expect("observation")
    }

    pub fn plan(&self) -> Plan {
        let observed = self.observe();
        assert_eq!(observed.failed, [], "all hosts answer");
        let options = PlanOptions::default();
        plan(&PlanInput { site: &self.site, observed: &observed, options: &options, key_id: "k" }).expect("plan")
    }

    pub fn journal(&self) -> Journal {
        Journal::in_memory(&self.disk).expect("the journal opens").0
    }

    fn run<'a>(
        &'a self,
        journal: &'a Journal,
    ) -> (Run<'a, ScriptedHosts, Resolver, ManualClock>, mpsc::UnboundedReceiver<Event>) {
        let (events, heard) = mpsc::unbounded_channel();
        let run = Run {
            agent: &self.hosts,
            resolve: &self.resolver,
            clock: &self.clock,
            journal,
            settings: &self.settings,
            events,
            wanted: self.wanted.subscribe(),
        };
        (run, heard)
    }

    fn dead(&self) -> impl Fn() -> bool + use<> {
        let dead = self.disk.dead();
        let (clock, limit) = (self.clock.clone(), self.clock.now() + 3_600_000);
        move || {
            assert!(clock.now() < limit, "an hour has passed: it hangs");
            dead.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    /// `None`: the controller was killed on the way.
    pub fn try_apply(&mut self, plan: &Plan, apply: &str) -> Option<Result<Report, ApplyError>> {
        let journal = self.journal();
        let (result, events) = {
            let (run, mut heard) = self.run(&journal);
            let future = execution::apply(run, plan, apply, &self.identity, None);
            let result = self.clock.run(future, self.dead());
            (result, std::iter::from_fn(move || heard.try_recv().ok()).collect::<Vec<_>>())
        };
        self.events.extend(events);
        result.filter(|_| !self.dead()())
    }

    pub fn apply(&mut self, plan: &Plan, apply: &str) -> Report {
        self.try_apply(plan, apply).expect("not killed").expect("applies")
    }

    pub fn try_resume(&mut self, apply: &str) -> Option<Result<Report, ApplyError>> {
        let journal = self.journal();
        let (result, events) = {
            let (run, mut heard) = self.run(&journal);
            let future = execution::resume(run, apply, &self.identity);
            let result = self.clock.run(future, self.dead());
            (result, std::iter::from_fn(move || heard.try_recv().ok()).collect::<Vec<_>>())
        };
        self.events.extend(events);
        result.filter(|_| !self.dead()())
    }

    pub fn resume(&mut self, apply: &str) -> Report {
        self.try_resume(apply).expect("not killed").expect("resumes")
    }

    /// The controller starts anew, on the same machine (the dead holder is known) or on another one.
    pub fn restart(&mut self, after: Duration, same_machine: bool, faults: BTreeMap<u64, Fault>) {
        self.clock.advance(after);
        self.disk.revive();
        self.hosts.world().restart(faults);
        let former = self.identity.holder.clone();
        self.identity = Identity { holder: holder(former.pid + 1), dead: same_machine.then_some(former) };
    }

    pub fn state(&self) -> String {
        self.hosts.world().state()
    }
}
