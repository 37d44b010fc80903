//! Probes, monitors, and who hears of what they find.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Findings, Rule};
use crate::model::counter::{self, Watched};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::{Quantity, format_duration};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "monitor-without-rule",
        code: "L1501",
        severity: Severity::Warning,
        about: "A monitor has rules: else it collects numbers that nobody looks at.",
        source: "Google, Site Reliability Engineering, chapter 6 (Monitoring Distributed Systems)",
        check: monitor_without_rule,
    },
    Rule {
        name: "rule-without-condition",
        code: "L1502",
        severity: Severity::Warning,
        about: "A rule says when it speaks: above, below, equals or drops.",
        source: "Google, Site Reliability Engineering, chapter 6 (Monitoring Distributed Systems)",
        check: rule_without_condition,
    },
    Rule {
        name: "for-shorter-than-every",
        code: "L1503",
        severity: Severity::Warning,
        about: "The time that a condition must hold spans several measurements: else one of them decides.",
        source: "https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ (for)",
        check: for_shorter_than_every,
    },
    Rule {
        name: "rule-shadowed",
        code: "L1504",
        severity: Severity::Warning,
        about: "Two rules of one severity for one counter have different directions: else the wider one says all.",
        source: "Google, Site Reliability Engineering, chapter 6 (As Simple as Possible)",
        check: rule_shadowed,
    },
    Rule {
        name: "alert-without-runbook",
        code: "L1505",
        severity: Severity::Advice,
        about: "Whoever is woken finds written down what to do.",
        source: "Google, Site Reliability Engineering, chapter 11 (Being On-Call)",
        check: alert_without_runbook,
    },
    Rule {
        name: "alert-to-nobody",
        code: "L1506",
        severity: Severity::Warning,
        about: "A red or critical rule has an escalation: else nobody is woken.",
        source: "Google, Site Reliability Engineering, chapter 11 (Being On-Call)",
        check: alert_to_nobody,
    },
    Rule {
        name: "escalation-without-on-call",
        code: "L1507",
        severity: Severity::Warning,
        about: "A tier of an escalation can be reached: by an on-call number, an address or a person with one.",
        source: "Google, Site Reliability Engineering, chapter 11 (Being On-Call)",
        check: escalation_without_on_call,
    },
    Rule {
        name: "escalation-falls",
        code: "L1508",
        severity: Severity::Warning,
        about: "Later tiers solve more than earlier ones.",
        source: "Microsoft IT, Messaging Operations (tiers of support)",
        check: escalation_falls,
    },
    Rule {
        name: "site-without-probe",
        code: "L1509",
        severity: Severity::Warning,
        about: "Where there are probes, each site whose servers users reach has one: an outage there is seen by users first otherwise.",
        source: "Google, Site Reliability Engineering, chapter 6 (Black-Box Versus White-Box)",
        check: site_without_probe,
    },
    Rule {
        name: "probe-from-itself",
        code: "L1510",
        severity: Severity::Warning,
        about: "A probe asks from another host: one that asks itself answers while the network is down.",
        source: "Google, Site Reliability Engineering, chapter 6 (Black-Box Versus White-Box)",
        check: probe_from_itself,
    },
    Rule {
        name: "probe-timeout-too-long",
        code: "L1511",
        severity: Severity::Warning,
        about: "A probe has its answer before it asks again.",
        source: "https://prometheus.io/docs/prometheus/latest/configuration/configuration/ (scrape_timeout)",
        check: probe_timeout_too_long,
    },
    Rule {
        name: "probe-without-login",
        code: "L1512",
        severity: Severity::Warning,
        about: "A probe of mailboxes signs in: a greeting says nothing of the mail behind it.",
        source: "Google, Site Reliability Engineering, chapter 6 (Symptoms Versus Causes)",
        check: probe_without_login,
    },
    Rule {
        name: "empty-runbook",
        code: "L1513",
        severity: Severity::Warning,
        about: "A runbook has a file or steps.",
        source: "Google, Site Reliability Engineering, chapter 11 (Being On-Call)",
        check: empty_runbook,
    },
    Rule {
        name: "routine-of-nobody",
        code: "L1514",
        severity: Severity::Warning,
        about: "A routine is somebody's: it names its team.",
        source: "Microsoft Operations Framework 4.0, Operations (job scheduling)",
        check: routine_of_nobody,
    },
    Rule {
        name: "share-out-of-range",
        code: "L1515",
        severity: Severity::Error,
        about: "A bound of a share lies between 0 and 100 per cent: a rule beyond it never speaks, or always does.",
        source: "Prometheus, unit tests of rules: no share of all can be more than all",
        check: share_out_of_range,
    },
];

/// Every rule with its monitor.
fn rules<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    t.all("monitor").flat_map(|m| m.children("rule").map(move |r| (m, r)))
}

fn monitor_without_rule(t: &Facts, out: &mut Findings) {
    for m in t.all("monitor").filter(|m| m.children("rule").next().is_none()) {
        out.push(&m.id, format!("monitor `{}` has no rule", m.id.name), |d| {
            d.label(m.span, "nobody hears of it").help("write { rule NAME counter=.. above=..; }")
        });
    }
}

