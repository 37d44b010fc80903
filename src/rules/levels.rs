//! Service levels that contradict one another, the topology or what measures them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::{Percent, format_duration};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "level-without-redundancy",
        code: "L1401",
        severity: Severity::Warning,
        about: "A level of 99.9% or more needs a second server in every role that it is about: one restart a month costs more.",
        source: "Google, Site Reliability Engineering, chapter 3 (Embracing Risk)",
        check: level_without_redundancy,
    },
    Rule {
        name: "level-without-target",
        code: "L1402",
        severity: Severity::Warning,
        about: "A formal level says its number: else nobody can say whether it was held.",
        source: "Google, Site Reliability Engineering, chapter 4 (Service Level Objectives)",
        check: level_without_target,
    },
    Rule {
        name: "level-without-probe",
        code: "L1403",
        severity: Severity::Warning,
        about: "A formal level of delivery, availability or performance is measured: else its report is an opinion.",
        source: "Google, Site Reliability Engineering, chapter 4 (Service Level Objectives)",
        check: level_without_probe,
    },
    Rule {
        name: "probe-laxer-than-level",
        code: "L1404",
        severity: Severity::Warning,
        about: "A probe counts as late what the level counts as late.",
        source: "Google, Site Reliability Workbook, chapter 2 (Implementing SLOs)",
        check: probe_laxer_than_level,
    },
    Rule {
        name: "probe-too-seldom",
        code: "L1405",
        severity: Severity::Warning,
        about: "A probe asks several times within the downtime that a level allows: else one failed question breaks the level.",
        source: "Google, Site Reliability Workbook, chapter 5 (Alerting on SLOs)",
        check: probe_too_seldom,
    },
    Rule {
        name: "supports-stricter",
        code: "L1406",
        severity: Severity::Warning,
        about: "A level that another one rests on is as strict as that one.",
        source: "Microsoft Operations Framework 4.0, Service Level Management (operating level agreements)",
        check: supports_stricter,
    },
    Rule {
        name: "supports-circle",
        code: "L1407",
        severity: Severity::Warning,
        about: "Levels do not rest on one another in a circle.",
        source: "Microsoft Operations Framework 4.0, Service Level Management (operating level agreements)",
        check: supports_circle,
    },
    Rule {
        name: "retention-below-level",
        code: "L1408",
        severity: Severity::Warning,
        about: "Backups are kept as long as the level of retention says.",
        source: "NIST SP 800-34 revision 1, section 3.4.1",
        check: retention_below_level,
    },
    Rule {
        name: "recovery-slower-than-level",
        code: "L1409",
        severity: Severity::Warning,
        about: "The time to recover holds the detection and the TTL of the MX record: where one host takes the mail, moving it takes that long.",
        source: "RFC 1034, section 3.6; NIST SP 800-34 revision 1, section 3.2.1",
        check: recovery_slower_than_level,
    },
    Rule {
        name: "weighting-without-counts",
        code: "L1410",
        severity: Severity::Warning,
        about: "A level that is weighted by mailboxes knows how many there are.",
        source: "Microsoft IT, Messaging Operations (availability by mailbox)",
        check: weighting_without_counts,
    },
    Rule {
        name: "scorecard-without-reader",
        code: "L1411",
        severity: Severity::Warning,
        about: "A scorecard goes to somebody.",
        source: "Microsoft Operations Framework 4.0, Service Level Management (reporting)",
        check: scorecard_without_reader,
    },
    Rule {
        name: "downtime-over-budget",
        code: "L1412",
        severity: Severity::Warning,
        about: "The downtime that a move may take fits into what the level of availability leaves.",
        source: "Google, Site Reliability Engineering, chapter 3 (error budgets)",
        check: downtime_over_budget,
    },
];

fn formal(sla: &Node) -> bool {
    sla.text("formality") == Some("formal")
}

fn target(sla: &Node) -> Option<Percent> {
    match sla.value("target").map(|v| &v.value) {
        Some(Value::Percent(p)) => Some(*p),
        _ => None,
    }
}

/// Roles without which mail or its users stand still; of others a level names the servers.
const SERVICE: [&str; 9] = ["mailbox", "cas", "hub", "edge", "imap", "smtp", "relay", "proxy", "dns"];

fn level_without_redundancy(t: &Facts, out: &mut Findings) {
    if !t.real() {
        return;
    }
    for sla in t.all("sla").filter(|s| formal(s) && s.text("type") == Some("availability")) {
        let Some(level) = target(sla).filter(|p| *p >= Percent(99_900_000)) else { continue };
        let whole = sla.texts("of").contains(&"service");
        let named = sla.values("of").filter_map(|v| match &v.value {
            Value::Ref(id) => t.topology().nodes.get(id).filter(|n| n.id.kind == "server"),
            _ => None,
        });
        let mut roles: BTreeSet<&str> = named.flat_map(|s| s.texts("roles")).collect();
        if whole {
            roles.extend(SERVICE);
        }
        for role in roles {
            if let [only] = t.with_role(role) {
                out.push(&sla.id, format!("`{}` promises {level} with one server in role {role}", sla.id.name), |d| {
                    d.label(
                        sla.at("target"),
                        format!("{} a month", shown(budget(level, Duration::from_secs(30 * 24 * 3600)))),
                    )
                    .label(only.span, format!("the only {role}"))
                    .help("add a second server in this role, or promise less")
                });
            }
        }
    }
}

