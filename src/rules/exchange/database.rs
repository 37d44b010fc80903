//! Mailbox databases: how many, how large, with which quotas.

use std::collections::BTreeMap;
use std::time::Duration;

use super::copies::{disk, holders};
use super::{has_role, installed};
use crate::model::counter::{self, Watched};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::model::unit::{format_bytes, format_duration};
use crate::model::version::{Update, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "database-on-other-role",
        code: "L3601",
        severity: Severity::Error,
        about: "A database stands on a server with the mailbox role.",
        source: "Microsoft Learn: Manage mailbox databases in Exchange Server",
        check: on_other_role,
    },
    Rule {
        name: "too-many-databases",
        code: "L3602",
        severity: Severity::Error,
        about: "A server mounts no more databases, passive copies included, than its edition and version allow.",
        source: "Microsoft Learn: Exchange Server editions and versions; TechNet bb232170 for 2007",
        check: too_many,
    },
    Rule {
        name: "database-too-large",
        code: "L3603",
        severity: Severity::Warning,
        about: "A database with copies stays below 2 TiB, one without below 200 GiB: it must be restored or reseeded in time.",
        source: "Microsoft Learn: Exchange Server storage configuration options",
        check: too_large,
    },
    Rule {
        name: "database-beyond-limit",
        code: "L3604",
        severity: Severity::Error,
        about: "A database grows to 16 TiB at most.",
        source: "Microsoft Learn: Exchange Server storage configuration options",
        check: beyond_limit,
    },
    Rule {
        name: "quota-order",
        code: "L3605",
        severity: Severity::Error,
        about: "The size at which a user is warned is not above the one at which mail stops.",
        source: "Microsoft PowerShell reference: Set-MailboxDatabase",
        check: quota_order,
    },
    Rule {
        name: "quota-beyond-limit",
        code: "L3606",
        severity: Severity::Error,
        about: "A mailbox quota is 1.999 TB at most.",
        source: "Microsoft PowerShell reference: Set-MailboxDatabase, ProhibitSendReceiveQuota",
        check: quota_beyond_limit,
    },
    Rule {
        name: "volume-without-room",
        code: "L3607",
        severity: Severity::Warning,
        about: "A volume has room for 120% of the databases on it: indexes and maintenance need the rest.",
        source: "Microsoft Learn: Exchange Server storage configuration options",
        check: volume_without_room,
    },
    Rule {
        name: "storage-group-overfull",
        code: "L3608",
        severity: Severity::Error,
        about: "A storage group of Exchange 2007 holds five databases at most.",
        source: "Microsoft Learn bb331958: Understanding the Exchange 2007 store (storage features of the editions)",
        check: storage_group_overfull,
    },
    Rule {
        name: "deleted-items-below-level",
        code: "L3609",
        severity: Severity::Warning,
        about: "Deleted items are kept as long as the level of retention says, where none does 14 days: else a restore replaces what users could do alone.",
        source: "Microsoft: Exchange 2019 preferred architecture; PowerShell reference: Set-MailboxDatabase, DeletedItemRetention",
        check: deleted_items_below_level,
    },
    Rule {
        name: "move-constraint-outside-dag",
        code: "L3610",
        severity: Severity::Warning,
        about: "Moves into a database without copies wait for none: DataMoveReplicationConstraint is None outside a database availability group.",
        source: "Microsoft PowerShell reference: Set-MailboxDatabase, DataMoveReplicationConstraint",
        check: move_constraint_outside_dag,
    },
    Rule {
        name: "disk-latency-alarm-late",
        code: "L3611",
        severity: Severity::Warning,
        about: "An alert of slow disks under Exchange speaks at 20 ms at the latest: beyond that users wait.",
        source: "Microsoft Learn: Exchange Server storage configuration options; exchange performance counters (Avg. Disk sec/Read)",
        check: disk_latency_alarm_late,
    },
];

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Databases on Exchange.
fn databases<'t>(t: &'t Facts) -> impl Iterator<Item = &'t Node> {
    t.all("database")
        .filter(|db| holders(t, db).iter().filter_map(|id| t.nodes.get(*id)).any(|s| installed(t, s).is_some()))
}

fn on_other_role(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let Some(server) = t.target(db, "on").filter(|s| s.id.kind == "server") else { continue };
        if installed(t, server).is_some() && !has_role(server, "mailbox") {
            out.push(
                &db.id,
                format!("`{}` stands on `{}`, which has no mailbox role", db.id.name, server.id.name),
                |d| {
                    d.label(db.at("on"), "cannot mount it")
                        .label(server.at("roles"), "its roles")
                        .help("name a mailbox server, or give this one the role")
                },
            );
        }
    }
}

