//! What keeps a system sound: protection, backups, baselines, hardware.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::format_duration;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "unprotected-store",
        code: "L1301",
        severity: Severity::Warning,
        about: "In production no plan may destroy a store: `protect` stays true.",
        source: "docs/architecture.md",
        check: unprotected_store,
    },
    Rule {
        name: "backup-misses-database",
        code: "L1302",
        severity: Severity::Warning,
        about: "Where there are backups, every database is in one.",
        source: "NIST SP 800-34 revision 1, section 3.4.1",
        check: backup_misses_database,
    },
    Rule {
        name: "restore-test-too-late",
        code: "L1303",
        severity: Severity::Warning,
        about: "A restore is tested while its backup is still kept.",
        source: "NIST SP 800-34 revision 1, section 3.4.1; NIST SP 800-53, CP-9(1)",
        check: restore_test_too_late,
    },
    Rule {
        name: "backup-gap",
        code: "L1304",
        severity: Severity::Warning,
        about: "A backup is kept until the next one is made, and longer.",
        source: "NIST SP 800-34 revision 1, section 3.4.1",
        check: backup_gap,
    },
    Rule {
        name: "backup-on-itself",
        code: "L1305",
        severity: Severity::Warning,
        about: "A backup lies elsewhere: what destroys the server destroys it too.",
        source: "NIST SP 800-34 revision 1, section 3.4.2",
        check: backup_on_itself,
    },
    Rule {
        name: "unused-baseline",
        code: "L1306",
        severity: Severity::Warning,
        about: "A baseline is used by a server: else nothing is made so and nothing is audited.",
        source: "NIST SP 800-128, section 2.2.2",
        check: unused_baseline,
    },
    Rule {
        name: "baseline-of-other-role",
        code: "L1307",
        severity: Severity::Warning,
        about: "A server uses baselines of its own roles.",
        source: "NIST SP 800-128, section 2.2.2",
        check: baseline_of_other_role,
    },
    Rule {
        name: "empty-baseline",
        code: "L1308",
        severity: Severity::Warning,
        about: "A baseline has templates, checks or settings: else it says nothing.",
        source: "NIST SP 800-128, section 2.2.2",
        check: empty_baseline,
    },
    Rule {
        name: "waiver-ends",
        code: "L1309",
        severity: Severity::Warning,
        about: "A waiver that has ended or ends within two weeks is decided anew: what it covered becomes a fault.",
        source: "NIST SP 800-128, section 3.3.2",
        check: waiver_ends,
    },
    Rule {
        name: "waiver-without-baseline",
        code: "L1310",
        severity: Severity::Warning,
        about: "A waiver is for servers that use the baseline: elsewhere it covers nothing.",
        source: "NIST SP 800-128, section 3.3.2",
        check: waiver_without_baseline,
    },
    Rule {
        name: "retired-hardware",
        code: "L1311",
        severity: Severity::Warning,
        about: "A server of the new system does not stand on hardware that is to be retired.",
        source: "schemas/2-topology.kdl (hardware, current or planned)",
        check: retired_hardware,
    },
    Rule {
        name: "larger-than-hardware",
        code: "L1312",
        severity: Severity::Warning,
        about: "A server is not larger than the hardware that it stands on.",
        source: "schemas/2-topology.kdl (hardware, current or planned)",
        check: larger_than_hardware,
    },
];

fn unprotected_store(t: &Facts, out: &mut Findings) {
    if t.purpose() != Some("production") {
        return;
    }
    for node in ["pair", "dag", "ccr", "database"].into_iter().flat_map(|k| t.all(k)).filter(|n| !n.flag("protect")) {
        out.push(&node.id, format!("a plan may destroy {}", node.id), |d| {
            d.label(node.at("protect"), "holds mailboxes")
                .help("take protect=#false away; write it in the change that removes the store")
        });
    }
}

