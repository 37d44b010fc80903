//! When a gate is open: pure decisions on topologies and records in memory.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cutover::language::{Options, compile_files};
use cutover::model::Digest;
use cutover::model::topology::Topology;
use cutover::process::board::{Course, State};
use cutover::process::gate::{Authors, Decision, Known};
use cutover::process::record::{Broken, Finding, Outcome, RECORD_VERSION, Record, RecordKind, Signed};
use cutover::process::trust::{Deciders, Trust};
use jiff::Timestamp;

pub const BASE: &str = r#"
organization acme domain=acme.example
team ops
team net parent=ops
team qa
person "[arnold,behn]" { teams ops; }
person celik { teams net; }
person dorn { teams qa; }
person boss
board cab quorum=2 { members ops boss; }
environment production purpose=production
environment lab purpose=lab runtime=containers
site s
platform open postfix="3.7"
server a platform=open site=s { roles relay; }
legacy old product=imap host=old.acme.example
preflight source on=old { find orphan; }
"#;

pub fn compile(text: &str, environment: Option<&str>) -> Topology {
    let files = [("t.kdl".to_owned(), text.as_bytes().to_vec())].into();
    let options = Options { environment: environment.map(str::to_owned), allow_unset: true, ..Options::default() };
    let c = compile_files(&files, "t.kdl", &options);
    assert!(!c.diagnostics.has_errors(), "{:#?}", c.diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>());
    c.topology
}

pub fn key(person: &str) -> String {
    format!("ssh-ed25519 KEY-{person}")
}

