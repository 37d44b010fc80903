//! Who moves: cohorts against one another and against all users.

use std::collections::{BTreeMap, BTreeSet};

use super::{cohorts, size};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::Percent;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "cohorts-overlap",
        code: "L4101",
        severity: Severity::Error,
        about: "A user is in one cohort: whoever is in two is moved twice, and the second move meets a mailbox that is no longer there.",
        source: "schemas/5-migration.kdl: cohort, select and exclude",
        check: overlap,
    },
    Rule {
        name: "users-left-out",
        code: "L4102",
        severity: Severity::Warning,
        about: "The cohorts of a migration hold all users of the source: a cohort of type rest takes those that no list names.",
        source: "schemas/5-migration.kdl: cohort.type; migration.must no-user-lost",
        check: left_out,
    },
    Rule {
        name: "two-rests",
        code: "L4103",
        severity: Severity::Error,
        about: "A migration has one cohort of type rest: two of them are the same users.",
        source: "schemas/5-migration.kdl: cohort.type",
        check: two_rests,
    },
    Rule {
        name: "cohort-of-nobody",
        code: "L4104",
        severity: Severity::Error,
        about: "A pilot or a wave selects somebody.",
        source: "schemas/5-migration.kdl: select",
        check: of_nobody,
    },
    Rule {
        name: "canaries-are-all",
        code: "L4105",
        severity: Severity::Warning,
        about: "Canaries are fewer than those who follow them: else nobody is left whom they could warn.",
        source: "schemas/5-migration.kdl: cohort.canaries",
        check: canaries_are_all,
    },
    Rule {
        name: "all-may-fail",
        code: "L4106",
        severity: Severity::Warning,
        about: "A cohort stops before all of it has failed.",
        source: "schemas/5-migration.kdl: cohort.max-failed",
        check: all_may_fail,
    },
    Rule {
        name: "pilot-larger-than-wave",
        code: "L4107",
        severity: Severity::Warning,
        about: "A pilot is smaller than the waves that it tries out.",
        source: "schemas/5-migration.kdl: cohort.type",
        check: pilot_larger,
    },
    Rule {
        name: "pilot-after-wave",
        code: "L4108",
        severity: Severity::Warning,
        about: "A pilot comes before the waves.",
        source: "schemas/5-migration.kdl: cohort.type",
        check: pilot_after_wave,
    },
    Rule {
        name: "cohort-target-elsewhere",
        code: "L4109",
        severity: Severity::Error,
        about: "A cohort goes where its migration goes.",
        source: "schemas/5-migration.kdl: cohort.to, migration.to",
        check: target_elsewhere,
    },
    Rule {
        name: "deferred-to-nobody",
        code: "L4110",
        severity: Severity::Warning,
        about: "Users whom preflight defers have a later cohort that takes them.",
        source: "schemas/5-migration.kdl: cohort.held",
        check: deferred_to_nobody,
    },
];

/// What a `select` names, as people read it, with its place.
fn picks(select: &Node) -> Vec<(String, Span)> {
    let mut all = Vec::new();
    // Two filters over one export may well name different people.
    let fields = ["users", "csv", "ldif", "ldap", "tenant", "group"].into_iter();
    for field in fields.filter(|f| *f != "ldif" || select.value("ldap").is_none()) {
        for v in select.values(field) {
            match &v.value {
                Value::Text(text) => all.push((
                    match field {
                        "users" => text.to_ascii_lowercase(),
                        // The same filter over another export names other people.
                        "ldap" => format!("{field} {text} {}", select.text("ldif").unwrap_or_default()),
                        _ => format!("{field} {text}"),
                    },
                    v.span,
                )),
                Value::Ref(id) => all.push((format!("{field} {}", id.name), v.span)),
                _ => {}
            }
        }
    }
    all
}

