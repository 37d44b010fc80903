//! The plan of a window: what has to be published first by the ordinary rules, then the stages with their barriers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::catalog::barrier::{self, Barrier};
use crate::catalog::record_set;
use crate::model::attr::{Attr, Digest};
use crate::model::cutover::{Entry, Schedule, Since, Stage, Wait, Window, clock};
use crate::model::dns::{RecordSet, SetChange, SetKey, ZoneSeen};
use crate::model::host::ZoneAccess;
use crate::model::observed::Observation;
use crate::model::plan::{Plan, PlanNote};
use crate::model::resource::Resource;
use crate::model::site::Site;
use crate::model::step::{Action, FieldChange, Step, StepId};
use crate::model::{Address, HostName, Kind};

use super::facts::{Held, ZoneFacts, targets};
use super::timeline::{Part, Timeline, timeline};
use crate::planning::steps::leaving;
use crate::planning::{PlanError, PlanInput, PlanOptions, plan, steps};

/// Seconds that a barrier gives a server to follow beyond what its SOA promises.
const PATIENCE: u64 = 600;

/// The plan that carries a window out.
pub fn staged(input: &PlanInput, name: &str) -> Result<Plan, PlanError> {
    let window = find(input.site, name)?;
    let lanes = lanes(input, window);
    let publishes = lanes.iter().flat_map(|l| l.publishes.iter().map(ToString::to_string));
    let targets = window.holds.iter().map(ToString::to_string).chain(publishes).collect();
    let options = PlanOptions { targets, window: None, ..input.options.clone() };
    let mut plan = plan(&PlanInput { options: &options, ..*input })?;
    plan.notes.retain(|n| n.address.as_ref().is_none_or(|a| !window.holds.contains(a)));
    plan.targets.clear();
    plan.intent = intent(&plan, window);
    let now = input.options.now;
    let mut schedule = Schedule {
        window: window.name.clone(),
        rollback: window.rollback.clone(),
        start: window.start,
        end: window.end,
        timezone: window.timezone.clone(),
        planned: now,
        entries: Vec::new(),
        waits: BTreeMap::new(),
        takes_back: false,
    };
    for lane in &lanes {
        let line = timeline(now, window, &lane.facts, &lane.held);
        for refusal in &line.refusals {
            let waived = input.options.short_lead && refusal.can_be_waived();
            plan.notes.push(PlanNote { address: None, text: refusal.to_string(), blocks: !waived });
        }
        Stages { window, lane, line: &line, plan: &mut plan, schedule: &mut schedule }.add();
    }
    schedule.entries.sort_by_key(|e| (e.begins, e.stage));
    plan.schedule = Some(schedule);
    Ok(plan)
}

/// The window of this name.
pub fn find<'a>(site: &'a Site, name: &str) -> Result<&'a Window, PlanError> {
    site.windows.iter().find(|w| w.name == name).ok_or_else(|| PlanError::UnknownWindow {
        name: name.to_owned(),
        known: site.windows.iter().map(|w| w.name.clone()).collect(),
    })
}

/// A zone of the window.
struct Lane<'a> {
    host: &'a HostName,
    facts: ZoneFacts,
    held: Vec<Held>,
    resources: BTreeMap<SetKey, &'a Resource>,
    /// What has to be there before the swap and is not yet.
    publishes: BTreeSet<Address>,
    /// Name servers that the zone names and the topology does not.
    servers: Vec<String>,
}

/// Zones that answered; the others stand among the failures of the plan.
fn lanes<'a>(input: &PlanInput<'a>, window: &'a Window) -> Vec<Lane<'a>> {
    let hosts: BTreeSet<&HostName> = window.holds.iter().map(|a| &a.host).collect();
    hosts
        .into_iter()
        .filter_map(|host| Some((host, input.observed.hosts.get(host)?)))
        .filter_map(|(host, seen)| lane(input, window, host, seen))
        .collect()
}