fn rule_without_condition(t: &Facts, out: &mut Findings) {
    for (m, r) in rules(t).filter(|(_, r)| ["above", "below", "equals", "drops"].iter().all(|f| r.value(f).is_none())) {
        out.push(&m.id, format!("rule `{}` of `{}` never speaks", r.name(), m.id.name), |d| {
            d.label(r.span, "no condition").help("write above=.., below=.., equals=.. or drops=\"..%\"")
        });
    }
}

fn share_out_of_range(t: &Facts, out: &mut Findings) {
    for (m, r) in rules(t) {
        let Some(Watched::Known(counter)) = r.text("counter").and_then(counter::find) else { continue };
        if counter.unit != Quantity::Percent {
            continue;
        }
        let number = |field: &str| match r.value(field).map(|v| &v.value) {
            Some(Value::Int(n)) => Some(*n as f64),
            Some(Value::Text(text)) => text.parse::<f64>().ok(),
            _ => None,
        };
        for (field, least, most, says) in [
            ("above", 0.0, 99.999, "a share is 100 at most: this never speaks"),
            ("below", 0.001, 100.0, "a share lies between 0 and 100: this never speaks, or always does"),
            ("equals", 0.0, 100.0, "a share lies between 0 and 100: this never speaks"),
        ] {
            if number(field).is_some_and(|v| !(least..=most).contains(&v)) {
                let message =
                    format!("rule `{}` of `{}` compares a share with more or less than there is", r.name(), m.id.name);
                out.push(&m.id, message, |d| d.label(r.at(field), says).help("write a number of per cent, as 90"));
            }
        }
    }
}

fn for_shorter_than_every(t: &Facts, out: &mut Findings) {
    for (m, r) in rules(t) {
        let (Some(held), Some(every)) = (r.duration("for"), m.duration("every")) else { continue };
        if !held.is_zero() && held < every {
            let message = format!(
                "rule `{}` holds for {}, its monitor looks every {}",
                r.name(),
                format_duration(held),
                format_duration(every)
            );
            out.push(&m.id, message, |d| {
                d.label(r.at("for"), "one measurement decides")
                    .label(m.at("every"), "longer")
                    .help("write a `for` of two measurements or more, or look more often")
            });
        }
    }
}

fn rule_shadowed(t: &Facts, out: &mut Findings) {
    for m in t.all("monitor") {
        let mut seen: BTreeMap<(&str, &str, &str), &Node> = BTreeMap::new();
        for r in m.children("rule") {
            for direction in ["above", "below"] {
                let (Some(counter), Some(severity), Some(_)) =
                    (r.text("counter"), r.text("severity"), r.value(direction))
                else {
                    continue;
                };
                let Some(first) =
                    seen.insert((counter, severity, direction), r).filter(|f| f.duration("for") == r.duration("for"))
                else {
                    continue;
                };
                out.push(
                    &m.id,
                    format!(
                        "`{}` and `{}` of `{}` both speak of {counter} {direction} a bound, as {severity}",
                        first.name(),
                        r.name(),
                        m.id.name
                    ),
                    |d| {
                        d.label(r.at(direction), "one of these is enough")
                            .label(first.at(direction), "the other")
                            .help("take one away, or give it another severity")
                    },
                );
            }
        }
    }
}

fn alert_without_runbook(t: &Facts, out: &mut Findings) {
    for (m, r) in rules(t).filter(|(_, r)| r.text("severity") == Some("critical") && r.value("runbook").is_none()) {
        out.push(&m.id, format!("who is woken by `{}` of `{}` finds nothing written down", r.name(), m.id.name), |d| {
            d.label(r.span, "critical, no runbook").help("write runbook=NAME")
        });
    }
}

fn alert_to_nobody(t: &Facts, out: &mut Findings) {
    for m in t.all("monitor").filter(|m| m.value("escalation").is_none()) {
        let Some(r) = m.children("rule").find(|r| matches!(r.text("severity"), Some("red" | "critical"))) else {
            continue;
        };
        out.push(&m.id, format!("rule `{}` of `{}` wakes nobody", r.name(), m.id.name), |d| {
            d.label(m.span, "no escalation")
                .label(r.at("severity"), "somebody should hear")
                .help("write escalation=NAME at the monitor")
        });
    }
}

fn escalation_without_on_call(t: &Facts, out: &mut Findings) {
    for e in t.all("escalation") {
        let reached = |team: &str| {
            let own = t.get("team", team).is_some_and(|x| x.value("on-call").is_some() || x.value("email").is_some());
            own || t
                .referrers(&NodeId::new("team", team))
                .iter()
                .any(|r| r.top.id.kind == "person" && r.field == "teams" && r.top.value("email").is_some())
        };
        let Some(first) = e.children("tier").next() else { continue };
        if !e.children("tier").any(|x| reached(x.name())) {
            out.push(&e.id, format!("nobody of escalation `{}` can be reached", e.id.name), |d| {
                d.label(first.span, "no tier has a number or an address")
                    .help("write on-call=\"..\" or email=.. at the teams")
            });
        }
    }
}

