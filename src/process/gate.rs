//! Whether a gate is open, and if not, what is missing, said so that people can go and get it.
//!
//! ```text
//! approvals: persons who may ∩ persons who signed for this intent − authors, testers   ≥ wanted
//! evidence:  the youngest record of each   passed, fresh, of all that it shall be of, by whom it shall be
//! ```
//!
//! Whatever is in doubt keeps a gate shut. A record that is broken shuts the gate that it was for: it may have been the one that said no.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::record::{Broken, Outcome, Record, RecordKind, Signed};
use super::trust::{Deciders, Trust, revoked};
use crate::model::Digest;
use crate::model::course::{Gate, evidence};
use crate::model::topology::{Node, NodeId, Topology};
use crate::model::unit::{Percent, format_duration};

/// All that is known when gates are decided.
pub struct Known<'a> {
    pub records: &'a [Signed],
    pub broken: &'a [Broken],
    /// `None`: nobody has signed anything yet.
    pub trust: Option<&'a Trust>,
    /// Who would decide by the topology as it is now.
    pub now: &'a Deciders,
    /// Digests of the documents that the topology names, of those that are there.
    pub files: &'a BTreeMap<String, Digest>,
    pub authors: &'a Authors,
    pub at: Timestamp,
}

/// Who wrote what is to be approved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authors {
    /// Persons whose signed commits changed the topology since it was last approved.
    pub persons: BTreeSet<String>,
    /// Commits of nobody who could be proven.
    pub unproven: usize,
}

/// One gate, asked about.
pub struct Question<'a> {
    pub gate: Gate<'a>,
    /// The topology that the gate stands in.
    pub topology: &'a Topology,
    /// Where its records stand; `None` for a phase on paper.
    pub environment: Option<&'a str>,
    /// It is asked in a rehearsal: what was rehearsed is enough.
    pub rehearsal: bool,
    /// What its phase makes now.
    pub intent: &'a Digest,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Decision {
    pub gate: String,
    pub phase: Option<String>,
    pub entry: bool,
    /// What is missing. Empty: the gate is open.
    pub waits: Vec<String>,
    /// Persons whose signatures count.
    pub signers: BTreeSet<String>,
    /// The youngest record that counts.
    pub last: Option<Timestamp>,
    /// Something is broken or changed that no emergency passes over.
    pub hard: bool,
    /// Persons who must not apply. `None`: anybody may.
    pub not_applier: Option<BTreeSet<String>>,
}

impl Decision {
    pub fn open(&self) -> bool {
        self.waits.is_empty()
    }
}

pub fn decide(known: &Known, q: &Question) -> Decision {
    let node = q.gate.gate;
    let mut judge = Judge::new(known, q);
    judge.broken(&node.id.name);
    judge.duties();
    for e in evidence(q.topology, node) {
        judge.evidence(e);
    }
    judge.delivered();
    judge.approvals();
    judge.decision
}

/// `plan-clean`, `test`, `audit` are of what is wanted now; others stay true when the wish changes.
fn of_the_wish(ty: &str) -> bool {
    matches!(ty, "plan-clean" | "test" | "audit")
}

struct Judge<'a> {
    known: &'a Known<'a>,
    q: &'a Question<'a>,
    deciders: &'a Deciders,
    /// Records with a key of the person that they name, none taken back.
    valid: Vec<&'a Signed>,
    testers: BTreeSet<String>,
    /// Two duties that one person may not combine.
    apart: Vec<(String, String)>,
    decision: Decision,
}

impl<'a> Judge<'a> {
    fn new(known: &'a Known<'a>, q: &'a Question<'a>) -> Self {
        let deciders = known.trust.map_or(known.now, |t| t.deciders.as_ref());
        let owned: Vec<&Signed> =
            known.records.iter().filter(|s| known.trust.is_some() && deciders.owns(&s.record.who, &s.key)).collect();
        let gone = revoked(&owned);
        let valid = owned.into_iter().filter(|s| !gone.contains(&s.record.digest())).collect();
        let decision = Decision {
            gate: q.gate.gate.id.name.to_string(),
            phase: q.gate.phase.map(|p| p.id.name.to_string()),
            entry: q.gate.is_entry(),
            ..Decision::default()
        };
        Self { known, q, deciders, valid, testers: BTreeSet::new(), apart: Vec::new(), decision }
    }

