//! Whose signatures count: persons, keys, boards and gates as they were when those who decide last agreed to them.
//!
//! Who decides stands in the topology, and whoever changes the topology could make themselves one of them. So a change of who opens a gate
//! holds only after those have signed who could open that gate before it. Nobody adds a key and signs with it in one change, and an overlay
//! that a change brings along says nothing about that change.
//!
//! ```text
//! first approval ──taken on trust──▶ deciders ──records that name others, signed by enough of these──▶ deciders ──▶ …
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use super::record::{RecordKind, Signed};
use crate::model::Digest;
use crate::model::course::{Gate, Signers, evidence, gates};
use crate::model::topology::{Node, NodeId, Topology, Value};

/// Who decides, as one state of the topology has it.
#[derive(Debug, Clone)]
pub struct Deciders {
    pub topology: Arc<Topology>,
    /// Of each person the public keys, as `TYPE BASE64`.
    pub keys: BTreeMap<SmolStr, BTreeSet<String>>,
}

/// Kinds that say who decides.
const KINDS: [&str; 5] = ["person", "team", "board", "separation", "evidence"];

impl Deciders {
    /// Over everything that says who opens which gate by what. Names, notes and dates of people have no part in it.
    pub fn digest(&self) -> Digest {
        let mut text = String::from("cutover deciders 1\n");
        for kind in KINDS {
            for node in self.topology.all(kind) {
                told(
                    node,
                    &["display", "email", "role", "informed", "signing-key", "meets", "on-call", "smf", "tier"],
                    &mut text,
                );
            }
        }
        for (person, keys) in &self.keys {
            keys.iter().for_each(|k| text.push_str(&format!("key {person} {k}\n")));
        }
        for gate in gates(&self.topology) {
            text.push_str(&format!("gate {} of {}\n", gate.gate.id, gate.phase.map_or("", |p| p.id.name.as_str())));
            told(gate.gate, &[], &mut text);
        }
        Digest::of(text.as_bytes())
    }

    pub fn person(&self, name: &str) -> Option<&Node> {
        self.topology.get("person", name)
    }

    /// Whether this key is this person's.
    pub fn owns(&self, person: &str, key: &str) -> bool {
        self.keys.get(person).is_some_and(|all| all.contains(key))
    }

    /// The person whose key this is.
    pub fn holder(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(_, all)| all.contains(key)).map(|(person, _)| person.as_str())
    }

    pub fn gate(&self, id: &NodeId) -> Option<Gate<'_>> {
        gates(&self.topology).into_iter().find(|g| g.gate.id == *id)
    }

    /// Persons who may sign for a team, board or person.
    pub fn persons(&self, of: &NodeId) -> BTreeSet<SmolStr> {
        Signers::of(&self.topology).persons(of).into_keys().map(|id| id.name.clone()).collect()
    }

    /// How many persons an approval wants.
    pub fn wanted(&self, approval: &Node) -> usize {
        let number = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        let count = number(approval.int("count"));
        let board = approval.reference("name").filter(|id| id.kind == "board");
        let quorum = board.and_then(|id| self.topology.nodes.get(id)).map_or(1, |b| number(b.int("quorum")));
        count.max(quorum).max(1)
    }

    /// All that a gate's opening hangs on: changed where those who decide have to say so.
    fn of_gate(&self, gate: &Gate) -> String {
        let mut text = String::new();
        told(gate.gate, &[], &mut text);
        for e in evidence(&self.topology, gate.gate) {
            told(e, &[], &mut text);
        }
        let approvals = gate.gate.children("approval").filter_map(|a| Some((a, a.reference("name")?)));
        for (approval, id) in approvals {
            text.push_str(&format!("{id} wants {}\n", self.wanted(approval)));
            for person in self.persons(id) {
                text.push_str(&format!("{person} {:?}\n", self.keys.get(&person)));
            }
        }
        self.topology.all("separation").for_each(|s| told(s, &[], &mut text));
        text
    }
}

/// A node with all its values, in a form that differs where it does.
pub fn told(node: &Node, without: &[&str], out: &mut String) {
    out.push_str(&format!("{} {{", node.id));
    for (name, field) in node.fields.iter().filter(|(name, _)| !without.contains(name)) {
        out.push_str(&format!(" {name}="));
        for v in &field.values {
            match &v.value {
                Value::Ref(id) => out.push_str(&format!("{id:?} ")),
                other => out.push_str(&format!("{other:?} ")),
            }
        }
    }
    node.children.iter().for_each(|c| told(c, without, out));
    out.push_str("}\n");
}

