//! Cluster continuous replication of Exchange 2007.

use std::collections::BTreeMap;

use super::{has_role, installed, role_at};
use crate::model::diagnostic::Severity;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "ccr-node-twice",
        code: "L3201",
        severity: Severity::Error,
        about: "A node belongs to one cluster: CCR is a cluster of two.",
        source: "Microsoft Learn bb124521: Cluster continuous replication",
        check: node_twice,
    },
    Rule {
        name: "storage-group-shared",
        code: "L3202",
        severity: Severity::Error,
        about: "On a CCR cluster each storage group holds a single database: logs are replicated for the group.",
        source: "Microsoft Learn bb123996: Planning for cluster continuous replication",
        check: storage_group_shared,
    },
    Rule {
        name: "ccr-across-domains",
        code: "L3203",
        severity: Severity::Error,
        about: "Both nodes of a CCR cluster are members of one domain.",
        source: "Microsoft Learn bb123996: Planning for cluster continuous replication",
        check: across_domains,
    },
    Rule {
        name: "ccr-on-domain-controller",
        code: "L3204",
        severity: Severity::Error,
        about: "The nodes of a CCR cluster are member servers, never domain controllers.",
        source: "Microsoft Learn bb123996: Planning for cluster continuous replication",
        check: on_domain_controller,
    },
    Rule {
        name: "ccr-standard-edition",
        code: "L3205",
        severity: Severity::Error,
        about: "Exchange 2007 is supported in a failover cluster in the Enterprise edition only, on each node.",
        source: "Microsoft TechNet bb232170: Exchange Server 2007 platforms, editions, and versions",
        check: standard_edition,
    },
    Rule {
        name: "ccr-node-with-other-role",
        code: "L3206",
        severity: Severity::Error,
        about: "A node of a CCR cluster holds the mailbox role and no other: setup refuses the others in a failover cluster.",
        source: "Microsoft Learn bb124521: Cluster continuous replication",
        check: node_with_other_role,
    },
];

fn node_twice(t: &Facts, out: &mut Findings) {
    let mut first = BTreeMap::new();
    for ccr in t.all("ccr") {
        for (node, at) in ccr.refs("nodes") {
            if let Some((other, there)) = first.insert(node, (ccr, at)) {
                out.push(
                    &ccr.id,
                    format!("`{}` is a node of `{}` and of `{}`", node.name, other.id.name, ccr.id.name),
                    |d| {
                        d.label(at, "already a node elsewhere")
                            .label(there, "there")
                            .help("give each cluster two nodes of its own")
                    },
                );
            }
        }
    }
}

fn storage_group_shared(t: &Facts, out: &mut Findings) {
    let mut groups = BTreeMap::new();
    for db in t.all("database") {
        let (Some(on), Some(group)) = (db.reference("on").filter(|on| on.kind == "ccr"), db.text("storage-group"))
        else {
            continue;
        };
        if let Some(other) = groups.insert((on, group), db) {
            let message =
                format!("storage group `{group}` of `{}` holds `{}` and `{}`", on.name, other.id.name, db.id.name);
            out.push(&db.id, message, |d| {
                d.label(db.at("storage-group"), "a second database")
                    .label(other.at("storage-group"), "the first")
                    .help("write one storage group for each database")
            });
        }
    }
}

fn across_domains(t: &Facts, out: &mut Findings) {
    for ccr in t.all("ccr") {
        let nodes: Vec<_> = t.targets(ccr, "nodes").filter(|s| s.value("domain").is_some()).collect();
        let [a, b] = nodes.as_slice() else { continue };
        let (x, y) = (a.text("domain").unwrap_or_default(), b.text("domain").unwrap_or_default());
        if !x.eq_ignore_ascii_case(y) {
            out.push(&ccr.id, format!("the nodes of `{}` are members of {x} and of {y}", ccr.id.name), |d| {
                d.label(b.at("domain"), format!("`{}`", b.id.name))
                    .label(a.at("domain"), format!("`{}`", a.id.name))
                    .help("join both to one domain")
            });
        }
    }
}

fn on_domain_controller(t: &Facts, out: &mut Findings) {
    for ccr in t.all("ccr") {
        for node in t.targets(ccr, "nodes").filter(|s| has_role(s, "directory")) {
            out.push(&ccr.id, format!("node `{}` of `{}` is a domain controller", node.id.name, ccr.id.name), |d| {
                d.label(role_at(node, "directory"), "must be a member server")
                    .label(ccr.at("nodes"), "named here")
                    .help("take the role `directory` to another host")
            });
        }
    }
}

fn standard_edition(t: &Facts, out: &mut Findings) {
    let mut told = std::collections::BTreeSet::new();
    for ccr in t.all("ccr") {
        for i in t.targets(ccr, "nodes").filter_map(|s| installed(t, s)) {
            if i.platform.text("edition") == Some("standard") && told.insert(&i.platform.id) {
                out.push(&ccr.id, format!("`{}` clusters the Standard edition", ccr.id.name), |d| {
                    d.label(i.platform.at("edition"), "not supported in a cluster")
                        .label(ccr.at("nodes"), format!("`{}` runs it", i.server.id.name))
                        .help("license Enterprise on both nodes and write edition=enterprise")
                });
            }
        }
    }
}

fn node_with_other_role(t: &Facts, out: &mut Findings) {
    for ccr in t.all("ccr") {
        for (id, at) in ccr.refs("nodes") {
            let Some(node) = t.nodes.get(id) else { continue };
            let Some(other) = ["cas", "hub", "um", "edge"].into_iter().find(|r| has_role(node, r)) else { continue };
            out.push(&ccr.id, format!("node `{}` of `{}` is a {other} server too", id.name, ccr.id.name), |d| {
                d.label(role_at(node, other), "not in a cluster")
                    .label(at, "a node here")
                    .help(format!("give the role {other} to a server outside the cluster"))
            });
        }
    }
}
