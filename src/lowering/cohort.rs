//! Cohorts that a phase moves, as places of waves: what a plan with that phase does after all that it deploys.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::survey::{Survey, refs};
use super::window;
use crate::catalog::{self, wave};
use crate::model::act::{Act, Doing, OnTimeout};
use crate::model::host::{CohortAccess, HostAccess, Opening, Reach};
use crate::model::resource::{Dependency, Resource};
use crate::model::topology::{Node, Topology};
use crate::model::{Address, HostName, Kind, Sources};
use crate::people::Chosen;
use crate::people::wave::{Rules, waves};

#[derive(Debug, Default)]
pub struct Cohorts {
    pub hosts: BTreeMap<HostName, HostAccess>,
    pub resources: Vec<Resource>,
}

/// `ledger` is the host that keeps what became of waves; `made`: what servers are to hold.
pub fn lanes(
    survey: &Survey<'_>,
    sources: &Sources,
    hosts: &BTreeMap<HostName, HostAccess>,
    made: &[Resource],
    ledger: Option<&HostAccess>,
    people: &BTreeMap<String, Chosen>,
) -> Cohorts {
    let topology = survey.topology;
    let mut out = Cohorts::default();
    let Some(ledger) = ledger else { return out };
    let moves: Vec<Moves<'_>> =
        topology.all("cohort").filter_map(|node| Moves::of(survey, node, hosts, people)).collect();
    let lasts: BTreeMap<&str, Address> = moves.iter().filter_map(|m| Some((m.name(), m.addresses().pop()?))).collect();
    for m in &moves {
        out.hosts.insert(m.lane(), m.access(ledger));
        m.resources(&lasts, sources, made, &mut out.resources);
    }
    out
}

/// A cohort with all that moves it.
struct Moves<'t> {
    node: &'t Node,
    proxy: &'t Node,
    cms: &'t Node,
    phases: Vec<String>,
    users: Vec<String>,
    rules: Rules,
    opening: Option<Opening>,
    longest_hold: Option<u64>,
    frozen: bool,
    /// Servers on which something has to stand before anybody moves.
    servers: BTreeSet<HostName>,
}

impl<'t> Moves<'t> {
    fn of(
        survey: &Survey<'t>,
        node: &'t Node,
        hosts: &BTreeMap<HostName, HostAccess>,
        people: &BTreeMap<String, Chosen>,
    ) -> Option<Self> {
        let topology = survey.topology;
        let phases = phases(topology, node);
        let chosen = people.get(&*node.id.name).filter(|c| c.unasked.is_empty() && !c.members.is_empty())?;
        let migration = node.reference("migration").and_then(|id| topology.get("migration", &id.name))?;
        let named = |field: &str| migration.reference(field).and_then(|id| topology.get(field, &id.name));
        let (proxy, cms) = (named("proxy")?, named("cms")?);
        let by_store = proxy.text("route-by") != Some("file");
        let places: BTreeSet<HostName> =
            [proxy, cms].iter().flat_map(|n| refs(n, "on")).map(|id| HostName::from(id.name.as_str())).collect();
        let reached = !places.is_empty() && places.iter().all(|p| hosts.contains_key(p));
        if phases.is_empty() || !by_store || !reached {
            return None;
        }
        let opening = match node.reference("window") {
            None => None,
            // Nobody is moved at any time where a time was meant.
            Some(id) => Some(opening(topology, topology.get("cutover-window", &id.name)?, chosen.members.len())?),
        };
        let stores = refs(migration, "to").flat_map(|id| survey.hosts_of(id)).map(HostName::from);
        let servers = places.into_iter().chain(stores).collect();
        let users = chosen.addresses().map(str::to_owned).collect();
        let (longest_hold, frozen) = (hold(topology, node, migration), frozen(topology, node));
        let rules = Rules::of(node);
        Some(Self { node, proxy, cms, phases, users, rules, opening, longest_hold, frozen, servers })
    }

