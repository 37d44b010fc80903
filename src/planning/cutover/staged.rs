//! The plan of a window: what has to be published first by the ordinary rules, then the stages with their barriers.

use std::collections::BTreeMap;

use crate::catalog::barrier::{self, Barrier};
use crate::catalog::record_set;
use crate::model::attr::{Attr, Digest};
use crate::model::cutover::{Entry, Schedule, Since, Stage, Wait, Window, clock};
use crate::model::dns::{RecordSet, SetKey};
use crate::model::plan::{Plan, PlanNote};
use crate::model::site::Site;
use crate::model::step::{Action, FieldChange, Step, StepId};
use crate::model::{Address, Kind};

use super::lane::{self, Lane, lanes};
use super::refusal;
use super::timeline::{Part, Timeline, timeline};
use crate::planning::diff::vanishing;
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
    // The ordinary rules hold for what is published, also where it is wider than the topology wants it in the end.
    let site = lane::widened(input.site, &lanes);
    let mut plan = plan(&PlanInput { options: &options, site: &site, ..*input })?;
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
        way_back: window.way_back.clone(),
    };
    if let Some(back) = window.way_back.as_ref().filter(|b| !b.triggers.is_empty()) {
        plan.notes.push(PlanNote { address: None, text: back.told(), blocks: false });
    }
    for lane in &lanes {
        let line = timeline(now, window, &lane.facts, &lane.held);
        let sides = refusal::sides(window, &lane.held, &lane.wide, &lane.unpublished);
        for refusal in line.refusals.iter().chain(&sides) {
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
        let mut flipped: Option<StepId> = None;
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
                    since: match part.stage {
                        Stage::FlipMx | Stage::RaiseTtl => lead.clone(),
                        Stage::Prune => {
                            let seconds = u64::try_from(part.wait).unwrap_or(0);
                            flipped.map(|step| Since { step, seconds }).into_iter().collect()
                        }
                        Stage::Publish | Stage::LowerTtl | Stage::Verify => Vec::new(),
                    },
                    not_after: part.not_after,
                    reason: self.reason(part),
                };
                if wait.not_before.is_some() || !wait.since.is_empty() {
                    self.schedule.waits.extend(ids.iter().map(|id| (*id, wait.clone())));
                }
            }
            if !ids.is_empty() && !part.served().is_empty() {
                let barrier = self.barrier(part, ids.clone());
                lead.push(Since { step: barrier, seconds: u64::try_from(part.wait).unwrap_or(0) });
                last = vec![barrier];
                flipped = if part.stage == Stage::FlipMx { Some(barrier) } else { flipped };
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
            Stage::Prune => format!("the old side of window {} is needed: {}", self.window.name, part.why),
            Stage::Publish | Stage::LowerTtl | Stage::Verify => part.why.clone(),
        }
    }

    fn next(&self) -> StepId {
        self.plan.steps.len() as StepId
    }

    /// One step a change; all of a stage go together.
    fn changes(&mut self, part: &Part, after: &[StepId]) -> Vec<StepId> {
        let mut ids = Vec::new();
        for change in &part.changes {
            let Some(key) = change.key() else { continue };
            let Some(set) = &change.after else {
                ids.extend(self.removal(part, key, after));
                continue;
            };
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

    /// Takes away what the topology does not name any more.
    fn removal(&mut self, part: &Part, key: &SetKey, after: &[StepId]) -> Option<StepId> {
        let (owned, record) = self.lane.left.get(key)?;
        let id = self.next();
        let address = Address::new(self.lane.host, Kind::RecordSet, owned.key.clone());
        self.plan.steps.push(Step {
            id,
            attrs: owned.attrs.clone(),
            expect: Some(record.fingerprint.clone()),
            after: after.to_vec(),
            undo: steps::undo(Kind::RecordSet, &owned.attrs),
            owner: owned.owner.clone(),
            changes: vanishing(&address, record),
            reason: format!("{} of window {}: the topology no longer names it", part.stage, self.window.name),
            ..leaving(address, Action::Delete)
        });
        Some(id)
    }

    fn barrier(&mut self, part: &Part, after: Vec<StepId>) -> StepId {
        let id = self.next();
        let lag = u64::try_from(self.line.lag).unwrap_or(0);
        let timeout = self.window.timeouts.get(&part.stage).copied().unwrap_or(lag + PATIENCE);
        let rolls_back = self.window.rolls_back.contains(&part.stage);
        let servers = self.lane.servers.clone();
        let attrs = barrier::attrs(&Barrier { sets: part.served(), servers, timeout, rolls_back });
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
