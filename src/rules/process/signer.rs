//! Boards, approvals and separated duties: whether the signatures can be given.

use super::{Signers, gates};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "quorum-unreachable",
        code: "L5201",
        severity: Severity::Error,
        about: "A board has as many persons who can sign as its quorum wants.",
        source: "schemas/4-operations.kdl: board.quorum (counts persons), person.signing-key",
        check: quorum,
    },
    Rule {
        name: "approval-unreachable",
        code: "L5202",
        severity: Severity::Error,
        about: "Behind each approval stand as many persons who can sign as it wants, the author not counted.",
        source: "schemas/4-operations.kdl: approval.count, approval.not, person.signing-key",
        check: approval,
    },
    Rule {
        name: "signer-without-key",
        code: "L5203",
        severity: Severity::Error,
        about: "A person whose approval is asked for has a signing key.",
        source: "schemas/4-operations.kdl: person.signing-key",
        check: without_key,
    },
    Rule {
        name: "duty-of-nobody",
        code: "L5204",
        severity: Severity::Warning,
        about: "Where the tester of a change is kept apart from others, each change names its tester.",
        source: "schemas/4-operations.kdl: separation.of, change.tester",
        check: duty,
    },
];

fn can_sign(person: &Node) -> bool {
    person.value("signing-key").is_some()
}

/// `3 persons`, and how many of them lack a key.
fn counted(all: usize, able: usize) -> String {
    let lack = all - able;
    let people = if all == 1 { "1 person".to_owned() } else { format!("{all} persons") };
    if lack == 0 { people } else { format!("{people}, {lack} without a signing key") }
}

fn quorum(t: &Facts, out: &mut Findings) {
    let signers = Signers::of(t.topology());
    for board in t.all("board") {
        let wanted = board.int("quorum").and_then(|q| usize::try_from(q).ok()).unwrap_or(1);
        let persons = signers.persons(&board.id);
        let able = persons.values().filter(|p| can_sign(p)).count();
        if able < wanted {
            out.push(
                &board.id,
                format!("board `{}` has {}, its quorum is {wanted}", board.id.name, counted(persons.len(), able)),
                |d| {
                    let d = d.label(board.at("quorum"), "never reached").label(board.at("members"), "its members");
                    d.help("add persons with teams=.. and signing-key=.., or lower the quorum")
                },
            );
        }
    }
}

/// Every approval, with the node that an `allow` names and the one that it stands in.
fn approvals<'t>(t: &Facts<'t>) -> Vec<(&'t Node, &'t Node, &'t Node)> {
    let mut all: Vec<(&Node, &Node)> = gates(t).into_iter().map(|g| (g.top, g.gate)).collect();
    for kind in ["change", "risk", "waiver"] {
        all.extend(t.topology().all(kind).map(|n| (n, n)));
    }
    all.into_iter().flat_map(|(top, of)| of.children("approval").map(move |a| (top, of, a))).collect()
}

fn approval(t: &Facts, out: &mut Findings) {
    let signers = Signers::of(t.topology());
    for (top, of, a) in approvals(t) {
        let Some(id) = a.reference("name").filter(|id| id.kind != "person") else { continue };
        let count = a.int("count").and_then(|c| usize::try_from(c).ok()).unwrap_or(1);
        let quorum = t.nodes.get(id).and_then(|b| b.int("quorum")).and_then(|q| usize::try_from(q).ok()).unwrap_or(1);
        let persons = signers.persons(id);
        let able = persons.values().filter(|p| can_sign(p)).count();
        // A board that never reaches its own quorum is another rule's.
        if id.kind == "board" && able < quorum {
            continue;
        }
        let barred = ["author", "tester"].into_iter().filter(|duty| a.texts("not").contains(duty));
        // A team as author is one person of it.
        let authors = barred.filter_map(|duty| of.reference(duty).map(|who| (duty, who)));
        let out_of_it: Vec<&str> =
            authors.filter(|(_, who)| persons.contains_key(who) || *who == id).map(|(duty, _)| duty).collect();
        let left = able.saturating_sub(out_of_it.len().min(1));
        let wanted = count.max(if id.kind == "board" { quorum } else { 1 });
        if left < wanted {
            let without = out_of_it.first().map_or(String::new(), |duty| format!(", one of them the {duty}"));
            let message =
                format!("{wanted} of `{}` must sign, it has {}{without}", id.name, counted(persons.len(), able));
            out.push(&top.id, message, |d| {
                let d = d.label(a.at("name"), "never given");
                let d = match out_of_it.first() {
                    Some(duty) => d.label(of.at(duty), format!("the {duty} does not sign")),
                    None => d.label(t.nodes.get(id).map_or(a.span, |n| n.span), "too few persons with a key"),
                };
                d.help("add persons with teams=.. and signing-key=.., or ask another team")
            });
        }
    }
}

fn without_key(t: &Facts, out: &mut Findings) {
    for (top, _, a) in approvals(t) {
        let Some(person) = t.target(a, "name").filter(|p| p.id.kind == "person" && !can_sign(p)) else { continue };
        out.push(&top.id, format!("`{}` must sign and has no signing key", person.id.name), |d| {
            d.label(a.at("name"), "never given")
                .label(person.span, "no key")
                .help("write signing-key=\"people/NAME.pub\" at the person")
        });
    }
}

fn duty(t: &Facts, out: &mut Findings) {
    let Some(separation) = t.all("separation").find(|s| s.texts("of").contains(&"tester")) else { return };
    for c in t.all("change").filter(|c| c.value("tester").is_none()) {
        out.push(&c.id, format!("nobody tests change `{}`", c.id.name), |d| {
            d.label(c.span, "no tester")
                .label(separation.at("of"), "kept apart from the others")
                .help("write tester=PERSON, another one than the author")
        });
    }
}