/// With three copies and more Exchange needs no backup (native data protection); a database of one server does.
fn backup_misses_database(t: &Facts, out: &mut Findings) {
    let saved: BTreeSet<&NodeId> = t
        .all("backup")
        .flat_map(|b| b.values("of"))
        .filter_map(|v| match &v.value {
            Value::Ref(id) => Some(id),
            _ => None,
        })
        .collect();
    let Some(first) = t.all("backup").next() else { return };
    for db in t.all("database").filter(|d| d.values("copies").count() < 3 && !saved.contains(&d.id)) {
        let home = db.value("on").and_then(|v| match &v.value {
            Value::Ref(id) => Some(id),
            _ => None,
        });
        if !home.is_some_and(|h| saved.contains(h)) {
            out.push(&db.id, format!("database `{}` is in no backup", db.id.name), |d| {
                d.label(db.span, "not saved").label(first.at("of"), "others are").help("add it to a backup")
            });
        }
    }
}

/// Backups whose first duration is longer than the second.
fn longer<'f>(t: &'f Facts, a: &'f str, b: &'f str) -> impl Iterator<Item = (&'f Node, String, String)> {
    t.all("backup").filter_map(move |n| {
        let (x, y) = (n.duration(a)?, n.duration(b)?);
        (x > y).then(|| (n, format_duration(x), format_duration(y)))
    })
}

fn restore_test_too_late(t: &Facts, out: &mut Findings) {
    for (b, test, keep) in longer(t, "restore-test-every", "keep") {
        out.push(&b.id, format!("`{}` is tested every {test} and kept for {keep}", b.id.name), |d| {
            d.label(b.at("restore-test-every"), "most backups are never tried")
                .label(b.at("keep"), "gone by then")
                .help("test at least as often as backups end")
        });
    }
}

fn backup_gap(t: &Facts, out: &mut Findings) {
    for (b, every, keep) in longer(t, "every", "keep") {
        out.push(&b.id, format!("`{}` is made every {every} and kept for {keep}", b.id.name), |d| {
            d.label(b.at("keep"), "then there is none")
                .label(b.at("every"), "until the next")
                .help("keep it longer than the time to the next one")
        });
    }
}

fn backup_on_itself(t: &Facts, out: &mut Findings) {
    for b in t.all("backup") {
        let Some(host) = b
            .text("to")
            .and_then(|u| u.split_once("://"))
            .map(|(_, rest)| rest.split(['/', ':']).next().unwrap_or(rest))
        else {
            continue;
        };
        let host = host.rsplit('@').next().unwrap_or(host);
        for v in b.values("of") {
            let Value::Ref(id) = &v.value else { continue };
            let Some(server) = t.topology().nodes.get(id).filter(|n| n.id.kind == "server") else { continue };
            if server.id.name == host || t.fqdn(server) == host || server.text("ip") == Some(host) {
                out.push(&b.id, format!("the backup of `{}` lies on `{}`", server.id.name, server.id.name), |d| {
                    d.label(b.at("to"), "lost with it")
                        .label(v.span, "what is saved")
                        .help("write it to another host, better to another site")
                });
            }
        }
    }
}

fn unused_baseline(t: &Facts, out: &mut Findings) {
    for b in t.all("baseline").filter(|b| !t.referrers(&b.id).iter().any(|r| r.field == "baselines")) {
        out.push(&b.id, format!("no server uses baseline `{}`", b.id.name), |d| {
            d.label(b.span, "made nowhere, audited nowhere")
                .help(format!("write baselines={} at the servers", b.id.name))
        });
    }
}

