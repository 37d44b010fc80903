//! Runbooks, policies, agreements and waivers.

use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "runbook-untested",
        code: "L5701",
        severity: Severity::Warning,
        about: "A runbook that a change, an alert or a routine leads to was tested: it is read when there is no time.",
        source: "schemas/4-operations.kdl: runbook (tested resolution)",
        check: untested,
    },
    Rule {
        name: "ticket-without-policy",
        code: "L5702",
        severity: Severity::Warning,
        about: "Where alerts open problems, a problem policy says what becomes of them.",
        source: "Microsoft Operations Framework, Problem Management; schemas/4-operations.kdl: problem-policy",
        check: without_policy,
    },
    Rule {
        name: "problem-policy-of-nothing",
        code: "L5703",
        severity: Severity::Warning,
        about: "A problem policy names the rules whose incidents become problems.",
        source: "schemas/4-operations.kdl: problem-policy.mandatory",
        check: policy_of_nothing,
    },
    Rule {
        name: "agreement-of-nobody",
        code: "L5704",
        severity: Severity::Warning,
        about: "An operational level agreement or a contract has the team that promises it.",
        source: "Microsoft Operations Framework, Service Level Management; schemas/4-operations.kdl: sla.agreement, sla.owner",
        check: agreement,
    },
    Rule {
        name: "waiver-of-nobody",
        code: "L5705",
        severity: Severity::Warning,
        about: "Somebody approves a deviation from a baseline.",
        source: "schemas/2-topology.kdl: waiver, approval",
        check: waiver,
    },
];

fn untested(t: &Facts, out: &mut Findings) {
    for r in t.all("runbook").filter(|r| r.value("tested-by").is_none()) {
        let used = t.referrers(&r.id).iter().find(|u| matches!(u.field, "rollout" | "rollback" | "runbook" | "steps"));
        let Some(used) = used else { continue };
        out.push(&r.id, format!("nobody tested runbook `{}`", r.id.name), |d| {
            d.label(r.span, "untested")
                .label(used.span, format!("{} `{}` leads to it", used.top.id.kind, used.top.id.name))
                .help("write tested-by=TEAM once it was")
        });
    }
}

fn rules<'t>(t: &'t Facts) -> impl Iterator<Item = (&'t Node, &'t Node)> {
    t.topology().all("monitor").flat_map(|m| m.children("rule").map(move |r| (m, r)))
}

fn without_policy(t: &Facts, out: &mut Findings) {
    if t.all("problem-policy").next().is_some() {
        return;
    }
    for (m, r) in rules(t).filter(|(_, r)| r.text("ticket") == Some("problem")) {
        out.push(&m.id, format!("rule `{}` of `{}` opens problems that nobody follows up", r.name(), m.id.name), |d| {
            d.label(r.at("ticket"), "what becomes of it?")
                .help("declare problem-policy NAME owner=TEAM { mandatory MONITOR.RULE; }")
        });
    }
}

fn policy_of_nothing(t: &Facts, out: &mut Findings) {
    for p in t.all("problem-policy").filter(|p| p.value("mandatory").is_none()) {
        out.push(&p.id, format!("no incident becomes a problem by `{}`", p.id.name), |d| {
            d.label(p.span, "no rule is mandatory").help("write { mandatory MONITOR.RULE ..; }")
        });
    }
}

fn agreement(t: &Facts, out: &mut Findings) {
    for s in
        t.all("sla").filter(|s| matches!(s.text("agreement"), Some("ola" | "contract")) && s.value("owner").is_none())
    {
        out.push(&s.id, format!("nobody promises `{}`", s.id.name), |d| {
            d.label(s.at("agreement"), "whose?").help("write owner=TEAM")
        });
    }
}

fn waiver(t: &Facts, out: &mut Findings) {
    for w in t.all("waiver").filter(|w| w.children("approval").next().is_none()) {
        out.push(&w.id, format!("nobody approves waiver `{}`", w.id.name), |d| {
            d.label(w.span, "no approval").help("add { approval PERSON; } to it")
        });
    }
}