    fn waits(&mut self, text: impl Into<String>) {
        self.decision.waits.push(text.into());
    }

    fn broken(&mut self, name: &str) {
        let here = self.q.environment.unwrap_or(super::record::ANYWHERE);
        let of = |b: &&Broken| b.node() == Some(name) && b.file.split('/').nth(1) == Some(here);
        let texts: Vec<String> =
            self.known.broken.iter().filter(of).map(|b| format!("{} does not count: {}", b.file, b.why)).collect();
        self.decision.hard |= !texts.is_empty();
        self.decision.waits.extend(texts);
    }

    /// Whether a record was made where this gate is asked about.
    fn here(&self, record: &Record) -> bool {
        record.environment.as_deref() == self.q.environment && (!record.rehearsal || self.q.rehearsal)
    }

    fn counts(&mut self, when: Timestamp) {
        self.decision.last = self.decision.last.max(Some(when));
    }

    fn duties(&mut self) {
        let names = |node: &Node| node.texts("of").into_iter().map(str::to_owned).collect::<Vec<_>>();
        for duties in self.deciders.topology.all("separation").chain(self.q.topology.all("separation")).map(names) {
            for (i, a) in duties.iter().enumerate() {
                self.apart.extend(duties[i + 1..].iter().map(|b| (a.clone(), b.clone())));
            }
        }
        // Who tests a change of this phase has said so in the topology, before any test.
        let changes = self.q.gate.phase.into_iter().flat_map(|p| self.q.topology.targets(p, "changes"));
        let named: Vec<&NodeId> = changes.filter_map(|c| c.reference("tester")).collect();
        let persons = named.into_iter().flat_map(|id| self.deciders.persons(id));
        self.testers.extend(persons.map(|p| p.to_string()));
    }

    fn separated(&self, a: &str, b: &str) -> bool {
        self.apart.iter().any(|(x, y)| (x == a && y == b) || (x == b && y == a))
    }

