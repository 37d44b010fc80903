//! Database availability groups: who may be a member, and how members stand to one another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{has_role, installed, role_at};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::model::unit::format_duration;
use crate::model::version::{Exchange, Update, windows, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "dag-member-not-mailbox",
        code: "L3301",
        severity: Severity::Error,
        about: "Every member of a database availability group holds the mailbox role.",
        source: "Microsoft Learn: Manage database availability group membership",
        check: not_mailbox,
    },
    Rule {
        name: "dag-member-twice",
        code: "L3302",
        severity: Severity::Error,
        about: "A server is a member of one database availability group only.",
        source: "Microsoft Learn: Manage database availability group membership",
        check: member_twice,
    },
    Rule {
        name: "dag-mixed-versions",
        code: "L3303",
        severity: Severity::Error,
        about: "All members of a database availability group run the same version of Exchange.",
        source: "Microsoft Learn: Create a database availability group",
        check: mixed_versions,
    },
    Rule {
        name: "dag-mixed-systems",
        code: "L3304",
        severity: Severity::Error,
        about: "All members of a database availability group run the same Windows release.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: mixed_systems,
    },
    Rule {
        name: "dag-across-domains",
        code: "L3305",
        severity: Severity::Error,
        about: "All members of a database availability group belong to one Active Directory domain.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: across_domains,
    },
    Rule {
        name: "dag-name",
        code: "L3306",
        severity: Severity::Error,
        about: "The name of a database availability group has 15 characters at most and is no server's: it becomes a computer account.",
        source: "Microsoft Learn: Manage database availability groups",
        check: name,
    },
    Rule {
        name: "dag-on-domain-controller",
        code: "L3307",
        severity: Severity::Error,
        about: "No member of a database availability group is a domain controller.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: on_domain_controller,
    },
    Rule {
        name: "dag-dac-off",
        code: "L3308",
        severity: Severity::Warning,
        about: "With two members or more, datacenter activation coordination is on: without it two halves may both mount a database.",
        source: "Microsoft Learn: Datacenter Activation Coordination mode",
        check: dac_off,
    },
    Rule {
        name: "dag-too-far",
        code: "L3309",
        severity: Severity::Error,
        about: "The round trip between members of a database availability group takes 500 ms at most.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: too_far,
    },
    Rule {
        name: "dag-address-missing",
        code: "L3310",
        severity: Severity::Error,
        about: "A database availability group with addresses has one in each subnet of its members: without it the cluster name stays down there.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: address_missing,
    },
    Rule {
        name: "copies-in-one-datacenter",
        code: "L3311",
        severity: Severity::Warning,
        about: "Where a database availability group spans datacenters, each database has copies in more than one: else its loss is a loss of mail.",
        source: "Microsoft Learn: Plan for high availability and site resilience",
        check: copies_in_one_datacenter,
    },
    Rule {
        name: "dag-needs-account",
        code: "L3312",
        severity: Severity::Advice,
        about: "A database availability group with a cluster name needs a computer account that is made and disabled beforehand, on Windows Server 2012 and later; one without addresses needs none, from Exchange 2013 SP1 on 2012 R2 on.",
        source: "Microsoft Learn: Create a database availability group; Pre-stage the cluster name object for a database availability group",
        check: needs_account,
    },
    Rule {
        name: "fail-over-onto-one",
        code: "L3313",
        severity: Severity::Warning,
        about: "What a member holds active goes to several others when it fails: one alone would carry twice the load.",
        source: "Microsoft Learn: Plan for high availability and site resilience; Exchange 2010 database copy layout design (ff973944)",
        check: fail_over_onto_one,
    },
];

fn not_mailbox(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        for (id, at) in dag.refs("members") {
            let Some(s) = t.nodes.get(id).filter(|s| !has_role(s, "mailbox")) else { continue };
            out.push(&dag.id, format!("member `{}` of `{}` has no mailbox role", id.name, dag.id.name), |d| {
                d.label(at, "named as a member")
                    .label(s.at("roles"), "its roles")
                    .help("give it `roles mailbox`, or take it out of the group")
            });
        }
    }
}

fn member_twice(t: &Facts, out: &mut Findings) {
    let mut first = BTreeMap::new();
    for dag in t.all("dag") {
        for (id, at) in dag.refs("members") {
            match first.insert(id, (dag, at)) {
                Some((other, there)) if other.id != dag.id => {
                    let message = format!("`{}` is a member of `{}` and of `{}`", id.name, other.id.name, dag.id.name);
                    out.push(&dag.id, message, |d| {
                        d.label(at, "already a member elsewhere")
                            .label(there, "there")
                            .help("leave it in one of the groups")
                    });
                }
                _ => {}
            }
        }
    }
}