fn overlap(t: &Facts, out: &mut Findings) {
    let excluded: BTreeMap<&NodeId, BTreeSet<String>> =
        t.all("cohort").map(|c| (&c.id, c.children("exclude").flat_map(picks).map(|(key, _)| key).collect())).collect();
    let leaves_out = |c: &Node, key: &str| excluded.get(&c.id).is_some_and(|e| e.contains(key));
    let mut first: BTreeMap<(&NodeId, String), (&Node, Span)> = BTreeMap::new();
    let mut pairs: BTreeMap<(&NodeId, &NodeId), (usize, String, Span, Span)> = BTreeMap::new();
    for c in t.all("cohort") {
        let Some(migration) = c.reference("migration") else { continue };
        // A share of a list may leave the rest of it to others.
        for s in c.children("select").filter(|s| s.value("limit").is_none()) {
            for (key, at) in picks(s) {
                if leaves_out(c, &key) {
                    continue;
                }
                match first.get(&(migration, key.clone())) {
                    Some((other, there)) if other.id != c.id => {
                        pairs.entry((&other.id, &c.id)).or_insert_with(|| (0, key.clone(), at, *there)).0 += 1;
                    }
                    Some(_) => {}
                    None => drop(first.insert((migration, key), (c, at))),
                }
            }
        }
    }
    for ((a, b), (count, key, at, there)) in pairs {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        out.push(b, format!("{key}{more} is in cohort `{}` and in `{}`", a.name, b.name), |d| {
            d.label(at, "again")
                .label(there, "already")
                .help(format!("take it out of one of them, or write exclude {{ .. }} in `{}`", b.name))
        });
    }
}

fn left_out(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| m.text("strategy") != Some("pilot")) {
        let all: Vec<&Node> = cohorts(t, &m.id).collect();
        let Some(last) = all.last().filter(|_| !all.iter().any(|c| c.text("type") == Some("rest"))) else { continue };
        let Some(from) = t.target(m, "from") else { continue };
        let known: Option<u64> = all.iter().map(|c| size(c)).sum();
        let mailboxes = from.int("mailboxes").and_then(|n| u64::try_from(n).ok());
        let message = match (known, mailboxes) {
            (Some(k), Some(n)) if k >= n => continue,
            (Some(k), Some(n)) => format!("the cohorts of `{}` name {k} of {n} mailboxes", m.id.name),
            (_, Some(n)) => format!("nothing says that the cohorts of `{}` hold all {n} mailboxes", m.id.name),
            (_, None) => {
                format!("nothing says that the cohorts of `{}` hold all mailboxes of `{}`", m.id.name, from.id.name)
            }
        };
        out.push(&m.id, message, |d| {
            d.label(m.span, "no cohort of type rest")
                .label(last.span, format!("the last of {} cohorts", all.len()))
                .help(format!("add cohort others migration={} type=rest, after the others", m.id.name))
        });
    }
}

fn two_rests(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<&NodeId, &Node> = BTreeMap::new();
    for c in t.all("cohort").filter(|c| c.text("type") == Some("rest")) {
        let Some(migration) = c.reference("migration") else { continue };
        if let Some(other) = first.insert(migration, c) {
            out.push(
                &c.id,
                format!("`{}` and `{}` are both the rest of `{}`", other.id.name, c.id.name, migration.name),
                |d| {
                    d.label(c.at("type"), "again")
                        .label(other.at("type"), "already")
                        .help("make one of them a wave with a `select`")
                },
            );
        }
    }
}

fn of_nobody(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort").filter(|c| c.text("type") != Some("rest")) {
        if c.children("select").all(|s| picks(s).is_empty()) {
            out.push(&c.id, format!("cohort `{}` selects nobody", c.id.name), |d| {
                d.label(c.span, "who moves?")
                    .help("write select { users ..; }, { csv \"..\"; }, { ldap \"..\"; } or { group ..; }")
            });
        }
    }
}

fn canaries_are_all(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let canaries = c.int("canaries").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let wave = c.int("wave-size").and_then(|n| u64::try_from(n).ok()).map(|n| (n, "wave-size"));
        let Some((all, by)) = [size(c).map(|n| (n, "select")), wave].into_iter().flatten().min() else { continue };
        if canaries > 0 && canaries >= all {
            let unit = if by == "wave-size" { "a wave" } else { "the cohort" };
            out.push(&c.id, format!("{canaries} canaries of `{}`, but {unit} has {all} users", c.id.name), |d| {
                let there = c.children("select").next().map_or(c.span, |s| s.span);
                d.label(c.at("canaries"), "all of them are canaries")
                    .label(if by == "select" { there } else { c.at(by) }, format!("{all} users"))
                    .help("write fewer canaries, about one in fifty")
            });
        }
    }
}