/// Whose signatures count, and since when.
#[derive(Debug, Clone)]
pub struct Trust {
    pub deciders: Arc<Deciders>,
    /// The last approved commit.
    pub commit: String,
    /// Nobody has agreed to these keys but their holders.
    pub first: bool,
    /// Records that would change who decides and lack signatures, told for people.
    pub refused: Vec<String>,
}

/// Goes through the approvals in the order of the commits that they name (the caller sorts them; those of other histories are left out).
/// `at`: who decided at a commit, `None` where that cannot be said.
pub fn walk(records: &[&Signed], at: &mut dyn FnMut(&str) -> Option<Arc<Deciders>>) -> Option<Trust> {
    // Whose key is whose is what is being found out here, so only the same key takes something back.
    let revoked = revoked_by(records, |a, b| a.key == b.key);
    let approvals =
        records.iter().filter(|s| s.record.kind == RecordKind::Approval && !revoked.contains(&s.record.digest()));
    let mut trust: Option<(Arc<Deciders>, Digest, String, bool)> = None;
    // By what they say who decides: persons of the present deciders who have signed it.
    let mut wanted: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    let mut open: BTreeMap<Digest, String> = BTreeMap::new();
    for s in approvals {
        let r = &s.record;
        let Some((deciders, digest, commit, first)) = &mut trust else {
            // The first one: its signer must at least be a person of the commit that it names.
            let Some(found) = at(&r.commit).filter(|d| d.digest() == r.deciders && d.owns(&r.who, &s.key)) else {
                continue;
            };
            trust = Some((found, r.deciders.clone(), r.commit.clone(), true));
            continue;
        };
        if !deciders.owns(&r.who, &s.key) {
            continue;
        }
        if r.deciders == *digest {
            commit.clone_from(&r.commit);
            continue;
        }
        let signers = wanted.entry(r.deciders.clone()).or_default();
        signers.insert(r.who.clone());
        let Some(next) = at(&r.commit).filter(|d| d.digest() == r.deciders) else { continue };
        match lacking(deciders, &next, signers) {
            None => {
                open.remove(&r.deciders);
                (*deciders, *digest, *commit, *first) = (next, r.deciders.clone(), r.commit.clone(), false);
            }
            Some(why) => drop(open.insert(r.deciders.clone(), why)),
        }
    }
    let (deciders, digest, commit, first) = trust?;
    open.remove(&digest);
    Some(Trust { deciders, commit, first, refused: open.into_values().collect() })
}

/// Gates whose opening `next` would change, each with what its present deciders have not signed.
fn lacking(now: &Deciders, next: &Deciders, signers: &BTreeSet<String>) -> Option<String> {
    changed(now, next).into_iter().find_map(|gate| {
        gate.gate.children("approval").find_map(|approval| {
            let id = approval.reference("name")?;
            let may = now.persons(id);
            let have = may.iter().filter(|p| signers.contains(p.as_str())).count();
            let wanted = now.wanted(approval);
            (have < wanted).then(|| {
                format!(
                    "who opens gate {} would change: {have} of {wanted} persons of {id} have signed that",
                    gate.gate.id.name
                )
            })
        })
    })
}

/// The gates of `now` that open otherwise in `next`, or are gone there. New gates take nothing from anybody.
pub fn changed<'d>(now: &'d Deciders, next: &Deciders) -> Vec<Gate<'d>> {
    let differs = |g: &Gate| next.gate(&g.gate.id).is_none_or(|other| next.of_gate(&other) != now.of_gate(g));
    gates(&now.topology).into_iter().filter(differs).collect()
}

/// Digests of records that their own signers have taken back, of records whose keys are their persons'. Nobody takes back what another one said.
pub fn revoked(records: &[&Signed]) -> BTreeSet<Digest> {
    revoked_by(records, |_, _| true)
}

fn revoked_by(records: &[&Signed], may: impl Fn(&Signed, &Signed) -> bool) -> BTreeSet<Digest> {
    let by: BTreeMap<Digest, &Signed> = records.iter().map(|s| (s.record.digest(), *s)).collect();
    let taken = |s: &&Signed| {
        let digest = s.record.revokes.clone()?;
        let of = by.get(&digest)?;
        (of.record.who == s.record.who && may(s, of)).then_some(digest)
    };
    records.iter().filter(|s| s.record.kind == RecordKind::Revocation).filter_map(taken).collect()
}