    fn name(&self) -> &'t str {
        &self.node.id.name
    }

    fn lane(&self) -> HostName {
        HostName::of_cohort(self.name())
    }

    fn addresses(&self) -> Vec<Address> {
        let lane = self.lane();
        waves(&self.users, &self.rules).into_iter().map(|w| Address::new(&lane, Kind::Wave, w.key)).collect()
    }

    fn access(&self, ledger: &HostAccess) -> HostAccess {
        let names = |node: &Node| refs(node, "on").map(|id| HostName::from(id.name.as_str())).collect::<Vec<_>>();
        let all = self.users.len() as u64;
        let cohort = CohortAccess {
            cohort: self.name().to_owned(),
            proxy: self.proxy.id.name.to_string(),
            cms: self.cms.id.name.to_string(),
            gates: names(self.proxy),
            carrier: names(self.cms).into_iter().next().unwrap_or_else(|| ledger.name.clone()),
            first: refs(self.node, "after").map(|id| id.name.to_string()).collect(),
            phases: self.phases.clone(),
            people: all,
            may_fail: self.rules.may_fail(all),
            together: if self.frozen { self.users.len() } else { self.rules.together },
            longest_hold: self.longest_hold,
            measured_ms: None,
            opening: self.opening.clone(),
            ledger: ledger.clone(),
        };
        let reach = Reach::Cohort(Box::new(cohort));
        HostAccess { reach, port: 0, user: String::new(), ..HostAccess::at(self.lane(), self.proxy.id.to_string()) }
    }

    fn resources(
        &self,
        lasts: &BTreeMap<&str, Address>,
        sources: &Sources,
        made: &[Resource],
        out: &mut Vec<Resource>,
    ) {
        // All that has to stand comes first: whatever roles its servers have.
        let groups: BTreeSet<&str> =
            made.iter().filter(|r| self.servers.contains(&r.address.host)).map(|r| r.group.as_str()).collect();
        let mut after: Vec<Dependency> = groups.into_iter().map(|g| Dependency::Group(g.to_owned())).collect();
        let earlier = refs(self.node, "after").filter_map(|id| lasts.get(id.name.as_str()));
        after.extend(earlier.cloned().map(Dependency::Resource));
        for (wave, address) in waves(&self.users, &self.rules).iter().zip(self.addresses()) {
            let next = vec![Dependency::Resource(address.clone())];
            out.push(Resource {
                address,
                attrs: wave::attrs(wave.count(), &wave.digest(), wave.soak.map_or(0, |s| s.as_secs())),
                group: self.lane().0,
                stage: catalog::spec(Kind::Wave).stage,
                after: std::mem::replace(&mut after, next),
                notifies: Vec::new(),
                protect: false,
                owner: self.node.id.to_string(),
                origin: sources.origin(self.node.span),
            });
        }
    }
}

/// Of a cohort of so many people.
fn opening(topology: &Topology, window: &Node, people: usize) -> Option<Opening> {
    let timezone = window::timezone(topology);
    let (start, end) = window::span(window, TimeZone::get(timezone).ok()?)?;
    let steps = window.texts("steps");
    let name = window.id.name.to_string();
    let flips = steps.is_empty() || steps.contains(&"flip-routes");
    let acts = Doing::ALL.into_iter().filter(|d| steps.contains(&d.as_str())).map(|d| act(window, d, people)).collect();
    Some(Opening { window: name, start, end, timezone: timezone.to_owned(), flips, acts, way_back: None })
}

/// Seconds that a step of a window may take where nobody says how many.
const PATIENCE: u64 = 600;
/// Notices that a mail server takes in a second, one after the other over SSH, when it is slow.
const NOTICES: u64 = 2;

fn act(window: &Node, what: Doing, people: usize) -> Act {
    let node = window.children("step").find(|s| s.name() == what.as_str());
    let usual = match what {
        Doing::Notify => PATIENCE + people as u64 / NOTICES,
        _ => PATIENCE,
    };
    let timeout = node.and_then(|s| s.duration("timeout")).map_or(usual, |d| d.as_secs());
    let on_timeout = match (what, node.map(|s| s.text("on-timeout").unwrap_or("rollback"))) {
        // Nobody has moved by then.
        (Doing::Notify, Some("rollback")) | (_, None) => OnTimeout::Stop,
        (_, Some(word)) => OnTimeout::parse(word),
    };
    Act { what, timeout, on_timeout }
}

/// Seconds that people may be held: as the migration allows, and no longer than the steps of the window from the freeze to the new route.
fn hold(topology: &Topology, cohort: &Node, migration: &Node) -> Option<u64> {
    let window = cohort.reference("window").and_then(|id| topology.get("cutover-window", &id.name));
    let held = |s: &&Node| ["freeze-source", "final-delta", "flip-routes"].contains(&s.name());
    let steps: Vec<u64> = window
        .into_iter()
        .flat_map(|w| w.children("step"))
        .filter(held)
        .filter_map(|s| Some(s.duration("timeout")?.as_secs()))
        .collect();
    let allowed = migration.duration("downtime-max").map(|d| d.as_secs());
    let sum = (!steps.is_empty()).then(|| steps.iter().sum());
    allowed.into_iter().chain(sum).min()
}

/// Whether the people of a wave are all held at the same time.
fn frozen(topology: &Topology, cohort: &Node) -> bool {
    let window = cohort.reference("window").and_then(|id| topology.get("cutover-window", &id.name));
    window.is_some_and(|w| w.texts("steps").contains(&"freeze-source"))
}

/// Phases of this environment that move a cohort.
fn phases(topology: &Topology, cohort: &Node) -> Vec<String> {
    let here = |p: &&Node| p.text("environment").is_none_or(|e| topology.environment.as_deref() == Some(e));
    let moves = |p: &&Node| refs(p, "migrates").any(|id| *id == cohort.id);
    topology.all("phase").filter(moves).filter(here).map(|p| p.id.name.to_string()).collect()
}