    fn evidence(&mut self, e: &Node) {
        self.broken(&e.id.name);
        let ty = e.text("type").unwrap_or_default();
        let name = format!("evidence {} ({ty})", e.id.name);
        if ty == "risks-closed" {
            return self.risks(e, &name);
        }
        let of: Vec<&'a Signed> = self
            .valid
            .iter()
            .copied()
            .filter(|s| s.record.kind == RecordKind::Evidence && s.record.node == e.id.name)
            .collect();
        let elsewhere = of.iter().any(|s| s.record.rehearsal);
        let mut here: Vec<(&Signed, &super::record::Finding)> = of
            .into_iter()
            .filter(|s| self.here(&s.record))
            .filter_map(|s| Some((s, s.record.what.as_ref().filter(|w| w.ty == ty)?)))
            .collect();
        here.sort_by(|a, b| (a.0.record.when, &a.0.file).cmp(&(b.0.record.when, &b.0.file)));
        // One evidence may be asked for by gates of several phases: each has its own youngest record.
        if of_the_wish(ty) && here.iter().any(|(s, _)| s.record.intent == *self.q.intent) {
            here.retain(|(s, _)| s.record.intent == *self.q.intent);
        }
        let Some((signed, what)) = here.last().copied() else {
            let hint = match (elsewhere, e.text("file")) {
                (true, _) => ": what was shown in a rehearsal does not count here".to_owned(),
                (_, Some(file)) => format!(": {file}"),
                _ => String::new(),
            };
            let by = e.reference("by").map_or(String::new(), |by| format!(", to be shown by {by}"));
            let score =
                super::survey::wanted(self.q.topology, e).map_or(String::new(), |s| format!(", score at least {s}"));
            let bar = self.share(e).map_or(score.clone(), |p| format!(", at least {p}{score}"));
            let held = e.duration("for").map_or(String::new(), |d| format!(", held for {}", format_duration(d)));
            return self.waits(format!("{name}: nothing recorded yet{by}{bar}{held}{hint}"));
        };
        let before = self.decision.waits.len();
        let (record, when) = (&signed.record, signed.record.when);
        if when > self.known.at.saturating_add(Duration::from_secs(300)).unwrap_or(Timestamp::MAX) {
            self.waits(format!("{name}: recorded for {when}, which has not come yet"));
        }
        if of_the_wish(ty) && record.intent != *self.q.intent {
            self.waits(format!("{name}: shown for an earlier plan: the topology has changed since"));
        }
        if what.result == Outcome::Fail {
            self.waits(format!("{name}: it failed on {when}"));
        }
        if let Some(limit) = e.duration("max-age") {
            let old = age(when, self.known.at);
            if old > limit {
                self.waits(format!("{name} is {} old, {} is the limit", spoken(old), format_duration(limit)));
            }
        }
        let mut missing: Vec<String> =
            e.refs("of").map(|(id, _)| id.to_string()).filter(|id| !what.of.contains(id)).collect();
        if !missing.is_empty() {
            missing.sort();
            self.waits(format!("{name}: it says nothing of {}", missing.join(", ")));
        }
        self.bar(e, what, &name);
        if let Some(by) = e.reference("by")
            && !self.deciders.persons(by).contains(record.who.as_str())
        {
            self.waits(format!("{name}: {} has recorded it, it is for {by}", record.who));
        }
        if ty == "document" {
            self.document(e, what, &name);
        }
        if ty == "test" {
            if self.separated("author", "tester") && self.known.authors.persons.contains(&record.who) {
                self.waits(format!("{name}: {} has tested what they wrote; another person must", record.who));
            }
            self.testers.insert(record.who.clone());
        }
        if let Some(wanted) = e.duration("for") {
            let held = held(&here, wanted, self.known.at);
            if held < wanted {
                self.waits(format!("{name}: held for {}, {} are wanted", spoken(held), format_duration(wanted)));
            }
        }
        if self.decision.waits.len() == before {
            self.counts(when);
        }
    }

    /// The share that is wanted: its own, or that of the training or survey that it is of.
    fn share(&self, e: &Node) -> Option<Percent> {
        let field = match e.text("type")? {
            "training" => Some("completed"),
            "survey" => Some("responses"),
            _ => None,
        };
        let of = self.q.topology.targets(e, "of").next();
        e.percent("at-least").or_else(|| of?.percent(field?))
    }

    fn bar(&mut self, e: &Node, what: &super::record::Finding, name: &str) {
        if let Some(wanted) = super::survey::wanted(self.q.topology, e) {
            match what.figures.get("score").and_then(|s| s.parse::<f64>().ok()) {
                None => self.waits(format!("{name}: it gives no score, {wanted} is wanted")),
                Some(score) if score < wanted => self.waits(format!("{name}: score {score}, {wanted} is wanted")),
                Some(_) => {}
            }
        }
        let Some(wanted) = self.share(e) else { return };
        match what.figures.get("percent").and_then(|p| Percent::parse(p)) {
            None => self.waits(format!("{name}: it gives no share, {wanted} are wanted")),
            Some(share) if share < wanted => self.waits(format!("{name}: {share}, {wanted} are wanted")),
            Some(_) => {}
        }
    }

    fn document(&mut self, e: &Node, what: &super::record::Finding, name: &str) {
        let Some(path) = e.text("file") else { return };
        match (self.known.files.get(path), &what.document) {
            (None, _) => self.waits(format!("{name}: {path} is not there")),
            (Some(now), Some(d)) if d.path == path && d.sha256 == now.0 => {}
            (Some(_), _) => self.waits(format!("{name}: {path} has changed since it was recorded")),
        }
    }

