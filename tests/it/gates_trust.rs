//! Whose signatures count, and that each of them is needed.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::collections::BTreeMap;
use std::sync::Arc;

use cutover::model::Digest;
use cutover::process::record::{Record, RecordKind, Signed};
use cutover::process::trust::{Deciders, Trust, walk};
use proptest::prelude::*;

use super::gates_decisions::{BASE, deciders, key, with_approval, with_evidence};

struct History(BTreeMap<&'static str, Arc<Deciders>>);

impl History {
    fn trust(&self, records: &[Signed]) -> Option<Trust> {
        walk(&records.iter().collect::<Vec<_>>(), &mut |c| self.0.get(c).cloned())
    }

    fn sign(&self, who: &str, commit: &str) -> Signed {
        let w = with_approval("approval boss");
        let deciders = self.0[commit].digest();
        let record = Record { commit: commit.into(), deciders, ..w.record(RecordKind::Approval, "build.start", who) };
        Signed { file: format!("{who}-{commit}"), record, key: key(who) }
    }
}

fn history() -> History {
    let gate =
        "phase build step=build environment=production { deploys server:a; gate start at=entry { approval cab; }; }\n";
    let old = format!("{BASE}{gate}");
    let new = old.replace("person boss", "person boss\nperson eve { teams ops; }");
    History([("old", deciders(&old)), ("new", deciders(&new))].into())
}

#[test]
fn a_key_of_the_same_change_cannot_sign_for_it() {
    let h = history();
    let first = h.sign("boss", "old");
    let trust = h.trust(std::slice::from_ref(&first)).unwrap();
    assert!(trust.first && trust.commit == "old");
    // Eve signs for herself; so does one of two members.
    for signers in [vec!["eve"], vec!["eve", "celik"], vec!["eve", "dorn", "celik"]] {
        let mut all = vec![first.clone()];
        all.extend(signers.iter().map(|s| h.sign(s, "new")));
        let trust = h.trust(&all).unwrap();
        assert_eq!(trust.commit, "old", "{signers:?}");
        assert!(!trust.deciders.owns("eve", &key("eve")));
    }
    let all = [first, h.sign("celik", "new"), h.sign("behn", "new")];
    let trust = h.trust(&all).unwrap();
    assert_eq!((trust.commit.as_str(), trust.first), ("new", false));
    assert!(trust.deciders.owns("eve", &key("eve")));
}

#[test]
fn a_record_that_lies_about_who_decides_moves_nothing() {
    let h = history();
    let mut lie = h.sign("boss", "old");
    lie.record.deciders = h.0["new"].digest();
    assert!(h.trust(std::slice::from_ref(&lie)).is_none(), "the first one is checked against its commit");
    let mut lie = h.sign("eve", "old");
    lie.record.deciders = h.0["new"].digest();
    assert!(h.trust(&[lie]).is_none());
    // A stolen name with another key.
    let mut forged = h.sign("boss", "old");
    forged.key = key("eve");
    assert!(h.trust(&[forged]).is_none());
}

#[test]
fn who_takes_an_approval_back_takes_its_trust_back() {
    let h = history();
    let (first, celik, behn) = (h.sign("boss", "old"), h.sign("celik", "new"), h.sign("behn", "new"));
    let mut back = h.sign("behn", "new");
    back.record.kind = RecordKind::Revocation;
    back.record.revokes = Some(behn.record.digest());
    assert_eq!(h.trust(&[first.clone(), celik.clone(), behn.clone()]).unwrap().commit, "new");
    assert!(
        h.trust(&[first.clone(), celik.clone(), behn.clone(), back.clone()]).unwrap().first,
        "one of two is not enough"
    );
    back.key = key("eve");
    assert!(!h.trust(&[first, celik, behn, back]).unwrap().first);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// An open gate is shut by taking away any one record that it needs, and by any change of what the record says.
    #[test]
    fn each_record_that_a_gate_needs_is_needed(
        quorum in 1_usize..=3, count in 1_usize..=4, bosses in any::<bool>(), evidence in 0_usize..3, order in any::<u64>(),
    ) {
        let gate = {
            let mut inner = format!("approval cab count={count};");
            if bosses {
                inner.push_str(" approval dorn;");
            }
            for n in 0..evidence {
                inner.push_str(&format!(" evidence e{n} type=preflight max-age=\"2d\" {{ of source; }};"));
            }
            inner
        };
        let mut w = with_evidence(&gate);
        w.text = w.text.replace("quorum=2", &format!("quorum={quorum}"));
        w.trusted = Some(deciders(&w.text));
        let members = ["arnold", "behn", "boss", "celik"];
        let wanted = quorum.max(count);
        let start = usize::try_from(order % 4).unwrap();
        for n in 0..wanted {
            w.approve("build.start", members[(start + n) % 4]);
        }
        if bosses {
            w.approve("build.start", "dorn");
        }
        for n in 0..evidence {
            w.show(&format!("build.start.e{n}"), "preflight", &["preflight:source"], |_| {});
        }
        prop_assert_eq!(w.shut("build"), Vec::<String>::new());
        let whole = w.records.clone();
        for at in 0..whole.len() {
            w.records = whole.clone();
            w.records.remove(at);
            prop_assert!(!w.shut("build").is_empty(), "without {}", whole[at].file);
            let changes: [fn(&mut Signed); 6] = [
                |s| s.record.environment = Some("other".into()),
                |s| s.record.environment = None,
                |s| s.record.rehearsal = true,
                |s| s.record.node = "build.other".into(),
                |s| s.key = "ssh-ed25519 OTHER".into(),
                |s| s.record.kind = RecordKind::Certificate,
            ];
            for (n, change) in changes.iter().enumerate() {
                w.records = whole.clone();
                change(&mut w.records[at]);
                prop_assert!(!w.shut("build").is_empty(), "change {n} of {}", whole[at].file);
            }
            if whole[at].record.kind == RecordKind::Approval {
                w.records = whole.clone();
                w.records[at].record.intent = Digest("other".into());
                prop_assert!(!w.shut("build").is_empty(), "another wish in {}", whole[at].file);
            }
        }
    }
}