/// A time for people: whole minutes where seconds say nothing.
fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    format_duration(Duration::from_secs(if seconds > 600 { seconds / 60 * 60 } else { seconds }))
}

/// What a level leaves of a window.
fn budget(level: Percent, window: Duration) -> Duration {
    let lost = 100_000_000u64.saturating_sub(level.0);
    Duration::from_secs((u128::from(lost) * u128::from(window.as_secs()) / 100_000_000) as u64)
}

fn level_without_target(t: &Facts, out: &mut Findings) {
    for sla in t.all("sla").filter(|s| formal(s)) {
        let (field, example) = match sla.text("type") {
            Some("availability" | "delivery" | "performance") => ("target", "target=\"99.9%\""),
            Some("continuance" | "resolution") => ("within", "within=\"1h\""),
            Some("retention") => ("minimum", "minimum=\"14d\""),
            _ => continue,
        };
        if sla.value(field).is_none() {
            out.push(&sla.id, format!("the level `{}` has no {field}", sla.id.name), |d| {
                d.label(sla.span, "formal, and without a number")
                    .help(format!("write {example}, or formality=informal"))
            });
        }
    }
}

fn level_without_probe(t: &Facts, out: &mut Findings) {
    for sla in t.all("sla").filter(|s| formal(s) && s.value("probe").is_none()) {
        if !matches!(sla.text("type"), Some("delivery" | "availability" | "performance")) {
            continue;
        }
        // Any probe of what the level is about measures it.
        let whole = sla.texts("of").contains(&"service") && t.all("probe").next().is_some();
        let asked = sla
            .values("of")
            .any(|v| matches!(&v.value, Value::Ref(id) if t.referrers(id).iter().any(|r| r.top.id.kind == "probe")));
        if !whole && !asked {
            out.push(&sla.id, format!("nothing measures the level `{}`", sla.id.name), |d| {
                d.label(sla.span, "no probe").help("write probe NAME type=.. { to ..; } and probe=NAME here")
            });
        }
    }
}

/// Levels with the probe that they name.
fn probed<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    t.all("sla").filter_map(|s| Some((s, t.topology().get("probe", s.text("probe")?)?)))
}

fn probe_laxer_than_level(t: &Facts, out: &mut Findings) {
    for (sla, probe) in probed(t) {
        let (Some(level), Some(within)) = (sla.duration("within"), probe.duration("within")) else { continue };
        if within > level {
            let message = format!(
                "`{}` wants {}, its probe `{}` is content with {}",
                sla.id.name,
                format_duration(level),
                probe.id.name,
                format_duration(within)
            );
            out.push(&sla.id, message, |d| {
                d.label(sla.at("within"), "the level")
                    .label(probe.at("within"), "longer")
                    .help("write the same time at both")
            });
        }
    }
}

fn probe_too_seldom(t: &Facts, out: &mut Findings) {
    for (sla, probe) in probed(t).filter(|(s, _)| s.text("type") == Some("availability")) {
        let (Some(level), Some(window), Some(every)) = (target(sla), sla.duration("window"), probe.duration("every"))
        else {
            continue;
        };
        let left = budget(level, window);
        if every * 2 > left {
            let message = format!(
                "`{}` leaves {} of downtime, its probe asks every {}",
                sla.id.name,
                shown(left),
                format_duration(every)
            );
            out.push(&sla.id, message, |d| {
                d.label(sla.at("target"), format!("{level} of {}", format_duration(window)))
                    .label(probe.at("every"), "too seldom")
                    .help("ask more often")
            });
        }
    }
}

/// Levels with those that they support, and the place where they say so.
fn supports<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node, Span)> {
    t.all("sla").flat_map(move |s| {
        s.values("supports").filter_map(move |v| match &v.value {
            Value::Ref(id) => Some((s, t.topology().nodes.get(id)?, v.span)),
            _ => None,
        })
    })
}

fn supports_stricter(t: &Facts, out: &mut Findings) {
    for (part, whole, span) in supports(t) {
        if let (Some(a), Some(b)) = (target(part), target(whole))
            && a < b
        {
            out.push(&part.id, format!("`{}` at {a} cannot carry `{}` at {b}", part.id.name, whole.id.name), |d| {
                d.label(part.at("target"), "looser")
                    .label(whole.at("target"), "than this")
                    .label(span, "which rests on it")
                    .help(format!("write a target of {b} or more here, or promise less there"))
            });
        }
    }
}

