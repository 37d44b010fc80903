//! The course of the project at a moment: which phases are done, which may begin, what the others wait for.
//!
//! An exit gate of a phase opens what comes after it, an entry gate the phase itself. A phase without an exit gate holds nobody up: whether it is
//! done is nobody's decision, and applying a later phase makes good what it left.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::gate::{Decision, Known, Question, decide};
use super::record::RecordKind;
use super::trust::changed;
use crate::model::Digest;
use crate::model::course::{Gate, before, gates};
use crate::model::topology::{Node, Topology};

/// True for an environment in which things are tried out: what is shown there opens nothing elsewhere.
pub fn is_rehearsal(environment: &Node) -> bool {
    matches!(environment.text("purpose"), Some("lab" | "test"))
        || environment.text("runtime") == Some("containers")
        || environment.int("time-scale").is_some_and(|n| n > 1)
        || environment.children("stand-in").next().is_some()
}

/// Where records of a phase stand, and whether rehearsed ones do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub environment: Option<&'a str>,
    pub rehearsal: bool,
}

/// Where the records of a phase stand, when it is asked about in an environment (the one in force of `t`).
pub fn place<'a>(t: &'a Topology, phase: &'a Node) -> Place<'a> {
    let here = t.environment().filter(|e| is_rehearsal(e));
    let Some(own) = phase.text("environment") else {
        return Place { environment: None, rehearsal: here.is_some() };
    };
    match here {
        Some(lab) => Place { environment: Some(&lab.id.name), rehearsal: true },
        None => Place { environment: Some(own), rehearsal: t.get("environment", own).is_some_and(is_rehearsal) },
    }
}

/// The phase and all that it comes after, by name.
pub fn needed(t: &Topology, phase: &str) -> BTreeSet<String> {
    let Some(node) = t.get("phase", phase) else { return BTreeSet::new() };
    before(t, node).into_keys().map(|id| id.name.to_string()).chain([phase.to_owned()]).collect()
}

pub struct Course<'a> {
    /// With the environment in force: what is done, and where.
    pub topology: &'a Topology,
    pub known: &'a Known<'a>,
    /// What each phase makes now. A phase that is not here is not asked about.
    pub intents: &'a BTreeMap<String, Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its exit gates are open.
    Done,
    /// It may be applied.
    Open,
    Waits,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    pub phase: String,
    pub step: String,
    pub environment: Option<String>,
    pub state: State,
    /// Gates that keep it from beginning.
    pub waits: Vec<String>,
    /// When the last record came that let it begin or end.
    pub since: Option<Timestamp>,
    pub due: Option<Date>,
    /// Days past `due`, of a phase that is not done.
    pub late: Option<i32>,
    pub gates: Vec<Decision>,
    /// Applies that went through a shut gate of this phase and were not looked at since.
    pub reviews: Vec<Review>,
}

/// An emergency that waits for those who would have decided.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Review {
    pub gate: String,
    pub who: String,
    pub when: Timestamp,
    pub why: String,
    pub due: Date,
}

/// Time in which an emergency is looked at, where no incident policy says otherwise.
const REVIEW_WITHIN: i64 = 7;