/// Most databases on a server of this platform, active and passive.
fn most(t: &Facts, server: &Node) -> Option<(usize, &'static str)> {
    let i = installed(t, server)?;
    if i.platform.text("edition") == Some("standard") {
        return Some((5, "Standard edition"));
    }
    match i.version.year {
        2007 => Some((50, "any edition")),
        2013 if i.version.at_least(Update::cu(2)) == Some(false) => Some((50, "before CU2")),
        2010.. => Some((100, "any edition")),
        _ => None,
    }
}

fn too_many(t: &Facts, out: &mut Findings) {
    let mut on: BTreeMap<&NodeId, (usize, &Node)> = BTreeMap::new();
    for db in t.all("database") {
        for server in holders(t, db) {
            on.entry(server).or_insert((0, db)).0 += 1;
            on.entry(server).and_modify(|e| e.1 = db);
        }
    }
    for (id, (count, last)) in on {
        let Some(server) = t.nodes.get(id) else { continue };
        let (Some((most, why)), Some(i)) = (most(t, server), installed(t, server)) else { continue };
        if count > most {
            let year = year_name(i.version.year);
            let message = format!("`{}` holds {count} databases, Exchange {year} mounts {most} ({why})", id.name);
            out.push(&server.id, message, |d| {
                let d = d
                    .label(server.span, "too many")
                    .label(last.span, format!("`{}` is the last of them", last.id.name));
                d.help("spread them over more servers, or license Enterprise where the edition is the limit")
            });
        }
    }
}

fn too_large(t: &Facts, out: &mut Findings) {
    for db in databases(t) {
        let replicated = holders(t, db).len() > 1;
        let (most, how) = if replicated { (2 * TIB, "with copies") } else { (200 * GIB, "without a second copy") };
        let Some(size) = db.size("max-size").filter(|s| (most + 1..=16 * TIB).contains(s)) else { continue };
        let message =
            format!("`{}` may grow to {}, {} is advised {how}", db.id.name, format_bytes(size), format_bytes(most));
        out.push(&db.id, message, |d| {
            let d = d.label(db.at("max-size"), "too large to restore in time");
            let d = if db.value("copies").is_some() { d.label(db.at("copies"), "its copies") } else { d };
            d.help("use more and smaller databases")
        });
    }
}

fn beyond_limit(t: &Facts, out: &mut Findings) {
    for db in databases(t) {
        let Some(size) = db.size("max-size").filter(|s| *s > 16 * TIB) else { continue };
        out.push(&db.id, format!("`{}` may grow to {}, 16 TiB is the most", db.id.name, format_bytes(size)), |d| {
            d.label(db.at("max-size"), "beyond what the store can hold").help("write max-size=\"2TiB\" or less")
        });
    }
}

fn quota_order(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let (Some(warn), Some(stop)) = (db.size("quota-warn"), db.size("quota-stop")) else { continue };
        if warn > stop {
            out.push(
                &db.id,
                format!("`{}` warns at {} and stops at {}", db.id.name, format_bytes(warn), format_bytes(stop)),
                |d| {
                    d.label(db.at("quota-warn"), "nobody is warned")
                        .label(db.at("quota-stop"), "mail stops before")
                        .help("write quota-warn below quota-stop")
                },
            );
        }
    }
}

fn quota_beyond_limit(t: &Facts, out: &mut Findings) {
    // 1.999 TB in the binary units of the cmdlets.
    let most = TIB * 2 / 1000 * 1999 / 2;
    for db in databases(t) {
        let Some((field, size)) =
            ["quota-stop", "quota-warn"].into_iter().find_map(|f| Some((f, db.size(f).filter(|s| *s > most)?)))
        else {
            continue;
        };
        out.push(&db.id, format!("{field} of `{}` is {}, 1.999 TB is the most", db.id.name, format_bytes(size)), |d| {
            d.label(db.at(field), "refused").help("write less, or leave the field out for no quota of the database")
        });
    }
}

fn volume_without_room(t: &Facts, out: &mut Findings) {
    // A profile's disk stands for one disk on each server that uses it.
    let mut on: BTreeMap<(&NodeId, &NodeId), (u64, &Node, &Node)> = BTreeMap::new();
    for db in databases(t) {
        let Some(size) = db.size("max-size") else { continue };
        for server in holders(t, db).into_iter().filter_map(|id| t.nodes.get(id)) {
            if let Some(disk) = disk(t, server, db.text("path")) {
                let entry = on.entry((&server.id, &disk.id)).or_insert((0, disk, db));
                entry.0 = entry.0.saturating_add(size);
                entry.2 = db;
            }
        }
    }
    let mut told = std::collections::BTreeSet::new();
    for ((server, disk_id), (bytes, disk, db)) in on {
        let Some(room) = disk.size("size") else { continue };
        let needs = bytes / 100 * 120;
        if room < needs && told.insert((disk_id, needs)) {
            let message = format!(
                "databases of {} in all lie on `{}` of `{}`, which has {}: 120% is {}",
                format_bytes(bytes),
                disk.name(),
                server.name,
                format_bytes(room),
                format_bytes(needs)
            );
            out.push(&db.id, message, |d| {
                d.label(disk.at("size"), "too small")
                    .label(db.at("max-size"), "the last database on it")
                    .help(format!("give the volume {}, or move a database", format_bytes(needs.div_ceil(GIB) * GIB)))
            });
        }
    }
}