    fn risks(&mut self, e: &Node, name: &str) {
        let named: Vec<&Node> = self.q.topology.targets(e, "of").collect();
        let all = if named.is_empty() { self.q.topology.all("risk").collect() } else { named };
        for risk in all.into_iter().filter(|r| r.text("status") == Some("open")) {
            self.waits(format!("{name}: risk {} is open", risk.id.name));
        }
    }

    /// What the phase has to leave is asked for at its exit.
    fn delivered(&mut self) {
        let Some(phase) = self.q.gate.phase.filter(|_| !self.q.gate.is_entry()) else { return };
        for path in phase.texts("delivers") {
            if !self.known.files.contains_key(path) {
                self.waits(format!("{path}, which phase {} delivers, is not there", phase.id.name));
            }
        }
    }

    fn approvals(&mut self) {
        let node = self.q.gate.gate;
        let mut asked_author = false;
        let mut not_applier = false;
        for approval in node.children("approval") {
            let not = approval.texts("not");
            let barred = |duty: &str| not.contains(&duty) || self.separated("approver", duty);
            let (author, tester, applier) = (barred("author"), barred("tester"), barred("applier"));
            asked_author |= author;
            not_applier |= applier;
            self.approval(approval, author, tester);
        }
        if asked_author && self.known.authors.unproven > 0 {
            self.one_more();
        }
        let mut not: BTreeSet<String> = BTreeSet::new();
        if not_applier {
            not.extend(self.decision.signers.iter().cloned());
        }
        if self.separated("author", "applier") {
            not.extend(self.known.authors.persons.iter().cloned());
        }
        if self.separated("tester", "applier") {
            not.extend(self.testers.iter().cloned());
        }
        let asked = not_applier || self.separated("author", "applier") || self.separated("tester", "applier");
        self.decision.not_applier = asked.then_some(not);
    }