fn all_may_fail(t: &Facts, out: &mut Findings) {
    for node in t.all("cohort").chain(t.all("cms")) {
        if node.percent("max-failed").is_some_and(|p| p >= Percent(100_000_000)) {
            out.push(&node.id, format!("`{}` goes on when all of it has failed", node.id.name), |d| {
                d.label(node.at("max-failed"), "never stops").help("write a share that you would accept, as \"0.5%\"")
            });
        }
    }
}

fn pilot_larger(t: &Facts, out: &mut Findings) {
    for pilot in t.all("cohort").filter(|c| c.text("type") == Some("pilot")) {
        let (Some(users), Some(migration)) = (size(pilot), pilot.reference("migration")) else { continue };
        let waves = cohorts(t, migration).filter(|c| c.text("type") != Some("pilot"));
        let sized = waves
            .filter_map(|c| Some((c, c.int("wave-size").and_then(|n| u64::try_from(n).ok()).or_else(|| size(c))?)));
        let Some((wave, least)) = sized.min_by_key(|(_, n)| *n).filter(|(_, n)| *n < users) else { continue };
        out.push(
            &pilot.id,
            format!("pilot `{}` has {users} users, a wave of `{}` has {least}", pilot.id.name, wave.id.name),
            |d| {
                let at = pilot.children("select").next().map_or(pilot.span, |s| s.span);
                d.label(at, "more than it tries out")
                    .label(if wave.value("wave-size").is_some() { wave.at("wave-size") } else { wave.span }, "smaller")
                    .help("select fewer users for the pilot")
            },
        );
    }
}

/// All cohorts that come before this one, however far.
pub(super) fn before<'t>(t: &'t Facts, cohort: &'t Node) -> BTreeSet<&'t NodeId> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Node> = vec![cohort];
    while let Some(c) = open.pop() {
        for (id, _) in c.refs("after") {
            if seen.insert(id) {
                open.extend(t.nodes.get(id));
            }
        }
    }
    seen
}

fn pilot_after_wave(t: &Facts, out: &mut Findings) {
    for pilot in t.all("cohort").filter(|c| c.text("type") == Some("pilot")) {
        let waves = before(t, pilot).into_iter().filter_map(|id| t.nodes.get(id));
        let Some(wave) = waves.into_iter().find(|c| c.text("type") != Some("pilot")) else { continue };
        out.push(&pilot.id, format!("pilot `{}` moves after `{}`", pilot.id.name, wave.id.name), |d| {
            d.label(pilot.at("after"), "too late to try anything out")
                .label(wave.at("type"), "no pilot")
                .help("let the waves come after the pilot, or call this one a wave")
        });
    }
}

fn target_elsewhere(t: &Facts, out: &mut Findings) {
    for c in t.all("cohort") {
        let (Some(to), Some(m)) = (t.target(c, "to"), t.target(c, "migration")) else { continue };
        let Some(goal) = m.reference("to").filter(|g| g.kind != "platform") else { continue };
        let at = if to.id.kind == "database" { to.reference("on") } else { Some(&to.id) };
        if let Some(at) = at.filter(|at| *at != goal) {
            out.push(
                &c.id,
                format!("cohort `{}` goes to `{}`, its migration to `{}`", c.id.name, at.name, goal.name),
                |d| {
                    d.label(c.at("to"), "elsewhere")
                        .label(m.at("to"), "where the others go")
                        .help(format!("name `{}` or a database on it, or make a migration of its own", goal.name))
                },
            );
        }
    }
}

fn deferred_to_nobody(t: &Facts, out: &mut Findings) {
    let deferring: Vec<&Node> = t.all("cohort").filter(|c| c.text("held") == Some("defer")).collect();
    if deferring.is_empty() {
        return;
    }
    let mut waited_for: BTreeSet<&NodeId> = BTreeSet::new();
    for c in t.all("cohort") {
        waited_for.extend(before(t, c));
    }
    for c in deferring {
        let Some(migration) = c.reference("migration") else { continue };
        let rest = cohorts(t, migration).any(|o| o.text("type") == Some("rest") && o.id != c.id);
        if !rest && !waited_for.contains(&c.id) {
            out.push(&c.id, format!("`{}` leaves held users to a later cohort, and there is none", c.id.name), |d| {
                d.label(c.at("held"), "they would stay behind")
                    .help(format!("add a cohort with after={}, or write held=block or held=skip", c.id.name))
            });
        }
    }
}