fn lane<'a>(input: &PlanInput<'a>, window: &Window, host: &'a HostName, seen: &Observation) -> Option<Lane<'a>> {
    let access = input.site.hosts.get(host)?.zone()?;
    let zone = seen.zone.as_ref()?;
    let name = format!("{}.", access.zone);
    let mine = input.site.of_host(host);
    let resources: BTreeMap<SetKey, &Resource> =
        mine.iter().filter_map(|r| Some((record_set::set_key(&r.address.key)?, r))).collect();
    let wanted = |r: &Resource| record_set::of_attrs(&r.address.key, &r.attrs);
    let observed = |r: &Resource| {
        let record = seen.records.get(&r.address.local()).filter(|record| record.present)?;
        record_set::of_attrs(&r.address.key, &record.attrs)
    };
    let holds = |r: &Resource| window.holds.contains(&r.address);
    let held: Vec<Held> = mine
        .iter()
        .filter(|r| holds(r))
        .filter_map(|r| Some(Held { wanted: wanted(r)?, observed: observed(r), former_ttl: lowered(seen, r) }))
        .collect();
    // What leads to the new side: addresses and TLSA of its hosts, and the policy that lets them send.
    let mut needed: BTreeSet<SetKey> = BTreeSet::new();
    for h in held.iter().filter(|h| h.differs()) {
        for target in targets(&h.wanted) {
            needed.extend(["A", "AAAA"].map(|kind| SetKey { name: target.clone(), kind: kind.into() }));
            needed.insert(SetKey { name: format!("_25._tcp.{target}"), kind: "TLSA".into() });
        }
        needed.insert(SetKey { name: h.wanted.key.name.clone(), kind: "TXT".into() });
    }
    let publishes: Vec<(&Resource, SetChange)> = needed
        .iter()
        .filter_map(|key| resources.get(key).copied())
        .filter(|r| !holds(r))
        .filter_map(|r| {
            let change = SetChange { before: observed(r), after: Some(wanted(r)?) };
            (change.before != change.after).then_some((r, change))
        })
        .collect();
    let servers = unknown_servers(access, zone, &name);
    let facts = ZoneFacts {
        name,
        short_ttl: window.short_ttls.get(host).copied().unwrap_or(300),
        negative_ttl: zone.negative_ttl,
        refresh: zone.refresh,
        secondaries: access.servers.len() + servers.len() > 1,
        sets: zone.sets.clone(),
        publishes: publishes.iter().map(|(_, change)| change.clone()).collect(),
    };
    let publishes = publishes.into_iter().map(|(r, _)| r.address.clone()).collect();
    Some(Lane { host, facts, held, resources, publishes, servers })
}