pub fn deciders(text: &str) -> Arc<Deciders> {
    let topology = compile(text, None);
    let keys = topology.all("person").map(|p| (p.id.name.clone(), BTreeSet::from([key(&p.id.name)]))).collect();
    Arc::new(Deciders { topology: Arc::new(topology), keys })
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A project with its records.
pub struct World {
    pub text: String,
    environment: &'static str,
    pub records: Vec<Signed>,
    broken: Vec<Broken>,
    pub trusted: Option<Arc<Deciders>>,
    authors: Authors,
    intent: &'static str,
    now: &'static str,
}

impl World {
    fn new(more: &str) -> Self {
        let text = format!("{BASE}{more}");
        let trusted = Some(deciders(&text));
        Self {
            text,
            environment: "production",
            records: Vec::new(),
            broken: Vec::new(),
            trusted,
            authors: Authors::default(),
            intent: "wish",
            now: "2026-11-23T12:00:00Z",
        }
    }

    pub fn record(&self, kind: RecordKind, node: &str, who: &str) -> Record {
        Record {
            version: RECORD_VERSION,
            kind,
            organization: "acme".into(),
            environment: Some(self.environment.into()),
            node: node.into(),
            phase: Some("build".into()),
            intent: Digest(self.intent.into()),
            deciders: Digest("d".into()),
            commit: "c".into(),
            who: who.into(),
            when: time("2026-11-23T10:00:00Z"),
            rehearsal: self.environment == "lab",
            what: None,
            revokes: None,
            note: None,
        }
    }

    fn push(&mut self, record: Record) -> &mut Self {
        let key = key(&record.who);
        self.records.push(Signed { file: format!("{}#{}", record.path(), self.records.len()), record, key });
        self
    }

    pub fn approve(&mut self, gate: &str, who: &str) -> &mut Self {
        let record = self.record(RecordKind::Approval, gate, who);
        self.push(record)
    }

    pub fn show(&mut self, node: &str, ty: &str, of: &[&str], change: impl FnOnce(&mut Record)) -> &mut Self {
        let of = of.iter().map(|s| (*s).to_owned()).collect();
        let what = Finding { ty: ty.into(), result: Outcome::Pass, of, document: None, figures: BTreeMap::new() };
        let mut record = Record { what: Some(what), ..self.record(RecordKind::Evidence, node, "dorn") };
        change(&mut record);
        self.push(record)
    }

    fn ask<R>(&self, ask: impl FnOnce(&Course) -> R) -> R {
        let now = deciders(&self.text);
        let topology = compile(&self.text, Some(self.environment));
        let trust = self.trusted.as_ref().map(|d| Trust {
            deciders: Arc::clone(d),
            commit: "0123456789abcdef".into(),
            first: false,
            refused: Vec::new(),
        });
        let files = [("there.md".to_owned(), Digest("doc".into()))].into();
        let known = Known {
            records: &self.records,
            broken: &self.broken,
            trust: trust.as_ref(),
            now: &now,
            files: &files,
            authors: &self.authors,
            at: time(self.now),
        };
        let intents = topology.all("phase").map(|p| (p.id.name.to_string(), Digest(self.intent.into()))).collect();
        ask(&Course { topology: &topology, known: &known, intents: &intents })
    }

    fn ahead(&self, phase: &str) -> Vec<Decision> {
        self.ask(|c| c.ahead(phase))
    }

    pub fn shut(&self, phase: &str) -> Vec<String> {
        self.ahead(phase).into_iter().flat_map(|d| d.waits).collect()
    }

    #[track_caller]
    fn opens(&self, phase: &str) {
        assert_eq!(self.shut(phase), Vec::<String>::new());
    }

    #[track_caller]
    fn waits(&self, phase: &str, text: &str) {
        let shut = self.shut(phase);
        assert!(shut.iter().any(|w| w.contains(text)), "`{text}` is not among {shut:#?}");
    }
}

pub fn with_approval(approval: &str) -> World {
    World::new(&format!(
        "phase build step=build environment=production {{ deploys server:a; gate start at=entry {{ {approval}; }}; }}\n"
    ))
}

pub fn with_evidence(evidence: &str) -> World {
    World::new(&format!(
        "phase build step=build environment=production {{ deploys server:a; gate start at=entry {{ {evidence}; }}; }}\n"
    ))
}

#[test]
fn a_board_counts_persons_not_teams_and_says_who_may() {
    let mut w = with_approval("approval cab");
    w.waits("build", "approval of board cab: 0 of 2 persons (arnold, behn, boss, celik may)");
    w.approve("build.start", "celik").approve("build.start", "celik");
    w.waits("build", "1 of 2 persons (celik has signed; arnold, behn, boss may)");
    // Somebody who is not on the board.
    w.approve("build.start", "dorn");
    w.waits("build", "1 of 2 persons");
    w.approve("build.start", "behn");
    w.opens("build");
}

#[test]
fn a_count_above_the_quorum_holds() {
    let mut w = with_approval("approval cab count=3");
    w.approve("build.start", "celik").approve("build.start", "behn");
    w.waits("build", "2 of 3 persons");
    w.approve("build.start", "boss");
    w.opens("build");
}

#[test]
fn each_approval_of_a_gate_is_wanted() {
    let mut w = with_approval("approval cab; approval dorn");
    w.approve("build.start", "celik").approve("build.start", "behn");
    w.waits("build", "approval of person dorn");
    w.approve("build.start", "dorn");
    w.opens("build");
}

#[test]
fn who_has_written_it_does_not_approve_it() {
    let mut w = with_approval("approval boss");
    w.approve("build.start", "boss");
    w.opens("build");
    w.authors.persons.insert("boss".into());
    w.waits("build", "boss is an author, so the signature does not count");
}

#[test]
fn where_nobody_knows_who_wrote_it_one_more_signs() {
    let mut w = with_approval("approval boss");
    w.authors.unproven = 3;
    w.approve("build.start", "boss");
    w.waits("build", "authorship is unproven (3 commits are not signed");
    w.approve("build.start", "dorn");
    w.opens("build");
}

#[test]
fn who_tests_does_not_approve_where_duties_are_kept_apart() {
    let more = "separation duties { of approver tester; }\n\
        test-plan t environment=production { scenario s as=user { covers server:a; }; }\n\
        phase build step=build environment=production { deploys server:a; gate start at=entry { evidence e type=test { of test-plan:t; }; approval dorn; }; }\n";
    let mut w = World::new(more);
    w.show("build.start.e", "test", &["test-plan:t"], |_| {}).approve("build.start", "dorn");
    w.waits("build", "dorn has tested, so the signature does not count");
    // Another one tests.
    w.records.clear();
    w.show("build.start.e", "test", &["test-plan:t"], |r| r.who = "boss".into()).approve("build.start", "dorn");
    w.opens("build");
}

#[test]
fn who_approves_does_not_apply_where_duties_are_kept_apart() {
    let mut w = with_approval("approval boss { not author applier; }");
    w.approve("build.start", "boss");
    let ahead = w.ahead("build");
    assert_eq!(ahead[0].not_applier, Some(BTreeSet::from(["boss".to_owned()])));
    let w = with_approval("approval boss");
    assert_eq!(w.ahead("build")[0].not_applier, None, "nobody asks who applies");
}

#[test]
fn a_signature_for_another_wish_does_not_count() {
    let mut w = with_approval("approval boss");
    w.intent = "former";
    w.approve("build.start", "boss");
    w.opens("build");
    w.intent = "wish";
    w.waits("build", "boss signed for an earlier plan: the topology has changed since");
}

#[test]
fn only_who_has_signed_takes_it_back() {
    let mut w = with_approval("approval boss");
    w.approve("build.start", "boss");
    let of = w.records[0].record.digest();
    let other = Record { revokes: Some(of.clone()), ..w.record(RecordKind::Revocation, "build.start", "dorn") };
    w.push(other);
    w.opens("build");
    let own = Record { revokes: Some(of), ..w.record(RecordKind::Revocation, "build.start", "boss") };
    w.push(own);
    w.waits("build", "boss has taken it back");
}

#[test]
fn what_was_shown_in_a_lab_opens_nothing_in_production() {
    let mut w = with_evidence("evidence e type=attest by=dorn; approval boss");
    w.environment = "lab";
    w.show("build.start.e", "attest", &[], |_| {}).approve("build.start", "boss");
    w.opens("build");
    w.environment = "production";
    w.waits("build", "what was shown in a rehearsal does not count here");
    w.waits("build", "approval of person boss: 0 of 1");
    // Nor where somebody moves the file over: its signature says that it was a rehearsal.
    for s in &mut w.records {
        s.record.environment = Some("production".into());
    }
    w.waits("build", "boss signed in a rehearsal");
}

#[test]
fn evidence_grows_old() {
    let mut w = with_evidence("evidence e type=preflight max-age=\"30d\" { of source; }");
    w.waits("build", "evidence build.start.e (preflight): nothing recorded yet");
    w.show("build.start.e", "preflight", &["preflight:source"], |r| r.when = time("2026-10-23T11:00:00Z"));
    w.waits("build", "is 31d old, 30d is the limit");
    w.show("build.start.e", "preflight", &["preflight:source"], |r| r.when = time("2026-10-25T12:00:00Z"));
    w.opens("build");
}

#[test]
fn the_youngest_record_of_evidence_speaks() {
    let mut w = with_evidence("evidence e type=preflight { of source; }");
    w.show("build.start.e", "preflight", &["preflight:source"], |_| {});
    w.opens("build");
    w.show("build.start.e", "preflight", &["preflight:source"], |r| {
        r.when = time("2026-11-23T11:00:00Z");
        r.what.as_mut().unwrap().result = Outcome::Fail;
    });
    w.waits("build", "it failed on 2026-11-23T11:00:00Z");
}

#[test]
fn evidence_is_of_all_that_it_shall_be_of() {
    let mut w = with_evidence("evidence e type=preflight { of source; }");
    w.show("build.start.e", "preflight", &[], |_| {});
    w.waits("build", "it says nothing of preflight:source");
}

#[test]
fn evidence_reaches_its_bar() {
    let mut w = with_evidence("evidence e type=attest at-least=\"99.9%\" by=dorn");
    w.waits("build", "at least 99.9%");
    let share = |p: &str| {
        let p = p.to_owned();
        move |r: &mut Record| drop(r.what.as_mut().unwrap().figures.insert("percent".into(), p))
    };
    w.show("build.start.e", "attest", &[], |_| {});
    w.waits("build", "it gives no share, 99.9% are wanted");
    w.records.clear();
    w.show("build.start.e", "attest", &[], share("99.89%"));
    w.waits("build", "99.89%, 99.9% are wanted");
    w.records.clear();
    w.show("build.start.e", "attest", &[], share("99.9%"));
    w.opens("build");
}

#[test]
fn evidence_is_shown_by_whom_it_is_for() {
    let mut w = with_evidence("evidence e type=attest by=ops");
    w.waits("build", "to be shown by team:ops");
    w.show("build.start.e", "attest", &[], |r| r.who = "dorn".into());
    w.waits("build", "dorn has recorded it, it is for team:ops");
    w.show("build.start.e", "attest", &[], |r| {
        r.who = "celik".into();
        r.when = time("2026-11-23T11:00:00Z");
    });
    w.opens("build");
}

#[test]
fn evidence_held_for_a_time_has_no_holes() {
    let mut w = with_evidence("evidence e type=attest for=\"4d\" by=dorn");
    let at = |day: u32| time(&format!("2026-11-{day:02}T11:30:00Z"));
    for day in 19..=23 {
        w.show("build.start.e", "attest", &[], |r| r.when = at(day));
    }
    w.opens("build");
    w.records.remove(2);
    w.waits("build", "4d are wanted");
    // A failure in between begins it anew.
    w.show("build.start.e", "attest", &[], |r| {
        r.when = at(21);
        r.what.as_mut().unwrap().result = Outcome::Fail;
    });
    w.waits("build", "4d are wanted");
}

#[test]
fn a_document_is_the_one_that_was_recorded() {
    let mut w = with_evidence("evidence e type=document file=\"there.md\"");
    let document = |sha256: &str| {
        let sha256 = sha256.to_owned();
        move |r: &mut Record| {
            r.what.as_mut().unwrap().document =
                Some(cutover::process::record::Document { path: "there.md".into(), sha256 });
        }
    };
    w.show("build.start.e", "document", &[], document("former"));
    w.waits("build", "there.md has changed since it was recorded");
    w.records.clear();
    w.show("build.start.e", "document", &[], document("doc"));
    w.opens("build");
}

#[test]
fn an_open_risk_keeps_the_gate_shut() {
    let risk = |status: &str| {
        format!(
            "risk r likelihood=low impact=low mitigation=\"m\" status={status} owner=ops\n\
             phase build step=build environment=production {{ deploys server:a; gate start at=entry {{ evidence e type=risks-closed; }}; }}\n"
        )
    };
    World::new(&risk("open")).waits("build", "risk r is open");
    World::new(&risk("mitigated")).opens("build");
}

#[test]
fn an_exit_gate_opens_what_comes_after_it_and_an_entry_gate_its_own_phase() {
    let mut w = World::new(
        "phase build step=build environment=production { deploys server:a; gate ready { approval boss; }; }\n\
         phase pilot step=pilot environment=production { after build; deploys server:a; gate go at=entry { approval dorn; }; }\n\
         phase main step=deploy environment=production { after pilot; deploys server:a; }\n",
    );
    w.opens("build");
    assert_eq!(w.shut("pilot").len(), 2);
    w.waits("main", "approval of person boss");
    assert_eq!(w.shut("main").len(), 1, "the entry of an earlier phase is behind us");
    w.approve("build.ready", "boss").approve("pilot.go", "dorn");
    w.opens("pilot");
    let states: Vec<_> = w.ask(|c| c.rows()).into_iter().map(|r| (r.phase, r.state)).collect();
    let wanted = [("build", State::Done), ("pilot", State::Open), ("main", State::Open)];
    assert_eq!(states, wanted.map(|(p, s)| (p.to_owned(), s)));
}

#[test]
fn a_broken_record_shuts_the_gate_that_it_was_for() {
    let mut w = with_approval("approval boss");
    w.approve("build.start", "boss");
    w.opens("build");
    let file = "records/production/build.start/x.json".to_owned();
    w.broken.push(Broken { file, why: "changed".into() });
    w.waits("build", "records/production/build.start/x.json does not count: changed");
    assert!(w.ahead("build")[0].hard);
}

#[test]
fn without_any_approval_nobodys_key_is_known() {
    let mut w = with_approval("approval boss");
    w.trusted = None;
    w.approve("build.start", "boss");
    w.waits("build", "approval of person boss: 0 of 1");
}

#[test]
fn an_overlay_decides_nothing() {
    let gate =
        "phase build step=build environment=production { deploys server:a; gate start at=entry { approval boss; }; }\n";
    let mut w = World::new(gate);
    w.text = w.text.replace(
        "environment production purpose=production\n",
        "environment production purpose=production { (patch)board cab quorum=1; (patch)person dorn { (add)teams ops; }; (remove)phase build; }\n",
    );
    w.waits("build", "approval of person boss");
    // A phase of the overlay's own has no gates that anybody agreed to.
    w.waits("other", "it stands in an overlay only");
}

#[test]
fn a_gate_that_is_made_easier_stays_shut_until_its_deciders_agree() {
    let hard =
        "phase build step=build environment=production { deploys server:a; gate start at=entry { approval cab; }; }\n";
    for easier in [
        hard.replace("approval cab;", "approval dorn;"),
        hard.replace("gate start at=entry { approval cab; };", ""),
        hard.replace(" at=entry", ""),
    ] {
        let mut w = World::new(hard);
        w.text = format!("{BASE}{easier}");
        w.approve("build.start", "dorn");
        w.waits("build", "2 of cab must sign the change");
    }
    // More persons on the board, with keys of their own.
    let mut w = World::new(hard);
    w.text = w.text.replace("person boss", "person boss\nperson \"[mallory,eve]\" { teams ops; }");
    w.approve("build.start", "mallory").approve("build.start", "eve");
    w.waits("build", "0 of 2 persons");
    w.waits("build", "the key of mallory came after the last approved commit");
    w.waits("build", "2 of cab must sign the change");
}