/// A lab may replace a platform, and with it the roles of its servers.
fn baseline_of_other_role(t: &Facts, out: &mut Findings) {
    if !t.real() {
        return;
    }
    for b in t.all("baseline") {
        let roles = b.texts("roles");
        for user in t.referrers(&b.id).iter().filter(|r| r.field == "baselines") {
            if !user.node.texts("roles").iter().any(|r| roles.contains(r)) {
                out.push(
                    &user.top.id,
                    format!("`{}` has no role of baseline `{}`", user.top.id.name, b.id.name),
                    |d| {
                        d.label(user.span, "this baseline")
                            .label(b.at("roles"), format!("is for {}", roles.join(", ")))
                            .help("name a baseline of its roles, or add the role to the baseline")
                    },
                );
            }
        }
    }
}

fn empty_baseline(t: &Facts, out: &mut Findings) {
    for b in t.all("baseline").filter(|b| b.children.is_empty() && b.value("templates").is_none()) {
        out.push(&b.id, format!("baseline `{}` says nothing", b.id.name), |d| {
            d.label(b.span, "no template, check or setting").help("write { check NAME source=.. key=.. expect=..; }")
        });
    }
}

fn waiver_ends(t: &Facts, out: &mut Findings) {
    for w in t.all("waiver") {
        let Some(until) = w.text("until").and_then(|u| u.parse::<Date>().ok()) else { continue };
        let days = t.today.until(until).map_or(0, |s| s.get_days());
        if days <= 14 {
            let when = match days {
                ..0 => format!("ended on {until}"),
                0 => "ends today".to_owned(),
                n => format!("ends in {n} days"),
            };
            out.push(&w.id, format!("waiver `{}` {when}", w.id.name), |d| {
                d.label(w.at("until"), "decide by then")
                    .help("mend what it covers, or decide anew and write a later date")
            });
        }
    }
}

fn waiver_without_baseline(t: &Facts, out: &mut Findings) {
    for w in t.all("waiver") {
        let baselines: BTreeSet<&str> = w
            .values("of")
            .filter_map(|v| match &v.value {
                Value::Ref(id) => Some(id.name.split_once('.')?.0),
                _ => None,
            })
            .collect();
        for v in w.values("on") {
            let Value::Ref(id) = &v.value else { continue };
            let Some(server) = t.topology().nodes.get(id) else { continue };
            if !server.texts("baselines").iter().any(|b| baselines.contains(b)) {
                out.push(
                    &w.id,
                    format!("waiver `{}` is for `{}`, which does not use that baseline", w.id.name, id.name),
                    |d| {
                        d.label(v.span, "covers nothing here")
                            .label(server.span, "its baselines are others")
                            .help("name the servers that use the baseline")
                    },
                );
            }
        }
    }
}

fn retired_hardware(t: &Facts, out: &mut Findings) {
    let old: BTreeSet<&str> = t.all("legacy").filter_map(|l| l.text("server")).collect();
    for h in t.all("hardware").filter(|h| h.text("reuse") == Some("retire")) {
        for user in
            t.referrers(&h.id).iter().filter(|r| r.top.id.kind == "server" && !old.contains(r.top.id.name.as_str()))
        {
            out.push(&user.top.id, format!("`{}` stands on hardware that is to be retired", user.top.id.name), |d| {
                d.label(user.span, "this hardware")
                    .label(h.at("reuse"), "to be retired")
                    .help("name other hardware, or reuse=keep")
            });
        }
    }
}

fn larger_than_hardware(t: &Facts, out: &mut Findings) {
    for server in t.all("server") {
        let Some(h) = server.text("hardware").and_then(|h| t.get("hardware", h)) else { continue };
        for field in ["memory", "cpu"] {
            let number = |n: &Node| match n.value(field).map(|v| &v.value) {
                Some(Value::Size(x)) => Some(*x),
                Some(Value::Int(x)) => u64::try_from(*x).ok(),
                _ => None,
            };
            if let (Some(want), Some(have)) = (number(server), number(h))
                && want > have
            {
                out.push(&server.id, format!("`{}` has more {field} than `{}`", server.id.name, h.id.name), |d| {
                    d.label(server.at(field), "wanted").label(h.at(field), "there is").help("mend one of the two")
                });
            }
        }
    }
}