/// A member and what it says of itself.
type Said<'t, V> = (&'t Node, V);

/// Two members that say different things: the first of all, and the first that differs.
fn differ<'t, V: PartialEq>(
    t: &'t Facts,
    dag: &'t Node,
    of: impl Fn(&'t Node) -> Option<V>,
) -> Option<(Said<'t, V>, Said<'t, V>)> {
    let mut said = t.targets(dag, "members").filter_map(|s| Some((s, of(s)?)));
    let first = said.next()?;
    let other = said.find(|(_, v)| *v != first.1)?;
    Some((first, other))
}

fn mixed_versions(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let Some(((a, x), (b, y))) = differ(t, dag, |s| installed(t, s).map(|i| i.version.year)) else { continue };
        let (x, y) = (year_name(x), year_name(y));
        out.push(&dag.id, format!("`{}` has members of Exchange {x} and {y}", dag.id.name), |d| {
            d.label(dag.at("members"), "mixed")
                .label(a.span, format!("Exchange {x}"))
                .label(b.span, format!("Exchange {y}"))
                .help("make a new group for the new version and move mailboxes into it")
        });
    }
}

fn mixed_systems(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let Some(((a, _), (b, _))) = differ(t, dag, |s| windows(s.text("os")?)) else { continue };
        let (x, y) = (a.text("os").unwrap_or_default(), b.text("os").unwrap_or_default());
        out.push(&dag.id, format!("`{}` has members on {x} and on {y}", dag.id.name), |d| {
            d.label(b.at("os"), format!("`{}`", b.id.name))
                .label(a.at("os"), format!("`{}`", a.id.name))
                .help("use one Windows release for all members")
        });
    }
}

fn across_domains(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let domain = |s: &Node| s.text("domain").map(str::to_ascii_lowercase);
        let Some(((a, x), (b, y))) = differ(t, dag, domain) else { continue };
        out.push(&dag.id, format!("the members of `{}` are in {x} and in {y}", dag.id.name), |d| {
            d.label(b.at("domain"), format!("`{}`", b.id.name))
                .label(a.at("domain"), format!("`{}`", a.id.name))
                .help("make one group for each domain")
        });
    }
}

fn name(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let (name, long) = (&dag.id.name, dag.id.name.chars().count());
        if long > 15 {
            out.push(&dag.id, format!("`{name}` has {long} characters, a group has 15 at most"), |d| {
                d.label(dag.span, "too long for a computer account").help("choose a shorter name")
            });
        } else if let Some(s) = t.get("server", name) {
            out.push(&dag.id, format!("`{name}` is the name of a server too"), |d| {
                d.label(dag.span, "becomes a computer account of this name")
                    .label(s.span, "has that account")
                    .help("choose another name")
            });
        }
    }
}

fn on_domain_controller(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        for (id, at) in dag.refs("members") {
            let Some(s) = t.nodes.get(id).filter(|s| has_role(s, "directory")) else { continue };
            out.push(&dag.id, format!("member `{}` of `{}` is a domain controller", id.name, dag.id.name), |d| {
                d.label(role_at(s, "directory"), "not supported in a group")
                    .label(at, "named here")
                    .help("take the role `directory` to another host")
            });
        }
    }
}

fn dac_off(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag").filter(|d| d.text("activation-mode") == Some("off")) {
        let members = dag.refs("members").count();
        if members >= 2 {
            out.push(&dag.id, format!("`{}` has {members} members and no activation coordination", dag.id.name), |d| {
                d.label(dag.span, "both halves of a split may mount")
                    .help("write activation-mode=dag-only; leave it off only with third-party replication")
            });
        }
    }
}

fn too_far(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let sites: BTreeSet<_> = t.targets(dag, "members").filter_map(|s| s.reference("site")).collect();
        for link in t.all("link") {
            let ends = link.refs("between").filter(|(site, _)| sites.contains(site)).count();
            let Some(latency) = link.duration("latency").filter(|l| ends == 2 && *l > Duration::from_millis(500))
            else {
                continue;
            };
            let message =
                format!("members of `{}` are {} apart by `{}`", dag.id.name, format_duration(latency), link.id.name);
            out.push(&dag.id, message, |d| {
                d.label(dag.at("members"), "stand at both ends")
                    .label(link.at("latency"), "more than 500ms")
                    .help("keep the group within one end, and make a second group at the other")
            });
        }
    }
}