    /// Approvals of this gate that name the present wish, by person.
    fn signed(&self) -> BTreeMap<&'a str, Timestamp> {
        let of = |s: &&&'a Signed| {
            let r = &s.record;
            r.kind == RecordKind::Approval
                && r.node == self.q.gate.gate.id.name
                && r.intent == *self.q.intent
                && self.here(r)
        };
        self.valid.iter().filter(of).map(|s| (s.record.who.as_str(), s.record.when)).collect()
    }

    fn approval(&mut self, approval: &Node, author: bool, tester: bool) {
        let Some(id) = approval.reference("name").cloned() else { return };
        let may = self.deciders.persons(&id);
        let wanted = self.deciders.wanted(approval);
        let why = |who: &str| {
            if author && self.known.authors.persons.contains(who) {
                Some("is an author")
            } else if tester && self.testers.contains(who) {
                Some("has tested")
            } else {
                None
            }
        };
        let all = self.signed();
        let (mut counted, mut not) = (Vec::new(), Vec::new());
        for (who, when) in all.iter().filter(|(who, _)| may.contains(**who)) {
            match why(who) {
                None => counted.push((*who, *when)),
                Some(duty) => not.push(format!("{who} {duty}, so the signature does not count")),
            }
        }
        if counted.len() >= wanted {
            for (who, when) in counted {
                self.decision.signers.insert(who.to_owned());
                self.counts(when);
            }
            return;
        }
        let have: Vec<&str> = counted.iter().map(|(who, _)| *who).collect();
        let left: Vec<&str> =
            may.iter().map(|p| p.as_str()).filter(|p| !all.contains_key(p) && why(p).is_none()).collect();
        let mut told = Vec::new();
        match have.as_slice() {
            [] => {}
            [one] => told.push(format!("{one} has signed")),
            more => told.push(format!("{} have signed", more.join(", "))),
        }
        told.push(match left.as_slice() {
            [] => "nobody else may".to_owned(),
            left => format!("{} may", left.join(", ")),
        });
        told.extend(not);
        let barred = may.iter().filter(|p| !all.contains_key(p.as_str()));
        told.extend(barred.filter_map(|p| why(p).map(|duty| format!("{p} {duty}"))));
        told.extend(self.other_signatures(&may, &all));
        let persons = if wanted == 1 { "person" } else { "persons" };
        self.waits(format!(
            "approval of {} {}: {} of {wanted} {persons} ({})",
            id.kind,
            id.name,
            have.len(),
            told.join("; ")
        ));
        self.decision.signers.extend(have.into_iter().map(str::to_owned));
    }

    /// Signatures for this gate that do not count, each with why.
    fn other_signatures(
        &self,
        may: &BTreeSet<smol_str::SmolStr>,
        counted: &BTreeMap<&str, Timestamp>,
    ) -> BTreeSet<String> {
        let here: Vec<&Signed> = self
            .known
            .records
            .iter()
            .filter(|s| s.record.kind == RecordKind::Approval && s.record.node == self.q.gate.gate.id.name)
            .filter(|s| s.record.environment.as_deref() == self.q.environment)
            .filter(|s| !counted.contains_key(s.record.who.as_str()))
            .collect();
        let mut told = BTreeSet::new();
        for s in here {
            let who = &s.record.who;
            if self.known.trust.is_none() {
                told.insert(format!("{who} signed at a commit that is not in this history, or whose keys were others"));
            } else if !self.deciders.owns(who, &s.key) {
                let new = self.known.now.owns(who, &s.key);
                told.insert(match new {
                    true => format!("the key of {who} came after the last approved commit"),
                    false => format!("{} is signed with a key that is not {who}'s", s.file),
                });
            } else if !may.contains(who.as_str()) {
                continue;
            } else if !self.valid.iter().any(|v| v.file == s.file) {
                told.insert(format!("{who} has taken it back"));
            } else if s.record.intent != *self.q.intent {
                told.insert(format!("{who} signed for an earlier plan: the topology has changed since"));
            } else if s.record.rehearsal && !self.q.rehearsal {
                told.insert(format!("{who} signed in a rehearsal"));
            }
        }
        told
    }

    /// Nobody can say who wrote it: one person more has to look at it, whoever has a key.
    fn one_more(&mut self) {
        let all: BTreeSet<&str> = self.signed().into_keys().collect();
        let most = self.most_needed();
        if all.len() <= most {
            let n = self.known.authors.unproven;
            let commits = if n == 1 { "1 commit is".to_owned() } else { format!("{n} commits are") };
            let have =
                if all.is_empty() { "nobody has signed".to_owned() } else { format!("{} of {}", all.len(), most + 1) };
            self.waits(format!(
                "authorship is unproven ({commits} not signed by a key of a person): one person more than the approvals want must sign, \
                 anybody with a key ({have})"
            ));
        }
    }

    /// Persons that the approvals need at least: one person may stand in several.
    fn most_needed(&self) -> usize {
        self.q.gate.gate.children("approval").map(|a| self.deciders.wanted(a)).max().unwrap_or(0)
    }
}

fn age(when: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(when)).unwrap_or_default()
}

/// A time in its largest unit, as people say it.
pub fn spoken(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        172_800.. => format!("{}d", s / 86_400),
        7_200.. => format!("{}h", s / 3_600),
        120.. => format!("{}m", s / 60),
        _ => format!("{s}s"),
    }
}

/// How long it has held without a break, up to the last look: from the first of the passed records that follow one another closely enough. One that
/// says itself how long it looked (`figures.held`, seconds) reaches back so far.
fn held(records: &[(&Signed, &super::record::Finding)], wanted: Duration, now: Timestamp) -> Duration {
    let gap = (wanted / 4).min(Duration::from_secs(86_400));
    let Some((last, _)) = records.last() else { return Duration::ZERO };
    if age(last.record.when, now) > gap.max(Duration::from_secs(60)) {
        return Duration::ZERO;
    }
    let end = last.record.when;
    let mut begin = end;
    for (signed, what) in records.iter().rev() {
        let when = signed.record.when;
        if what.result == Outcome::Fail || age(when, begin) > gap {
            break;
        }
        let looked = what.figures.get("held").and_then(|s| s.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        begin = begin.min(when.checked_sub(looked).unwrap_or(when));
    }
    age(begin, end)
}