impl Course<'_> {
    /// Who decides is the base's matter: an environment may shrink times of a rehearsal, and changes no gate elsewhere.
    fn source(&self) -> &Topology {
        match self.topology.environment().is_some_and(is_rehearsal) {
            true => self.topology,
            false => &self.known.now.topology,
        }
    }

    pub fn decide(&self, gate: &Gate) -> Decision {
        let nothing = Digest(String::new());
        let paper = Place { environment: None, rehearsal: false };
        let place = gate.phase.map_or(paper, |p| place(self.topology, p));
        let intent = gate.phase.and_then(|p| self.intents.get(p.id.name.as_str()));
        let question = Question {
            gate: *gate,
            topology: self.source(),
            environment: place.environment,
            rehearsal: place.rehearsal,
            intent: intent.unwrap_or(&nothing),
        };
        let mut decision = decide(self.known, &question);
        if let Some(trust) = self.known.trust
            && changed(&trust.deciders, self.known.now).iter().any(|g| g.gate.id == gate.gate.id)
        {
            decision.waits.push(self.agree(&gate.gate.id.name));
            decision.hard = true;
        }
        decision
    }

    fn agree(&self, gate: &str) -> String {
        let Some(trust) = self.known.trust else { return String::new() };
        let who: Vec<String> = gates(&trust.deciders.topology)
            .into_iter()
            .filter(|g| g.gate.id.name == gate)
            .flat_map(|g| g.gate.children("approval").filter_map(|a| Some((a, a.reference("name")?))))
            .map(|(a, id)| format!("{} of {}", trust.deciders.wanted(a), id.name))
            .collect();
        format!(
            "who opens it, or by what, has changed since the last approved commit {}: {} must sign the change, with an approval of any gate",
            trust.commit.get(..12).unwrap_or(&trust.commit),
            if who.is_empty() { "its deciders".to_owned() } else { who.join(" and ") }
        )
    }

    /// The gates that must be open before this phase is applied: its entry gates, and the exit gates of all that it comes after. A gate that stood
    /// here when the course was last approved is asked for until those who open it have agreed that it goes.
    pub fn ahead(&self, phase: &str) -> Vec<Decision> {
        let t = self.source();
        if t.get("phase", phase).is_none() {
            let waits = vec!["it stands in an overlay only: what an environment changes opens no gate".to_owned()];
            let gate = format!("of {phase}");
            return vec![Decision { gate, phase: Some(phase.to_owned()), waits, hard: true, ..Decision::default() }];
        }
        let mut out = self.standing(t, phase, &|g| self.decide(g));
        if let Some(trust) = self.known.trust {
            let former = &trust.deciders.topology;
            let now: BTreeSet<String> = out.iter().map(|d| d.gate.clone()).collect();
            let mine = gates(t);
            let gone = self.standing(former, phase, &|g| {
                let waits = match mine.iter().find(|m| m.gate.id == g.gate.id) {
                    // It stands elsewhere now: that is a change of the course.
                    Some(now)
                        if now.is_entry() == g.is_entry() && now.phase.map(|p| &p.id) == g.phase.map(|p| &p.id) =>
                    {
                        format!(
                            "it stood before phase {phase} at the last approved commit; {}",
                            self.agree(&g.gate.id.name)
                        )
                    }
                    _ => format!("it was taken away; {}", self.agree(&g.gate.id.name)),
                };
                Decision {
                    gate: g.gate.id.name.to_string(),
                    phase: g.phase.map(|p| p.id.name.to_string()),
                    entry: g.is_entry(),
                    waits: vec![waits],
                    hard: true,
                    ..Decision::default()
                }
            });
            out.extend(gone.into_iter().filter(|d| !now.contains(&d.gate)));
        }
        out
    }

    fn standing(&self, t: &Topology, phase: &str, decide: &dyn Fn(&Gate) -> Decision) -> Vec<Decision> {
        let Some(node) = t.get("phase", phase) else { return Vec::new() };
        let earlier = before(t, node);
        let holds = |g: &&Gate| match g.phase {
            Some(p) if p.id == node.id => g.is_entry(),
            // A review that comes again and again closes nothing.
            Some(p) => earlier.contains_key(&p.id) && !g.is_entry() && g.gate.value("every").is_none(),
            None => false,
        };
        gates(t).iter().filter(holds).map(decide).collect()
    }

    /// Every phase that intents were given for, in the order of the course.
    pub fn rows(&self) -> Vec<Row> {
        let t = self.source();
        let mut names: Vec<(usize, &Node)> = t
            .all("phase")
            .filter(|p| self.intents.contains_key(p.id.name.as_str()))
            .map(|p| (before(t, p).len(), p))
            .collect();
        names.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        names.into_iter().map(|(_, p)| self.row(t, p)).collect()
    }

    fn row(&self, t: &Topology, phase: &Node) -> Row {
        let ahead = self.ahead(&phase.id.name);
        let own: Vec<Decision> =
            gates(t).iter().filter(|g| g.phase.is_some_and(|p| p.id == phase.id)).map(|g| self.decide(g)).collect();
        let shut: Vec<String> = ahead.iter().filter(|d| !d.open()).map(|d| d.gate.clone()).collect();
        let mut exits = own.iter().filter(|d| !d.entry).peekable();
        let done = exits.peek().is_some() && exits.all(Decision::open) && shut.is_empty();
        let state = match (done, shut.is_empty()) {
            (true, _) => State::Done,
            (_, true) => State::Open,
            _ => State::Waits,
        };
        let reviews = ahead.iter().filter(|d| !d.open()).flat_map(|d| self.emergencies(t, phase, &d.gate)).collect();
        let since =
            if done { own.iter().filter_map(|d| d.last).max() } else { ahead.iter().filter_map(|d| d.last).max() };
        let due = phase.text("due").and_then(|d| d.parse::<Date>().ok());
        let today = self.known.at.to_zoned(TimeZone::UTC).date();
        let late = due.filter(|d| !done && *d < today).and_then(|d| today.since(d).ok()).map(|s| s.get_days());
        Row {
            phase: phase.id.name.to_string(),
            step: phase.text("step").unwrap_or_default().to_owned(),
            environment: place(self.topology, phase).environment.map(str::to_owned),
            state,
            waits: shut,
            since,
            due,
            late,
            gates: own,
            reviews,
        }
    }

    fn emergencies(&self, t: &Topology, phase: &Node, gate: &str) -> Vec<Review> {
        let place = place(self.topology, phase);
        let monthly = t.all("incident-policy").any(|p| p.text("review") == Some("monthly"));
        let within = if monthly { 30 } else { REVIEW_WITHIN };
        let deciders = self.known.trust.map(|t| &t.deciders);
        let mine = self.known.records.iter().filter(|s| {
            let r = &s.record;
            r.kind == RecordKind::Emergency
                && r.node == gate
                && r.phase.as_deref() == Some(phase.id.name.as_str())
                && r.environment.as_deref() == place.environment
                && deciders.is_some_and(|d| d.owns(&r.who, &s.key))
        });
        mine.map(|s| {
            let day = s.record.when.to_zoned(TimeZone::UTC).date();
            Review {
                gate: gate.to_owned(),
                who: s.record.who.clone(),
                when: s.record.when,
                why: s.record.note.clone().unwrap_or_default(),
                due: day.checked_add(jiff::Span::new().days(within)).unwrap_or(day),
            }
        })
        .collect()
    }

    /// Whether the topology says that this phase may be applied in an emergency: by a change that affects or belongs to it.
    pub fn has_emergency(&self, phase: &str) -> bool {
        let t = self.source();
        let Some(node) = t.get("phase", phase) else { return false };
        let urgent = |c: &Node| c.text("urgency") == Some("emergency");
        t.targets(node, "changes").any(urgent)
            || t.all("change").any(|c| urgent(c) && c.refs("affects").any(|(id, _)| *id == node.id))
    }
}
