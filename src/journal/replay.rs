//! From records back to the standing of each step.

use std::collections::BTreeMap;

use super::JournalError;
use super::record::{Record, Saved};
use super::status::{Change, Status, next_status};
use crate::model::HostName;
use crate::model::step::{Outcome, StepId};

/// Where an apply stands according to its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// By step id.
    pub statuses: Vec<Status>,
    /// Last outcome written, by step id.
    pub outcomes: Vec<Option<Outcome>>,
    /// Fingerprints that replace the plan's pinned ones.
    pub expects: BTreeMap<StepId, String>,
    /// Largest lease token seen, by host.
    pub tokens: BTreeMap<HostName, u64>,
    /// Hosts whose dead man's switch was armed and not yet disarmed.
    pub armed: Vec<HostName>,
    /// `Finished` is the last word.
    pub finished: bool,
    pub resumes: u32,
    /// The rollback point and the trigger by which the apply is to be taken back, whatever is left of it.
    pub goes_back: Option<(String, String)>,
}

impl Replay {
    /// Steps that are neither done nor settled: a resume has work.
    pub fn open_steps(&self) -> impl Iterator<Item = StepId> {
        self.statuses.iter().enumerate().filter(|(_, s)| s.is_open()).map(|(i, _)| i as StepId)
    }

    /// True when a resume could change something: the apply did not come to its end, or ended with unknown steps.
    pub fn resumable(&self) -> bool {
        !self.finished
            || self.goes_back.is_some()
            || self.statuses.iter().any(|s| matches!(s, Status::Waiting | Status::Started | Status::Unknown))
    }
}

/// Replays records through [`next_status`]; a record that cannot follow is an error, never ignored.
pub fn replay(saved: &Saved) -> Result<Replay, JournalError> {
    let n = saved.plan.steps.len();
    let mut out = Replay {
        statuses: vec![Status::Waiting; n],
        outcomes: vec![None; n],
        expects: BTreeMap::new(),
        tokens: BTreeMap::new(),
        armed: Vec::new(),
        finished: false,
        resumes: 0,
        goes_back: None,
    };
    for (index, entry) in saved.entries.iter().enumerate() {
        let illegal = |why| JournalError::Illegal { apply: saved.header.apply.clone(), record: index + 1, why };
        let step = |statuses: &mut Vec<Status>, id: StepId, change: Change<'_>| {
            let status = statuses.get_mut(id as usize).ok_or_else(|| {
                JournalError::Damaged(format!("record {} names step {id}, the plan has {n}", index + 1))
            })?;
            *status = next_status(*status, change).map_err(illegal)?;
            Ok::<(), JournalError>(())
        };
        match &entry.record {
            Record::Started { step: id } => step(&mut out.statuses, *id, Change::Start)?,
            Record::Ended { step: id, outcome, .. } => {
                step(&mut out.statuses, *id, Change::End(outcome))?;
                out.outcomes[*id as usize] = Some(outcome.clone());
            }
            Record::Reset { step: id, expect } => {
                step(&mut out.statuses, *id, Change::Reset)?;
                if let Some(e) = expect {
                    out.expects.insert(*id, e.clone());
                }
            }
            Record::Resumed { .. } => {
                for status in &mut out.statuses {
                    *status = next_status(*status, Change::Reopen).map_err(illegal)?;
                }
                out.finished = false;
                out.resumes += 1;
            }
            Record::LeaseTaken { host, token, .. } => {
                out.tokens.insert(host.clone(), *token);
            }
            Record::Armed { host, .. } => out.armed.push(host.clone()),
            Record::Disarmed { host } => out.armed.retain(|h| h != host),
            Record::HostLost { .. } | Record::Draining => {}
            Record::Triggered { point, trigger, rolls_back, .. } => {
                out.goes_back = rolls_back.then(|| (point.clone(), trigger.clone()));
            }
            Record::Finished { .. } => out.finished = true,
        }
    }
    Ok(out)
}
