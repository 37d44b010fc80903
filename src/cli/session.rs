//! A sealed topology with its hosts within reach: what every command needs that asks or changes hosts.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::alerts::Alerts;
use super::context::Context;
use super::failure::Failure;
use super::moving::{self, Crews, Service};
use super::near::Near;
use super::output::Output;
use super::project::Project;
use super::rotation::Course;
use super::routes::{self, Reached};
use super::secrets::{self, ForConnections};
use super::served::Servers;
use super::triggers::{Eyes, Probes};
use super::{guard, lab_spec, passwords, phase, retire, roster, runtime};
use crate::execution::{self, Clock as _, SystemClock, Wanted};
use crate::journal::{Journal, StateDir};
use crate::model::HostName;
use crate::model::host::{HostAccess, HostError, Reach};
use crate::model::observed::{Observation, Observed};
use crate::model::plan::{Plan, PlanNote};
use crate::model::site::Site;
use crate::planning::{self, PlanInput, PlanOptions};
use crate::providers::{self, Agents, ShellAgent};
use crate::secret::{self, Resolver, StateKey};
use crate::transport::{Network, Settings};

/// How hosts are asked and changed.
pub type Hosts = Agents<Network>;

pub struct Session {
    pub project: Project,
    pub resolver: Arc<Resolver>,
    pub key: StateKey,
    pub agent: Arc<Hosts>,
    pub state: StateDir,
    pub parallel: usize,
    pub near: Arc<Near>,
    crews: Arc<Crews<Reached, Service>>,
    out: Arc<Output>,
    runtime: tokio::runtime::Runtime,
}

/// Which part of the topology is meant, and whether it shall go.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub targets: Vec<String>,
    pub phase: Option<String>,
    pub destroy: bool,
    /// The stages of this cutover window.
    pub window: Option<String>,
    pub short_lead: bool,
    /// Limits that the plan may exceed.
    pub exceed: Vec<String>,
}

/// Answers and what they lead to.
pub struct Asked {
    pub observed: Observed,
    pub plan: Plan,
}

impl Session {
    /// Compiles, lowers and seals the topology. No host is asked yet.
    pub fn open(context: &Context) -> Result<Self, Failure> {
        Self::with(context, true)
    }

    /// As [`Self::open`], for a command that asks each host once: no connection is kept after its answer.
    pub fn open_to_ask(context: &Context) -> Result<Self, Failure> {
        Self::with(context, false)
    }

    fn with(context: &Context, keep: bool) -> Result<Self, Failure> {
        let mut project = Project::issued(context)?;
        let state = project.state(context);
        let key = secrets::state_key(&context.state_dir())?;
        let resolver = Arc::new(secrets::resolver(&project.root, &project.topology));
        let runtime = runtime::start()?;
        take_in_departed(&state, &mut project.site, &context.out)?;
        moving::pace::keep(&mut project, &state)?;
        runtime.block_on(secret::seal(&mut project.site, resolver.as_ref(), key.expose()))?;
        let settings = settings(context, &project, keep);
        let readers = Arc::new(ForConnections { resolver: Arc::clone(&resolver), root: project.root.clone() });
        let network = Network::new(settings, project.site.hosts.clone(), Arc::clone(&readers) as _);
        let shell = ShellAgent::new(network, providers::Settings::default());
        let near = Arc::new(Near::of(context, &project));
        let crews = Arc::new(Crews::of(context, &project, Probes::of(&resolver, &state))?);
        let agent = Arc::new(Agents::new(shell, readers).with_people(Arc::clone(&crews) as _));
        let parallel = usize::from(context.globals.parallel);
        Ok(Self { project, resolver, key, agent, state, parallel, near, crews, out: Arc::clone(&context.out), runtime })
    }

    /// From now on a run may be told to end: people who move are let go on between two groups.
    pub fn heed(&self, wanted: watch::Receiver<Wanted>) {
        self.crews.heed(wanted);
    }

    /// What probes are made with.
    pub fn probes(&self) -> Probes {
        Probes::of(&self.resolver, &self.state)
    }

    /// What triggers of an apply are looked at with, `since`: of one that goes on, its begin (Unix milliseconds).
    pub fn eyes(&self, since: Option<i64>) -> Result<Eyes<Reached, Service>, Failure> {
        self.crews.count_since(since)?;
        let alerts = Arc::new(Alerts::of(&self.project, &self.near));
        Ok(Eyes { crews: Arc::clone(&self.crews), probes: self.probes(), alerts })
    }

    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// The options of a plan for this part of the topology.
    pub fn options(&self, wish: &Wish) -> Result<PlanOptions, Failure> {
        let phase = wish.phase.as_deref().map(|name| phase::slice(&self.project.topology, name)).transpose()?;
        // Who they are has to be known before it can be said that all have moved.
        for name in phase.iter().filter(|_| !wish.destroy).flat_map(|p| &p.migrates) {
            moving::cohort(&self.project, name)?;
        }
        if let Some(phase) = phase.as_ref().filter(|_| !wish.destroy) {
            roster::alone(&self.project, phase.migrates.iter().map(String::as_str))?;
        }
        Ok(PlanOptions {
            targets: wish.targets.clone(),
            phase,
            destroy: wish.destroy,
            window: wish.window.clone(),
            short_lead: wish.short_lead,
            exceed: wish.exceed.clone(),
            now: SystemClock.now().div_euclid(1_000),
        })
    }

    /// Asks the hosts that the wish needs, all side by side.
    pub async fn observe(&self, wish: &Wish) -> Result<Observed, Failure> {
        let asked = planning::hosts_to_ask(&self.project.site, &self.options(wish)?)?;
        let mut observed = self.ask(&self.project.site, Some(&asked)).await;
        planning::unborn(&self.project.site, &mut observed);
        Ok(observed)
    }