fn address_missing(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag").filter(|d| d.value("ips").is_some()) {
        let ips: Vec<IpAddr> = dag.texts("ips").iter().filter_map(|ip| ip.parse().ok()).collect();
        let mut told = BTreeSet::new();
        for member in t.targets(dag, "members") {
            let Some(subnet) = t.target(member, "subnet") else { continue };
            let Some(net) = subnet.text("cidr").and_then(|c| c.parse::<ipnet::IpNet>().ok()) else { continue };
            if !ips.iter().any(|ip| net.contains(ip)) && told.insert(&subnet.id) {
                let message = format!("`{}` has no address in {net}, the subnet of `{}`", dag.id.name, member.id.name);
                out.push(&dag.id, message, |d| {
                    d.label(dag.at("ips"), "none of these")
                        .label(subnet.at("cidr"), format!("`{}`", subnet.id.name))
                        .help("add an address of this subnet to `ips`, one for each subnet")
                });
            }
        }
    }
}

fn copies_in_one_datacenter(t: &Facts, out: &mut Findings) {
    let spans: BTreeMap<_, BTreeSet<_>> =
        t.all("dag").map(|d| (&d.id, t.targets(d, "members").filter_map(|s| s.reference("site")).collect())).collect();
    for db in t.all("database") {
        let Some(sites) = db.reference("on").and_then(|on| spans.get(on)).filter(|s| s.len() > 1) else { continue };
        let held: BTreeSet<_> = t.targets(db, "copies").filter_map(|s| s.reference("site")).collect();
        let (Some(only), Some(other)) = (held.first(), sites.iter().find(|s| !held.contains(*s))) else { continue };
        if held.len() > 1 {
            continue;
        }
        out.push(&db.id, format!("all copies of `{}` are at `{}`", db.id.name, only.name), |d| {
            let d = d.label(db.at("copies"), format!("none at `{}`", other.name));
            d.label(db.at("on"), "a group of several sites").help(format!("add a copy on a member at `{}`", other.name))
        });
    }
}

/// True where a group may have neither address nor cluster name.
fn without_name(version: Exchange, os: (u16, bool)) -> bool {
    let old = version.year < 2013 || version.year == 2013 && version.at_least(Update::cu(4)) == Some(false);
    !old && os >= (2012, true)
}

fn needs_account(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag") {
        let mut members = t.targets(dag, "members");
        let known = |s| Some((s, installed(t, s)?.version, s.text("os").and_then(windows)?));
        let Some((member, version, os)) = members.find_map(known).filter(|(.., os)| os.0 >= 2012) else { continue };
        let can = without_name(version, os);
        if dag.value("ips").is_none() && can {
            continue;
        }
        let name = &dag.id.name;
        out.push(&dag.id, format!("`{name}` needs a computer account of this name before its first member joins"), |d| {
            let d = d.label(dag.at("ips"), "a group with a cluster name");
            let d = d.label(member.at("os"), "its members do not make the account themselves");
            if can {
                d.help("leave `ips` out for a group without a cluster name, or make and disable the account and allow this rule")
            } else {
                d.help("make and disable the account, give the members full control of it, and allow this rule with that as its reason")
            }
        });
    }
}

fn fail_over_onto_one(t: &Facts, out: &mut Findings) {
    for dag in t.all("dag").filter(|d| d.refs("members").count() >= 3) {
        // Active on the key; the value is who takes each over.
        let mut heirs: BTreeMap<&NodeId, Vec<(&NodeId, &Node)>> = BTreeMap::new();
        for db in t.referrers(&dag.id).iter().filter(|r| r.field == "on" && r.top.id.kind == "database").map(|r| r.top)
        {
            let lagged: BTreeSet<_> = db.refs("lagged").map(|(id, _)| id).collect();
            let order: Vec<&NodeId> = db.refs("copies").map(|(id, _)| id).collect();
            let Some(active) = db.reference("active").or(order.first().copied()) else { continue };
            if let Some(heir) = order.iter().find(|id| **id != active && !lagged.contains(*id)) {
                heirs.entry(active).or_default().push((heir, db));
            }
        }
        let site = |id: &NodeId| t.nodes.get(id).and_then(|s| s.reference("site"));
        for (active, list) in heirs {
            let [(heir, _), .., (_, last)] = list.as_slice() else { continue };
            // Others could take some only where they stand beside the heir.
            let other =
                dag.refs("members").map(|(id, _)| id).find(|id| *id != active && id != heir && site(id) == site(heir));
            let Some(other) = other.filter(|_| list.len() >= 3 && list.iter().all(|(id, _)| id == heir)) else {
                continue;
            };
            let message = format!(
                "all {} databases that `{}` holds active go to `{}` when it fails",
                list.len(),
                active.name,
                heir.name
            );
            out.push(&dag.id, message, |d| {
                d.label(last.at("copies"), "the same second place in all of them")
                    .label(dag.at("members"), format!("`{}` takes none", other.name))
                    .help("vary the order of `copies`, so that each member is second as often as the others")
            });
        }
    }
}
