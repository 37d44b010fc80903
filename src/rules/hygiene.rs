//! What is written and has no effect.

use std::collections::BTreeSet;

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::version::PRODUCTS;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "unused-variable",
        code: "L1701",
        severity: Severity::Warning,
        about: "A variable is used: else setting it changes nothing.",
        source: "schemas/1-core.kdl (variable)",
        check: unused_variable,
    },
    Rule {
        name: "never-deployed",
        code: "L1702",
        severity: Severity::Warning,
        about: "What stands in the topology is deployed by some phase: else it is never made.",
        source: "docs/architecture.md",
        check: never_deployed,
    },
    Rule {
        name: "unused-declaration",
        code: "L1703",
        severity: Severity::Warning,
        about: "What others refer to is referred to: else a name is wrong, or it can go.",
        source: "docs/architecture.md",
        check: unused_declaration,
    },
    Rule {
        name: "platform-without-product",
        code: "L1704",
        severity: Severity::Error,
        about: "A platform names a product with its version: else no pack fits its servers, and no limit of a version is checked.",
        source: "schemas/2-topology.kdl (platform, at least one product)",
        check: platform_without_product,
    },
];

fn unused_variable(t: &Facts, out: &mut Findings) {
    for v in t.all("variable").filter(|v| !t.topology().mentioned.contains(v.id.name.as_str())) {
        out.push(&v.id, format!("nothing uses the variable `{}`", v.id.name), |d| {
            d.label(v.span, "set for nothing").help(format!("write ${} where it is meant, or take it away", v.id.name))
        });
    }
}

/// Kinds that a phase deploys and that hosts or users would miss.
const MADE: [&str; 10] =
    ["server", "pair", "dag", "ccr", "database", "zone", "mail-auth", "certificate", "connector", "proxy"];

fn never_deployed(t: &Facts, out: &mut Findings) {
    let Some(environment) = t.environment.as_deref() else { return };
    let phases: Vec<&Node> = t
        .topology()
        .all("phase")
        .filter(|p| p.text("environment") == Some(environment) && p.value("deploys").is_some())
        .collect();
    let Some(first) = phases.first() else { return };
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    let mut open: Vec<&NodeId> = Vec::new();
    for v in phases.iter().flat_map(|p| p.values("deploys").chain(p.values("migrates"))) {
        match &v.value {
            Value::Ref(id) => open.push(id),
            // `*`: all that nobody else names.
            _ => return,
        }
    }
    while let Some(id) = open.pop() {
        if seen.insert(id)
            && let Some(node) = t.topology().nodes.get(id)
        {
            references(node, &mut open);
        }
    }
    for node in MADE.iter().flat_map(|k| t.all(k)).filter(|n| !seen.contains(&n.id)) {
        out.push(&node.id, format!("no phase of {environment} deploys {}", node.id), |d| {
            d.label(node.span, "never made")
                .label(first.at("deploys"), "deploys others")
                .help("add it to `deploys` of a phase, or write deploys \"*\" in one")
        });
    }
}

fn references<'n>(node: &'n Node, open: &mut Vec<&'n NodeId>) {
    open.extend(node.fields.values().flat_map(|f| &f.values).filter_map(|v| match &v.value {
        Value::Ref(id) => Some(id),
        _ => None,
    }));
    node.children.iter().for_each(|c| references(c, open));
}

/// A lab takes things away and leaves what they referred to.
fn unused_declaration(t: &Facts, out: &mut Findings) {
    if !t.real() {
        return;
    }
    for node in ["platform", "connection", "dns-provider", "escalation", "communication", "rollback-point", "witness"]
        .into_iter()
        .flat_map(|k| t.all(k))
    {
        if t.referrers(&node.id).is_empty() {
            out.push(&node.id, format!("nothing refers to {}", node.id), |d| {
                d.label(node.span, "not used").help("refer to it, or take it away")
            });
        }
    }
}

fn platform_without_product(t: &Facts, out: &mut Findings) {
    for p in t.all("platform") {
        if PRODUCTS.iter().all(|f| p.value(f).is_none()) && p.children("product").next().is_none() {
            out.push(&p.id, format!("platform `{}` names no product", p.id.name), |d| {
                d.label(p.span, "of what?").help(
                    "write its products and versions, as in postfix=\"3.7\" dovecot=\"2.3\"; one without a field of its own: { product NAME \"VERSION\"; }",
                )
            });
        }
    }
}