fn supports_circle(t: &Facts, out: &mut Findings) {
    let mut next: BTreeMap<&NodeId, Vec<(&NodeId, Span)>> = BTreeMap::new();
    for (part, whole, span) in supports(t) {
        next.entry(&part.id).or_default().push((&whole.id, span));
    }
    for (start, edges) in &next {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&NodeId> = edges.iter().map(|(id, _)| *id).collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(next.get(id).into_iter().flatten().map(|(id, _)| *id));
            }
        }
        // Told once, at the first of the circle by name.
        if seen.contains(start)
            && seen.iter().all(|id| *start <= *id)
            && let Some((_, span)) = edges.first()
        {
            out.push(start, format!("`{}` rests on itself", start.name), |d| {
                d.label(*span, "leads back to it").help("take one `supports` away")
            });
        }
    }
}

fn retention_below_level(t: &Facts, out: &mut Findings) {
    let levels =
        t.all("sla").filter(|s| s.text("type") == Some("retention")).filter_map(|s| Some((s.duration("minimum")?, s)));
    let Some((least, sla)) = levels.max_by_key(|(m, s)| (*m, s.id.clone())) else { return };
    for b in t.all("backup") {
        let Some(keep) = b.duration("keep").filter(|k| *k < least) else { continue };
        let message = format!(
            "`{}` keeps {}, `{}` promises {}",
            b.id.name,
            format_duration(keep),
            sla.id.name,
            format_duration(least)
        );
        out.push(&b.id, message, |d| {
            d.label(b.at("keep"), "shorter")
                .label(sla.at("minimum"), "than this")
                .help(format!("write keep={:?}", format_duration(least)))
        });
    }
}

fn recovery_slower_than_level(t: &Facts, out: &mut Findings) {
    let levels =
        t.all("sla").filter(|s| s.text("type") == Some("continuance")).filter_map(|s| Some((s.duration("within")?, s)));
    let Some((most, sla)) = levels.min_by_key(|(m, s)| (*m, s.id.clone())) else { return };
    let detect =
        t.all("probe").filter_map(|p| Some(p.duration("every")? + p.duration("timeout")?)).min().unwrap_or_default();
    for domain in t.all("accepted-domain") {
        let records: Vec<_> = t
            .records()
            .at(domain.name())
            .iter()
            .filter(|r| r.kind == "MX" && r.zone.text("view") != Some("internal"))
            .collect();
        let hosts: BTreeSet<String> = records.iter().flat_map(|r| r.targets(t)).map(|x| x.name).collect();
        let Some(r) = records.first().filter(|_| hosts.len() == 1) else { continue };
        let ttl = r.node.duration("ttl").or(r.zone.duration("ttl")).unwrap_or_default();
        if ttl + detect > most {
            let message = format!(
                "mail of {} takes {} to find another host, `{}` promises {}",
                domain.name(),
                format_duration(ttl + detect),
                sla.id.name,
                format_duration(most)
            );
            let place = if r.node.value("ttl").is_some() { r.node.at("ttl") } else { r.zone.at("ttl") };
            out.push(&sla.id, message, |d| {
                d.label(sla.at("within"), "the level")
                    .label(place, format!("senders keep the one MX host for {}", format_duration(ttl)))
                    .help("add a second MX host, or a lower ttl at the MX record")
            });
        }
    }
}

fn weighting_without_counts(t: &Facts, out: &mut Findings) {
    let counted =
        ["traffic", "legacy", "tenant"].into_iter().flat_map(|k| t.all(k)).any(|n| n.value("mailboxes").is_some());
    for sla in t.all("sla").filter(|s| !counted && s.text("weighting") == Some("mailboxes")) {
        out.push(&sla.id, format!("`{}` is weighted by mailboxes that nobody counted", sla.id.name), |d| {
            d.label(sla.at("weighting"), "by what number?").help("write traffic NAME mailboxes=..")
        });
    }
}

fn scorecard_without_reader(t: &Facts, out: &mut Findings) {
    for s in t.all("scorecard").filter(|s| s.value("to").is_none()) {
        out.push(&s.id, format!("nobody reads scorecard `{}`", s.id.name), |d| {
            d.label(s.span, "no `to`").help("write { to TEAM; }")
        });
    }
}

fn downtime_over_budget(t: &Facts, out: &mut Findings) {
    let levels = t
        .all("sla")
        .filter(|s| formal(s) && s.text("type") == Some("availability") && s.text("outages") == Some("all"));
    let left = levels.filter_map(|s| Some((budget(target(s)?, s.duration("window")?), s)));
    let Some((least, sla)) = left.min_by_key(|(b, s)| (*b, s.id.clone())) else { return };
    for m in t.all("migration") {
        let Some(down) = m.duration("downtime-max").filter(|x| *x > least) else { continue };
        let message = format!(
            "`{}` may take {} of downtime, `{}` leaves {}",
            m.id.name,
            format_duration(down),
            sla.id.name,
            shown(least)
        );
        out.push(&m.id, message, |d| {
            d.label(m.at("downtime-max"), "longer")
                .label(sla.at("target"), "than this leaves")
                .help("allow less, or write outages=unplanned at the level when the move is announced")
        });
    }
}