    /// Asks the hosts of any site, also of one that a journal remembers.
    pub async fn observe_site(&self, site: &Site) -> Observed {
        self.ask(site, None).await
    }

    async fn ask(&self, site: &Site, only: Option<&BTreeSet<HostName>>) -> Observed {
        let (mut done, all) = (0, only.map_or(site.hosts.len(), BTreeSet::len));
        let progress = |host: &HostName, answer: Result<&Observation, &HostError>| {
            done += 1;
            let word = if answer.is_ok() { "answered" } else { "failed" };
            tracing::info!("{host} {word}");
            self.out.passing(&format!("asking hosts: {done} of {all} ({host} {word})"));
        };
        let observed =
            execution::observe_all(self.agent.as_ref(), site, only, self.key.expose(), self.parallel, progress).await;
        self.out.passing("");
        observed
    }

    /// Keeps the answers as a cache for `state --cached`. Failing is no error: nothing depends on it.
    pub fn remember(&self, observed: Observed) {
        let kept = Journal::for_answers(&self.state).and_then(|journal| {
            journal.remember(SystemClock.now(), observed, &self.project.site.hosts)?;
            // A question is answered after what was written before it.
            journal.history().map(drop)
        });
        if let Err(e) = kept {
            tracing::warn!("the answers of the hosts were not kept: {e}");
        }
    }

    /// Compares the wish with what was found.
    pub fn plan(&self, observed: &Observed, wish: &Wish) -> Result<Plan, Failure> {
        let options = self.options(wish)?;
        let input = PlanInput { site: &self.project.site, observed, options: &options, key_id: &self.key.id() };
        let mut plan = planning::plan(&input)?;
        if !wish.destroy && wish.window.is_none() {
            let timezone = self.project.topology.organization().and_then(|o| o.text("timezone")).unwrap_or("UTC");
            let told = |c: &Course| PlanNote { address: None, text: c.told(timezone), blocks: false };
            plan.notes.extend(self.project.courses.iter().map(told));
            plan.notes.extend(routes::begin_empty(&self.project.topology, &plan));
        }
        Ok(plan)
    }

    /// An apply has ended, whichever way: keys that hosts had at its begin may have signed until now.
    pub async fn kept(&self, observed: &Observed) {
        guard::after(self, Some(observed)).await;
    }

    /// A plan was carried out, or found nothing to do: where it was a whole one, its stage of a key's change has come to its end.
    /// Failing is no error: the next run finds it again, and waits the longer.
    pub async fn settled(&self, wish: &Wish, observed: &Observed) {
        self.kept(observed).await;
        let whole = wish.targets.is_empty() && wish.phase.is_none() && wish.window.is_none() && !wish.destroy;
        if self.project.courses.is_empty() || !whole {
            return;
        }
        let servers = Servers::of(&self.project.topology);
        for course in &self.project.courses {
            if let Err(e) = course.done(&self.project.root, &servers).await {
                self.out.note(format!("the change of a DKIM key was not written down: {e}"));
            }
        }
    }

    /// An apply was taken back, or one that was cut off earlier went on: which keys sign now is known by the next plan.
    pub async fn turned(&self) {
        guard::after(self, None).await;
        for course in &self.project.courses {
            if let Err(e) = course.taken_back() {
                self.out.note(format!("the change of a DKIM key was not written down: {e}"));
            }
        }
    }

    pub async fn ask_and_plan(&self, wish: &Wish) -> Result<Asked, Failure> {
        let observed = self.observe(wish).await?;
        let mut plan = self.plan(&observed, wish)?;
        guard::look(self, &observed, &mut plan, wish).await;
        retire::look(self, &mut plan, wish).await;
        passwords::tell(self, &mut plan);
        roster::tell(&self.project, &mut plan, wish);
        self.crews.tell(&mut plan);
        Ok(Asked { observed, plan })
    }
}

/// How hosts are connected to; those of a lab have their keys in its folder.
pub fn settings(context: &Context, project: &Project, keep: bool) -> Settings {
    let mut settings = Settings { connecting: usize::from(context.globals.parallel), keep, ..Settings::default() };
    if let Ok(environment) = lab_spec::environment(&project.topology) {
        settings.known_hosts.push(crate::lab::known_hosts(&lab_spec::dir(&context.state_dir(), environment)));
    }
    settings
}

/// Hosts that left the topology while cutover still owned something there are asked as before, so that what they hold is taken away
/// by planned steps. One that only changed its name (the address is still there) is not: its resources go on under the new name.
fn take_in_departed(state: &StateDir, site: &mut Site, out: &Output) -> Result<(), Failure> {
    if !state.state().exists() {
        return Ok(());
    }
    let journal = Journal::for_answers(state)?;
    for (name, mut access) in journal.known_hosts()? {
        // Many zones have one primary: what they are is their name.
        let here = |h: &HostAccess| {
            access.is_machine()
                && h.is_machine()
                && (h.address.as_str(), h.port) == (access.address.as_str(), access.port)
        };
        if site.hosts.contains_key(&name) || site.hosts.values().any(here) {
            continue;
        }
        let owned = journal.last_observation(&name)?.map_or(0, |(_, o)| o.owned.len());
        if owned > 0 {
            out.note(format!(
                "host {name} left the topology; the {owned} resources that cutover has there are to go. If the host itself is gone for \
                 good: cutover state rm {name}"
            ));
            if let Reach::Zone(zone) = &mut access.reach {
                zone.departed = true;
            }
            site.hosts.insert(name, access);
        }
    }
    Ok(())
}