fn escalation_falls(t: &Facts, out: &mut Findings) {
    for e in t.all("escalation") {
        let share = |x: &Node| match x.value("resolves").map(|v| &v.value) {
            Some(Value::Percent(p)) => Some(*p),
            _ => None,
        };
        let tiers: Vec<(&Node, _)> = e.children("tier").filter_map(|x| Some((x, share(x)?))).collect();
        for pair in tiers.windows(2) {
            if let [(a, x), (b, y)] = pair
                && y < x
            {
                out.push(&e.id, format!("tier {} solves {y}, {} before it {x}", b.name(), a.name()), |d| {
                    d.label(b.at("resolves"), "less")
                        .label(a.at("resolves"), "than this")
                        .help("shares count what is solved up to this tier")
                });
            }
        }
    }
}

fn site_without_probe(t: &Facts, out: &mut Findings) {
    if t.all("probe").next().is_none() || !t.real() {
        return;
    }
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    let mut open: Vec<&NodeId> = t
        .topology()
        .all("probe")
        .flat_map(|p| p.values("to"))
        .filter_map(|v| match &v.value {
            Value::Ref(id) => Some(id),
            _ => None,
        })
        .collect();
    let mut sites: BTreeSet<&str> = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(node) = t.topology().nodes.get(id).filter(|_| seen.insert(id)) else { continue };
        match id.kind.as_str() {
            "server" => sites.extend(node.text("site")),
            "site" => sites.extend(Some(id.name.as_str())),
            // A namespace leads to its target, that to its members, a proxy to its servers.
            _ => open.extend(["target", "members", "on"].iter().flat_map(|f| node.values(f)).filter_map(|v| {
                match &v.value {
                    Value::Ref(id) => Some(id),
                    _ => None,
                }
            })),
        }
    }
    let served: BTreeSet<&str> =
        ["mailbox", "imap", "cas"].iter().flat_map(|r| t.with_role(r)).filter_map(|s| s.text("site")).collect();
    for site in served.into_iter().filter(|s| !sites.contains(s)).filter_map(|s| t.get("site", s)) {
        out.push(&site.id, format!("no probe asks a server of site {}", site.id.name), |d| {
            d.label(site.span, "users reach servers here").help("add one of its servers to a probe")
        });
    }
}

fn probe_from_itself(t: &Facts, out: &mut Findings) {
    for p in t.all("probe") {
        let (from, to): (Vec<_>, Vec<_>) = (p.values("from").collect(), p.values("to").collect());
        if let ([a], [b]) = (from.as_slice(), to.as_slice())
            && a.value == b.value
        {
            out.push(&p.id, format!("probe `{}` asks itself", p.id.name), |d| {
                d.label(a.span, "asks")
                    .label(b.span, "is asked")
                    .help("ask from another host, better from another site")
            });
        }
    }
}

fn probe_timeout_too_long(t: &Facts, out: &mut Findings) {
    for p in t.all("probe") {
        let (Some(every), Some(timeout)) = (p.duration("every"), p.duration("timeout")) else { continue };
        if timeout > every {
            out.push(
                &p.id,
                format!(
                    "probe `{}` waits {} and asks every {}",
                    p.id.name,
                    format_duration(timeout),
                    format_duration(every)
                ),
                |d| {
                    d.label(p.at("timeout"), "longer")
                        .label(p.at("every"), "than this")
                        .help("wait less, or ask less often")
                },
            );
        }
    }
}

fn probe_without_login(t: &Facts, out: &mut Findings) {
    let mailboxes = |p: &&Node| {
        matches!(p.text("type"), Some("imap" | "pop" | "submission" | "mapi" | "owa" | "activesync" | "roundtrip"))
    };
    for p in t.all("probe").filter(mailboxes).filter(|p| p.value("account").is_none() || p.value("password").is_none())
    {
        let missing = if p.value("account").is_none() { "account" } else { "password" };
        out.push(&p.id, format!("probe `{}` does not sign in", p.id.name), |d| {
            d.label(p.span, format!("no {missing}"))
                .help("write account=ADDRESS password=(secret)\"..\", of a mailbox made for it")
        });
    }
}

fn empty_runbook(t: &Facts, out: &mut Findings) {
    for r in t.all("runbook").filter(|r| r.value("file").is_none() && r.value("steps").is_none()) {
        out.push(&r.id, format!("runbook `{}` says nothing", r.id.name), |d| {
            d.label(r.span, "no file, no steps").help("write file=\"runbooks/NAME.md\", or { steps \"..\"; }")
        });
    }
}

fn routine_of_nobody(t: &Facts, out: &mut Findings) {
    for r in t.all("routine").filter(|r| r.value("team").is_none()) {
        out.push(&r.id, format!("routine `{}` is nobody's", r.id.name), |d| {
            d.label(r.span, "no team").help("write team=NAME")
        });
    }
}
