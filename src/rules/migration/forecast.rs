//! Arithmetic: how much there is to move, and what it passes through.

use std::time::Duration;

use super::{cohorts, size};
use crate::model::capacity::{mbit, narrowest, seconds, share, speed};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::{format_bytes, format_duration};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "window-shorter-than-forecast",
        code: "L4501",
        severity: Severity::Error,
        about: "A window without a final delta copies whole mailboxes: what its cohort holds fits through in that time.",
        source: "schemas/5-migration.kdl: cutover-window.for, cms.throttle, legacy.data",
        check: window_too_short,
    },
    Rule {
        name: "copy-longer-than-project",
        code: "L4502",
        severity: Severity::Error,
        about: "All mail of a source fits through the throttle and the link within the longest course of the project.",
        source: "schemas/6-process.kdl: project.longest; schemas/5-migration.kdl: cms.throttle, legacy.data",
        check: longer_than_project,
    },
    Rule {
        name: "throttle-above-link",
        code: "L4503",
        severity: Severity::Warning,
        about: "The content service is throttled below what the link has free: else everybody else on it waits.",
        source: "schemas/2-topology.kdl: link.bandwidth, link.utilization; schemas/5-migration.kdl: cms.throttle",
        check: throttle_above_link,
    },
    Rule {
        name: "workers-above-sessions",
        code: "L4504",
        severity: Severity::Error,
        about: "The content services of a source open no more sessions than it serves: the others are refused and mailboxes fail.",
        source: "schemas/5-migration.kdl: legacy.sessions, cms.workers",
        check: workers_above_sessions,
    },
    Rule {
        name: "target-too-small",
        code: "L4505",
        severity: Severity::Error,
        about: "The databases that a migration fills hold what the source has.",
        source: "schemas/2-topology.kdl: database.max-size; schemas/5-migration.kdl: legacy.data",
        check: target_too_small,
    },
    Rule {
        name: "quota-below-average",
        code: "L4506",
        severity: Severity::Error,
        about: "The quota of the target is above the average mailbox of the source: else half of the copies stop.",
        source: "schemas/2-topology.kdl: database.quota-stop; schemas/5-migration.kdl: legacy.data, legacy.mailboxes",
        check: quota_below_average,
    },
    Rule {
        name: "pair-too-small",
        code: "L4507",
        severity: Severity::Error,
        about: "Each member of a pair holds all of its mail, so the disks of each hold what the source has.",
        source: "schemas/2-topology.kdl: pair, disk.size; schemas/5-migration.kdl: legacy.data",
        check: pair_too_small,
    },
    Rule {
        name: "soak-outlasts-window",
        code: "L4508",
        severity: Severity::Warning,
        about: "Canaries are watched for less time than the window lasts: the others move in what is left of it.",
        source: "schemas/5-migration.kdl: cohort.canary-soak, cutover-window.for",
        check: soak_outlasts,
    },
];

/// Whole minutes or hours, for messages.
fn rough(seconds: u64) -> String {
    match seconds {
        0..7200 => format_duration(Duration::from_secs(seconds.div_ceil(60) * 60)),
        7200..172_800 => format_duration(Duration::from_secs(seconds.div_ceil(3600) * 3600)),
        _ => format!("{}d", seconds.div_ceil(86_400)),
    }
}

fn positive(node: &Node, field: &str) -> Option<u64> {
    node.int(field).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)
}

fn window_too_short(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let (Some(w), Some(m)) = (t.target(c, "window"), t.target(c, "migration")) else { continue };
        let (Some(cms), Some(from)) = (t.target(m, "cms"), t.target(m, "from")) else { continue };
        let steps = w.texts("steps");
        if steps.is_empty() || steps.contains(&"final-delta") {
            continue;
        }
        let (Some(users), Some(all), Some(data)) = (size(c), positive(from, "mailboxes"), from.size("data")) else {
            continue;
        };
        let (Some((rate, by, field)), Some(length)) = (speed(t, cms), w.duration("for")) else { continue };
        let share = share(data, users, all);
        let needs = seconds(share, rate);
        if needs > length.as_secs() {
            let message = format!(
                "`{}` needs {}: {users} of {all} mailboxes are {}, at {}; `{}` lasts {}",
                c.id.name,
                rough(needs),
                format_bytes(share),
                mbit(rate),
                w.id.name,
                format_duration(length)
            );
            out.push(&c.id, message, |d| {
                d.label(w.at("for"), "too short")
                    .label(by.at(field), format!("{} at most", mbit(rate)))
                    .help("add final-delta to the steps, so that mailboxes are copied ahead, or make the window longer")
            });
        }
    }
}

fn longer_than_project(t: &Facts, out: &mut Findings) {
    let Some((project, longest)) = t.all("project").find_map(|p| Some((p, p.duration("longest")?))) else { return };
    for cms in t.all("cms") {
        let Some((from, data)) = t.target(cms, "from").and_then(|f| Some((f, f.size("data")?))) else { continue };
        let Some((rate, by, field)) = speed(t, cms) else { continue };
        let needs = seconds(data, rate);
        if needs > longest.as_secs() {
            let message = format!(
                "`{}` copies {} at {} in {}, the project has {}",
                cms.id.name,
                format_bytes(data),
                mbit(rate),
                rough(needs),
                rough(longest.as_secs())
            );
            out.push(&cms.id, message, |d| {
                d.label(by.at(field), "too slow")
                    .label(from.at("data"), "to be copied")
                    .label(project.at("longest"), "the time there is")
                    .help("raise the throttle, use a faster link, or plan a longer course")
            });
        }
    }
}

