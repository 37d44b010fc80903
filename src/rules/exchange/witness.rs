//! The witness: the vote that decides which half of a cluster goes on.

use std::collections::BTreeMap;

use super::{cluster_field, has_role, installed};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::version::{windows, windows_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "witness-in-cluster",
        code: "L3401",
        severity: Severity::Error,
        about: "The witness of a cluster is none of its members: with that host two votes are lost.",
        source: "Microsoft Learn: Manage database availability groups; bb124521: Cluster continuous replication",
        check: in_cluster,
    },
    Rule {
        name: "witness-too-old",
        code: "L3402",
        severity: Severity::Error,
        about: "The witness server of a database availability group runs Windows Server 2008 or later.",
        source: "Microsoft Learn: Create a database availability group",
        check: too_old,
    },
    Rule {
        name: "dag-without-witness",
        code: "L3403",
        severity: Severity::Warning,
        about: "A database availability group with an even number of members names its witness: without it half of them have no majority.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: dag_without,
    },
    Rule {
        name: "witness-directory-shared",
        code: "L3404",
        severity: Severity::Error,
        about: "Clusters that share a witness server use a directory each.",
        source: "Microsoft Learn: Manage database availability groups",
        check: directory_shared,
    },
    Rule {
        name: "witness-beside-minority",
        code: "L3405",
        severity: Severity::Warning,
        about: "With two datacenters the witness stands in a third one, else where most members are: beside the minority it can outvote them.",
        source: "Microsoft Learn: Manage database availability groups",
        check: beside_minority,
    },
    Rule {
        name: "witness-not-administered",
        code: "L3406",
        severity: Severity::Warning,
        about: "On a witness server without Exchange the group Exchange Trusted Subsystem is a local administrator: else the directory of the witness cannot be made.",
        source: "Microsoft Learn: Create a database availability group",
        check: not_administered,
    },
];

fn in_cluster(t: &Facts, out: &mut Findings) {
    for cluster in t.all("dag").chain(t.all("ccr")) {
        let field = cluster_field(&cluster.id);
        for place in ["witness", "alternate-witness"] {
            let Some(witness) = t.target(cluster, place) else { continue };
            let hit = witness.reference("host").and_then(|host| cluster.refs(field).find(|(id, _)| *id == host));
            let Some((member, at)) = hit else { continue };
            out.push(
                &cluster.id,
                format!("the witness of `{}` is its member `{}`", cluster.id.name, member.name),
                |d| {
                    d.label(cluster.at(place), format!("`{}` lies on `{}`", witness.id.name, member.name))
                        .label(at, "a member")
                        .help("put the share on a host outside the cluster, as a client access or file server")
                },
            );
        }
    }
}

fn too_old(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        for place in ["witness", "alternate-witness"] {
            let Some(witness) = t.target(dag, place) else { continue };
            let Some(host) = t.target(witness, "host") else { continue };
            let Some(os) = host.text("os").and_then(windows).filter(|os| os.0 < 2008) else { continue };
            out.push(
                &dag.id,
                format!("the witness of `{}` runs Windows Server {}", dag.id.name, windows_name(os)),
                |d| {
                    d.label(host.at("os"), "older than 2008")
                        .label(dag.at(place), "named here")
                        .help("name a host with Windows Server 2008 or later")
                },
            );
        }
    }
}

fn dag_without(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag").filter(|d| d.value("witness").is_none()) {
        let members = dag.refs("members").count();
        if members % 2 == 0 {
            out.push(&dag.id, format!("`{}` has {members} members and no witness", dag.id.name), |d| {
                d.label(dag.at("members"), "an even number of votes")
                    .help("declare `witness NAME host=..` and write witness=NAME")
            });
        }
    }
}

fn directory_shared(t: &Facts, out: &mut Findings) {
    let mut taken = BTreeMap::new();
    for dag in t.all("dag") {
        let Some(witness) = t.target(dag, "witness") else { continue };
        // Without a path each group gets a directory of its own name.
        let (Some(host), Some(share)) = (witness.reference("host"), witness.text("share")) else { continue };
        if let Some(other) = taken.insert((host, share), dag) {
            let message = format!(
                "`{}` and `{}` use one witness directory, {share} on `{}`",
                other.id.name, dag.id.name, host.name
            );
            out.push(&dag.id, message, |d| {
                d.label(dag.at("witness"), "the second group")
                    .label(other.at("witness"), "the first")
                    .help("declare a second `witness` with another `share`")
            });
        }
    }
}

fn beside_minority(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let Some(host) = t.target(dag, "witness").and_then(|w| t.target(w, "host")) else { continue };
        let mut at: BTreeMap<_, usize> = BTreeMap::new();
        for site in t.targets(dag, "members").filter_map(|s| s.reference("site")) {
            *at.entry(site).or_default() += 1;
        }
        let Some(here) = host.reference("site") else { continue };
        let (Some(few), Some((most, many))) = (at.get(here), at.iter().max_by_key(|(_, n)| **n)) else { continue };
        if few < many {
            let third = t.all("site").find(|s| s.flag("datacenter") && !at.contains_key(&s.id));
            let message = format!(
                "the witness of `{}` stands at `{}` with {few} members, `{}` has {many}",
                dag.id.name, here.name, most.name
            );
            out.push(&dag.id, message, |d| {
                let d = d
                    .label(dag.at("witness"), "beside the minority")
                    .label(host.at("site"), format!("`{}`", host.id.name));
                match third {
                    Some(s) => d.help(format!("put it on a host at `{}`, a third datacenter", s.id.name)),
                    None => d.help(format!("put it on a host at `{}`, or in a third datacenter", most.name)),
                }
            });
        }
    }
}

/// The group of all Exchange servers, which makes the witness directory.
const SUBSYSTEM: &str = "Exchange Trusted Subsystem";

/// True where a check or a setting of the host, or of its baselines, speaks of the group.
fn speaks_of_subsystem(t: &Facts, host: &Node) -> bool {
    let says = |n: &Node| {
        let fields = ["name", "key", "expect", "value"].into_iter().filter_map(|f| n.text(f));
        fields.into_iter().any(|text| text.to_ascii_lowercase().contains(&SUBSYSTEM.to_ascii_lowercase()))
    };
    let baselines = t.targets(host, "baselines").flat_map(|b| b.children.iter());
    host.children.iter().chain(baselines).any(says)
}

fn not_administered(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        for place in ["witness", "alternate-witness"] {
            let Some(host) = t.target(dag, place).and_then(|w| t.target(w, "host")) else { continue };
            let member = installed(t, host).is_some() && !has_role(host, "edge");
            if member || speaks_of_subsystem(t, host) {
                continue;
            }
            out.push(&dag.id, format!("the witness of `{}` stands on `{}`, which has no Exchange", dag.id.name, host.id.name), |d| {
                d.label(dag.at(place), "made by Exchange").label(host.at("platform"), "knows nothing of its groups").help(format!(
                    "use an Exchange server outside the group; or audit it in a baseline of the host: check witness-admins source=script key=\"local administrators\" expect=\"{SUBSYSTEM}\""
                ))
            });
        }
    }
}