/// Name servers that the zone names and the topology does not, each with its addresses where the zone has them.
fn unknown_servers(access: &ZoneAccess, zone: &ZoneSeen, name: &str) -> Vec<String> {
    let known = |ns: &str| access.servers.iter().any(|s| s.name.trim_end_matches('.') == ns.trim_end_matches('.'));
    let here = |address: &IpAddr| access.servers.iter().any(|s| s.addresses.contains(address));
    let apex = zone.sets.iter().filter(|s| s.key.kind == "NS" && s.key.name == name).flat_map(|s| s.data.iter());
    apex.filter(|ns| !known(ns))
        .filter_map(|ns| {
            let address = |s: &&RecordSet| s.key.name == *ns && matches!(s.key.kind.as_str(), "A" | "AAAA");
            let found = zone.sets.iter().filter(address).flat_map(|s| s.data.iter());
            let found: Vec<IpAddr> = found.filter_map(|a| a.parse().ok()).collect();
            // Known under another name.
            let all_known = !found.is_empty() && found.iter().all(here);
            let words = std::iter::once(ns.clone()).chain(found.iter().map(ToString::to_string));
            (!all_known).then(|| words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The TTL that an unfinished run lowered this set from, as the ledger has it.
fn lowered(seen: &Observation, r: &Resource) -> Option<u32> {
    let owned = seen.owned.iter().find(|o| o.kind == Kind::RecordSet && o.key == r.address.key)?;
    match owned.attrs.get("old-ttl") {
        Some(Attr::Int(ttl)) => u32::try_from(*ttl).ok(),
        _ => None,
    }
}

/// The stages of one zone on their way into a plan.
struct Stages<'a, 'b> {
    window: &'a Window,
    lane: &'a Lane<'b>,
    line: &'a Timeline,
    plan: &'a mut Plan,
    schedule: &'a mut Schedule,
}

impl Stages<'_, '_> {
    fn add(mut self) {
        let line = self.line;
        // Barriers of the lead, with the seconds that have to pass after each.
        let mut lead: Vec<Since> = Vec::new();
        let mut last: Vec<StepId> = Vec::new();
        for part in &line.parts {
            let mut ids = match part.stage {
                Stage::Publish => {
                    let all = self.plan.steps.iter();
                    all.filter(|s| self.lane.publishes.contains(&s.address)).map(|s| s.id).collect()
                }
                _ => self.changes(part, &last),
            };
            if part.stage != Stage::Publish && !ids.is_empty() {
                let wait = Wait {
                    not_before: part.not_before,
                    since: if matches!(part.stage, Stage::FlipMx | Stage::RaiseTtl) {
                        lead.clone()
                    } else {
                        Vec::new()
                    },
                    not_after: part.not_after,
                    reason: self.reason(part),
                };
                if wait.not_before.is_some() || !wait.since.is_empty() {
                    self.schedule.waits.extend(ids.iter().map(|id| (*id, wait.clone())));
                }
            }
            if !ids.is_empty() {
                let barrier = self.barrier(part, ids.clone());
                lead.push(Since { step: barrier, seconds: u64::try_from(part.wait).unwrap_or(0) });
                last = vec![barrier];
                ids.push(barrier);
            }
            self.schedule.entries.push(Entry {
                zone: line.zone.clone(),
                stage: part.stage,
                what: part.what.clone(),
                begins: part.begins,
                ends: part.ends(),
                latest: part.latest,
                why: part.why.clone(),
                steps: ids,
            });
        }
    }

    /// Why a stage waits: its own time, and what has to run out before it.
    fn reason(&self, part: &Part) -> String {
        let at = |time| clock(time, &self.window.timezone);
        match part.stage {
            Stage::FlipMx => {
                let before = self.line.parts.iter().filter(|p| p.stage < Stage::FlipMx && p.wait > 0);
                let runs = before.map(|p| p.why.clone()).collect::<Vec<_>>().join("; ");
                let start = format!("window {} begins at {}", self.window.name, at(self.window.start));
                if runs.is_empty() { start } else { format!("{start}; {runs}") }
            }
            Stage::RaiseTtl => format!("window {} ends at {}", self.window.name, at(self.window.end)),
            Stage::Publish | Stage::LowerTtl | Stage::Verify | Stage::Prune => part.why.clone(),
        }
    }

    fn next(&self) -> StepId {
        self.plan.steps.len() as StepId
    }

    /// One step a change; all of a stage go together.
    fn changes(&mut self, part: &Part, after: &[StepId]) -> Vec<StepId> {
        let mut ids = Vec::new();
        for change in &part.changes {
            let (Some(key), Some(set)) = (change.key(), &change.after) else { continue };
            let Some(resource) = self.lane.resources.get(key) else { continue };
            let id = self.next();
            let mut attrs = record_set::attrs(set);
            if part.stage == Stage::LowerTtl {
                attrs.insert("old-ttl".to_owned(), Attr::Int(self.line.old_ttl));
            }
            let step = Step {
                id,
                address: resource.address.clone(),
                action: if change.before.is_some() { Action::Update } else { Action::Create },
                undo: steps::undo(Kind::RecordSet, &attrs),
                attrs,
                expect: Some(record_set::fingerprint(change.before.as_ref())),
                after: after.to_vec(),
                notifies: Vec::new(),
                protect: resource.protect,
                risky: false,
                owner: resource.owner.clone(),
                origin: resource.origin.clone(),
                changes: fields(change.before.as_ref(), set),
                before_text: None,
                reason: format!("{} of window {}", part.stage, self.window.name),
                restores: None,
            };
            self.plan.steps.push(step);
            ids.push(id);
        }
        ids
    }

    fn barrier(&mut self, part: &Part, after: Vec<StepId>) -> StepId {
        let id = self.next();
        let lag = u64::try_from(self.line.lag).unwrap_or(0);
        let timeout = self.window.timeouts.get(&part.stage).copied().unwrap_or(lag + PATIENCE);
        let attrs = barrier::attrs(&Barrier { sets: part.served(), servers: self.lane.servers.clone(), timeout });
        let (owner, origin) = match self.plan.steps.get(after.first().copied().unwrap_or_default() as usize) {
            Some(s) => (s.owner.clone(), s.origin.clone()),
            None => Default::default(),
        };
        let key = format!("{}/{}", self.window.name, part.stage);
        let address = Address::new(self.lane.host, Kind::Barrier, key);
        self.plan.steps.push(Step { id, attrs, after, owner, origin, ..waiting(address) });
        id
    }
}

/// A barrier as a step.
pub(super) fn waiting(address: Address) -> Step {
    Step { reason: "until every name server serves it".into(), ..leaving(address, Action::Wait) }
}

pub(super) fn fields(before: Option<&RecordSet>, after: &RecordSet) -> Vec<FieldChange> {
    let data = |s: &RecordSet| s.data.iter().cloned().collect::<Vec<_>>().join(" | ");
    let field = |field: &str, before: Option<String>, after: String| {
        (before.as_ref() != Some(&after)).then(|| FieldChange {
            field: field.to_owned(),
            before,
            after: Some(after),
            forces_replacement: false,
        })
    };
    [
        field("data", before.map(data), data(after)),
        field("ttl", before.map(|s| s.ttl.to_string()), after.ttl.to_string()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// People sign the window with what it moves; at which moment it was planned has no part in it.
fn intent(plan: &Plan, window: &Window) -> Digest {
    let holds = window.holds.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let stages = window.stages.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
    let text = format!(
        "cutover window 1\n{}\n{} {} {} {stages}\n{:?}\n{holds}\n",
        plan.intent, window.name, window.start, window.end, window.short_ttls
    );
    Digest::of(text.as_bytes())
}
