//! Copies of databases: where they lie and in which order they become active.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{cluster_field, installed};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::model::unit::format_duration;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "copy-outside-cluster",
        code: "L3501",
        severity: Severity::Error,
        about: "A database and its copies lie on members of what it stands on: logs are replicated within one group only.",
        source: "Microsoft Learn: Mailbox database copies",
        check: outside_cluster,
    },
    Rule {
        name: "copy-twice",
        code: "L3502",
        severity: Severity::Error,
        about: "A server holds one copy of a database at most.",
        source: "Microsoft Learn: Mailbox database copies",
        check: twice,
    },
    Rule {
        name: "replay-lag-too-long",
        code: "L3503",
        severity: Severity::Error,
        about: "A copy replays its logs 14 days late at most.",
        source: "Microsoft Learn: Mailbox database copies",
        check: lag_too_long,
    },
    Rule {
        name: "lagged-copy-preferred",
        code: "L3504",
        severity: Severity::Warning,
        about: "A lagged copy stands last in the order of activation: made active, it replays for hours and is lagged no more.",
        source: "Microsoft: Exchange 2019 preferred architecture",
        check: lagged_preferred,
    },
    Rule {
        name: "too-few-prompt-copies",
        code: "L3505",
        severity: Severity::Warning,
        about: "A lagged copy does not count for high availability: two copies without lag remain beside it.",
        source: "Microsoft: Exchange 2019 preferred architecture",
        check: too_few_prompt,
    },
    Rule {
        name: "database-paths-clash",
        code: "L3506",
        severity: Severity::Error,
        about: "On one server each database has a path and a log path of its own, and its copies use the same ones.",
        source: "Microsoft Learn: Mailbox database copies",
        check: paths_clash,
    },
    Rule {
        name: "jbod-with-few-copies",
        code: "L3507",
        severity: Severity::Error,
        about: "Databases on single disks without RAID have three prompt copies or more.",
        source: "Microsoft Learn: Exchange Server storage configuration options",
        check: jbod,
    },
    Rule {
        name: "active-not-preferred",
        code: "L3508",
        severity: Severity::Warning,
        about: "The copy that is active is the first in the order of activation: else balancing the group moves the database away.",
        source: "Microsoft Learn: Mailbox database copies (activation preference); PowerShell reference: Set-MailboxDatabaseCopy",
        check: active_not_preferred,
    },
];

/// Servers that a database may lie on.
pub(super) fn members<'t>(t: &'t Facts, db: &'t Node) -> BTreeSet<&'t NodeId> {
    let Some(on) = db.reference("on") else { return BTreeSet::new() };
    match t.nodes.get(on) {
        Some(s) if on.kind == "server" => BTreeSet::from([&s.id]),
        Some(cluster) => cluster.refs(cluster_field(on)).map(|(id, _)| id).collect(),
        None => BTreeSet::new(),
    }
}

/// Servers that hold a database: its copies and its active one, or all nodes of a CCR cluster.
pub(super) fn holders<'t>(t: &'t Facts, db: &'t Node) -> BTreeSet<&'t NodeId> {
    let named: BTreeSet<&NodeId> = db.refs("copies").chain(db.refs("active")).map(|(id, _)| id).collect();
    match db.reference("on") {
        Some(on) if on.kind != "dag" => members(t, db),
        _ => named,
    }
}

fn outside_cluster(t: &Facts, out: &mut Findings) {
    let mut clusters: BTreeMap<&NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
    for db in t.all("database") {
        let Some(on) = db.reference("on") else { continue };
        let members = clusters.entry(on).or_insert_with(|| members(t, db));
        let stray = db.refs("copies").chain(db.refs("active")).find(|(id, _)| !members.contains(id));
        let Some((server, at)) = stray else { continue };
        let message = format!("`{}` is on {} `{}`, `{}` is no member of it", db.id.name, on.kind, on.name, server.name);
        out.push(&db.id, message, |d| {
            let d = d.label(at, "outside").label(db.at("on"), "here");
            if on.kind == "server" {
                d.help("copies need a database availability group: write on=DAG")
            } else {
                d.help(format!("name members of `{}`, or make `{}` one", on.name, server.name))
            }
        });
    }
}

fn twice(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let mut seen = BTreeMap::new();
        for (id, at) in db.refs("copies") {
            if let Some(first) = seen.insert(id, at) {
                out.push(&db.id, format!("`{}` has two copies on `{}`", db.id.name, id.name), |d| {
                    d.label(at, "again").label(first, "first").help("name each server once")
                });
            }
        }
    }
}

fn lag_too_long(t: &Facts, out: &mut Findings) {
    let most = Duration::from_secs(14 * 86_400);
    for db in t.all("database") {
        let Some(lag) = db.duration("replay-lag").filter(|l| *l > most) else { continue };
        out.push(&db.id, format!("`{}` replays {} late, 14d is the most", db.id.name, format_duration(lag)), |d| {
            d.label(db.at("replay-lag"), "too long")
                .help("write replay-lag=\"14d\" or less, and use backups for what is older")
        });
    }
}