fn storage_group_overfull(t: &Facts, out: &mut Findings) {
    let mut groups: BTreeMap<(&NodeId, &str), usize> = BTreeMap::new();
    for db in t.all("database") {
        // On a cluster a group holds a single one, which is another rule's.
        let Some(on) = db.reference("on").filter(|on| on.kind == "server") else { continue };
        let Some(group) = db.text("storage-group") else { continue };
        let count = groups.entry((on, group)).or_insert(0);
        *count += 1;
        if *count == 6 {
            out.push(&db.id, format!("storage group `{group}` of `{}` holds more than five databases", on.name), |d| {
                d.label(db.at("storage-group"), format!("`{}` is the sixth", db.id.name))
                    .label(db.at("on"), "on this server")
                    .help("write one storage group for each database, 50 on a server at most")
            });
        }
    }
}

fn deleted_items_below_level(t: &Facts, out: &mut Findings) {
    const DAYS: Duration = Duration::from_secs(14 * 86_400);
    let least = |s: &&Node| s.duration("minimum").or_else(|| s.duration("within"));
    let level = t.all("sla").filter(|s| s.text("type") == Some("retention")).max_by_key(least);
    let (least, says) = match level.and_then(|s| Some((least(&s)?, s))) {
        Some((least, s)) => (least, Some(s)),
        None => (DAYS, None),
    };
    for db in databases(t) {
        let Some(kept) = db.duration("keep-deleted").filter(|k| *k < least) else { continue };
        let (kept, least) = (format_duration(kept), format_duration(least));
        out.push(&db.id, format!("`{}` keeps deleted items for {kept}, {least} are promised", db.id.name), |d| {
            let d = d.label(db.at("keep-deleted"), "shorter");
            match says {
                Some(s) => d.label(s.span, format!("the level `{}`", s.id.name)),
                None => d,
            }
            .help(format!("write keep-deleted=\"{least}\" or more"))
        });
    }
}

fn move_constraint_outside_dag(t: &Facts, out: &mut Findings) {
    for db in t.all("database").filter(|db| db.reference("on").is_some_and(|on| on.kind != "dag")) {
        let constraint =
            db.children("setting").find(|s| s.name().eq_ignore_ascii_case("exchange:DataMoveReplicationConstraint"));
        let Some(set) = constraint.filter(|s| s.text("value").is_some_and(|v| !v.eq_ignore_ascii_case("none"))) else {
            continue;
        };
        out.push(&db.id, format!("moves into `{}` wait for copies that it does not have", db.id.name), |d| {
            d.label(set.at("value"), "for members of a database availability group")
                .label(db.at("on"), "none of these")
                .help("write \"None\", or leave it out")
        });
    }
}

fn disk_latency_alarm_late(t: &Facts, out: &mut Findings) {
    const SECONDS: f64 = 0.020;
    for m in t.all("monitor") {
        let on = t.targets(m, "on").find(|s| installed(t, s).is_some_and(|i| has_role(i.server, "mailbox")));
        let Some(server) = on else { continue };
        // Of several alerts the first that speaks counts.
        let mut first: Option<(f64, &Node)> = None;
        for r in m.children("rule") {
            let Some(Watched::Known(c)) = r.text("counter").and_then(counter::find) else { continue };
            let above = r.int("above").map(|n| n as f64).or_else(|| r.text("above")?.parse().ok());
            if let Some(above) = above.filter(|a| c.name == "disk-latency" && first.is_none_or(|(least, _)| *a < least))
            {
                first = Some((above, r));
            }
        }
        let Some((above, r)) = first.filter(|(above, _)| *above > SECONDS) else { continue };
        out.push(
            &m.id,
            format!("`{}` of `{}` speaks of disks above {above} s, 0.02 is advised", r.name(), m.id.name),
            |d| {
                d.label(r.at("above"), "in seconds")
                    .label(server.span, "has mailboxes")
                    .help("write above=0.02 or less; another rule of a higher severity may have a larger bound")
            },
        );
    }
}