fn throttle_above_link(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms") {
        let (Some(throttle), Some((link, free))) = (cms.rate("throttle"), narrowest(t, cms)) else { continue };
        if throttle > free {
            let used = link.percent("utilization").map_or(String::new(), |p| format!(", {p} of it in use"));
            let all = link.rate("bandwidth").unwrap_or_default();
            let message = format!(
                "`{}` may use {}, `{}` has {} free ({}{used})",
                cms.id.name,
                mbit(throttle),
                link.id.name,
                mbit(free),
                mbit(all)
            );
            out.push(&cms.id, message, |d| {
                d.label(cms.at("throttle"), "more than is free")
                    .label(link.at("bandwidth"), format!("`{}`", link.id.name))
                    .help(format!("write throttle=\"{}Mbit/s\" or less", (free / 1_000_000).max(1)))
            });
        }
    }
}

fn workers_above_sessions(t: &Facts, out: &mut Findings) {
    for from in t.all("legacy") {
        let Some(sessions) = positive(from, "sessions") else { continue };
        let movers: Vec<&Node> = t.all("cms").filter(|c| c.reference("from") == Some(&from.id)).collect();
        let parts: Vec<u64> = movers.iter().map(|c| positive(c, "workers").unwrap_or(0)).collect();
        let total: u64 = parts.iter().sum();
        let Some(last) = movers.last().filter(|_| total > sessions) else { continue };
        let sum: Vec<String> = parts.iter().map(u64::to_string).collect();
        let sum = if parts.len() > 1 { format!("{} = {total}", sum.join(" + ")) } else { total.to_string() };
        out.push(&last.id, format!("{sum} workers read `{}`, which serves {sessions} sessions", from.id.name), |d| {
            d.label(last.at("workers"), "too many")
                .label(from.at("sessions"), "at once")
                .help(format!("write workers={sessions} or less in all"))
        });
    }
}

/// Databases that a migration fills.
fn filled<'t>(t: &'t Facts, m: &Node) -> Vec<&'t Node> {
    let Some(to) = m.reference("to") else { return Vec::new() };
    t.topology().all("database").filter(|db| db.reference("on") == Some(to) && !db.flag("public-folders")).collect()
}

fn target_too_small(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let Some((from, data)) = t.target(m, "from").and_then(|f| Some((f, f.size("data")?))) else { continue };
        let databases = filled(t, m);
        let Some(room) = databases.iter().map(|db| db.size("max-size")).sum::<Option<u64>>() else { continue };
        let Some(last) = databases.last().filter(|_| room < data) else { continue };
        let message = format!(
            "{} databases hold {}, `{}` has {}",
            databases.len(),
            format_bytes(room),
            from.id.name,
            format_bytes(data)
        );
        out.push(&m.id, message, |d| {
            d.label(last.at("max-size"), "too little in all")
                .label(from.at("data"), "to be moved")
                .help("add databases, or let them grow")
        });
    }
}

fn quota_below_average(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let Some(from) = t.target(m, "from") else { continue };
        let (Some(data), Some(mailboxes)) = (from.size("data"), positive(from, "mailboxes")) else { continue };
        let databases = filled(t, m);
        // One database without a quota can take the large ones.
        let Some(quotas) = databases.iter().map(|db| Some((db.size("quota-stop")?, *db))).collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        let average = data / mailboxes;
        let Some((most, db)) = quotas.into_iter().max_by_key(|(q, _)| *q).filter(|(q, _)| *q < average) else {
            continue;
        };
        let message = format!(
            "mailboxes of `{}` have {} on average ({} in {mailboxes}), the quota is {}",
            from.id.name,
            format_bytes(average),
            format_bytes(data),
            format_bytes(most)
        );
        out.push(&m.id, message, |d| {
            d.label(db.at("quota-stop"), "too small")
                .label(from.at("data"), "to be moved")
                .help("raise the quota of the target, or let preflight find quota and clear it")
        });
    }
}

fn pair_too_small(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    for m in t.all("migration") {
        let Some((from, data)) = t.target(m, "from").and_then(|f| Some((f, f.size("data")?))) else { continue };
        let Some(pair) = t.target(m, "to").filter(|p| p.id.kind == "pair") else { continue };
        let room = |s: &'_ Node| {
            let hardware = t.target(s, "hardware");
            let disks: Vec<u64> = s
                .children("disk")
                .chain(hardware.into_iter().flat_map(|h| h.children("disk")))
                .filter_map(|d| d.size("size"))
                .collect();
            (!disks.is_empty()).then(|| disks.iter().sum::<u64>())
        };
        let rooms = t.targets(pair, "members").filter_map(|s| Some((room(s)?, s)));
        let Some((least, server)) = rooms.min_by_key(|(r, _)| *r).filter(|(r, _)| *r < data) else { continue };
        let message = format!(
            "`{}` has disks of {}, `{}` has {} of mail",
            server.id.name,
            format_bytes(least),
            from.id.name,
            format_bytes(data)
        );
        out.push(&m.id, message, |d| {
            d.label(server.span, "too small")
                .label(from.at("data"), "to be moved")
                .help("give both members larger disks, or move to several pairs")
        });
    }
}

fn soak_outlasts(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        for c in cohorts(t, &m.id).filter(|c| c.int("canaries").unwrap_or(0) > 0) {
            let Some((w, length)) = t.target(c, "window").and_then(|w| Some((w, w.duration("for")?))) else { continue };
            let Some(soak) = c.duration("canary-soak").filter(|s| *s >= length) else { continue };
            let message = format!(
                "canaries of `{}` are watched for {}, `{}` lasts {}",
                c.id.name,
                format_duration(soak),
                w.id.name,
                format_duration(length)
            );
            out.push(&c.id, message, |d| {
                d.label(c.at("canary-soak"), "nothing is left for the others")
                    .label(w.at("for"), "the window")
                    .help("shorten the soak, or move the canaries as a cohort of their own")
            });
        }
    }
}