fn lagged_preferred(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let lagged: BTreeSet<_> = db.refs("lagged").map(|(id, _)| id).collect();
        let order: Vec<_> = db.refs("copies").collect();
        let Some(last_prompt) = order.iter().rposition(|(id, _)| !lagged.contains(id)) else { continue };
        let Some((id, at)) = order[..last_prompt].iter().find(|(id, _)| lagged.contains(id)) else { continue };
        let (prompt, later) = order[last_prompt];
        out.push(
            &db.id,
            format!("lagged copy `{}` of `{}` comes before `{}`", id.name, db.id.name, prompt.name),
            |d| {
                d.label(*at, "becomes active first")
                    .label(later, "has no lag")
                    .help("write the lagged copies last in `copies`")
            },
        );
    }
}

/// Copies without lag.
fn prompt(db: &Node) -> usize {
    let lagged: BTreeSet<_> = db.refs("lagged").map(|(id, _)| id).collect();
    db.refs("copies").filter(|(id, _)| !lagged.contains(id)).count()
}

fn too_few_prompt(t: &Facts, out: &mut Findings) {
    for db in t.all("database").filter(|db| db.value("lagged").is_some()) {
        let (prompt, all) = (prompt(db), db.refs("copies").count());
        if prompt < 2 {
            out.push(&db.id, format!("{prompt} of {all} copies of `{}` have no lag", db.id.name), |d| {
                d.label(db.at("copies"), "two without lag are needed")
                    .label(db.at("lagged"), "do not count")
                    .help("add a copy on another member")
            });
        }
    }
}

fn paths_clash(t: &Facts, out: &mut Findings) {
    let mut taken: BTreeMap<(&NodeId, &str), &Node> = BTreeMap::new();
    for db in t.all("database") {
        for field in ["path", "logs"] {
            let Some(path) = db.text(field) else { continue };
            let mut clash = None;
            for server in holders(t, db) {
                if let Some(other) = taken.insert((server, path), db).filter(|o| o.id != db.id) {
                    clash = Some((server, other));
                }
            }
            let Some((server, other)) = clash else { continue };
            let message = format!("`{}` and `{}` both use {path} on `{}`", other.id.name, db.id.name, server.name);
            let there = if other.text(field) == Some(path) { field } else { "path" };
            out.push(&db.id, message, |d| {
                d.label(db.at(field), "taken")
                    .label(other.at(there), format!("by `{}`", other.id.name))
                    .help("give each database a folder of its own")
            });
        }
    }
}

/// The disk that a path lies on: the longest mount that it starts with, or the only disk.
pub(super) fn disk<'t>(t: &'t Facts, server: &'t Node, path: Option<&str>) -> Option<&'t Node> {
    let hardware = t.target(server, "hardware");
    let disks: Vec<&Node> =
        server.children("disk").chain(hardware.into_iter().flat_map(|h| h.children("disk"))).collect();
    match (path, disks.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(path), _) => {
            let under = |mount: &str| {
                let rest = path.to_ascii_lowercase().strip_prefix(&mount.to_ascii_lowercase()).map(str::to_owned);
                rest.is_some_and(|r| r.is_empty() || mount.ends_with(['/', '\\']) || r.starts_with(['/', '\\']))
            };
            disks
                .into_iter()
                .filter(|d| d.text("mount").is_some_and(under))
                .max_by_key(|d| d.text("mount").map_or(0, str::len))
        }
    }
}

fn jbod(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let copies = prompt(db).max(1);
        if copies >= 3 {
            continue;
        }
        let holders = holders(t, db);
        let single = holders.iter().filter_map(|id| t.nodes.get(*id)).filter(|s| installed(t, s).is_some());
        let hit = single
            .filter_map(|s| Some((s, disk(t, s, db.text("path"))?)))
            .find(|(_, d)| d.text("raid") == Some("none"));
        let Some((server, disk)) = hit else { continue };
        let message =
            format!("`{}` lies on a disk without RAID and has {copies} prompt copies, 3 are needed", db.id.name);
        out.push(&db.id, message, |d| {
            d.label(db.at("copies"), "too few")
                .label(disk.at("raid"), format!("`{}`", server.id.name))
                .help("add copies, or use RAID")
        });
    }
}

fn active_not_preferred(t: &Facts, out: &mut Findings) {
    for db in t.all("database") {
        let Some(active) = db.reference("active") else { continue };
        let Some((first, at)) = db.refs("copies").next().filter(|(first, _)| *first != active) else { continue };
        let message = format!("`{}` is active on `{}` and prefers `{}`", db.id.name, active.name, first.name);
        out.push(&db.id, message, |d| {
            d.label(db.at("active"), "active here")
                .label(at, "the first in the order")
                .help(format!("write copies {} first, or leave `active` out", active.name))
        });
    }
}
