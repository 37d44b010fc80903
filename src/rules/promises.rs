//! Levels of availability that the servers, clusters and sites behind them cannot keep, or keep by luck.

use super::{Facts, Findings, Rule};
use crate::availability::{Level, Verdict, capacities, percent, span};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "promise-out-of-reach",
        code: "L1901",
        severity: Severity::Warning,
        about: "A promise of availability is not more than its servers, clusters and sites come to, even while all failures are independent.",
        source: "docs/availability.md; Treynor, Dahlin, Rau, Beyer: The Calculus of Service Availability (ACM Queue 15, 2017)",
        check: out_of_reach,
    },
    Rule {
        name: "promise-by-luck",
        code: "L1902",
        severity: Severity::Advice,
        about: "A formal promise also holds when some failures are common to all servers of a role in a site.",
        source: "docs/availability.md; IEC 61508-6:2010, annex D (beta factor)",
        check: by_luck,
    },
    Rule {
        name: "no-spare-server",
        code: "L1903",
        severity: Severity::Warning,
        about: "The servers of a tier carry its mailboxes at 80% also while the largest of them is down (N+1).",
        source: "docs/availability.md; Google, Site Reliability Engineering, chapter 22 (Addressing Cascading Failures)",
        check: no_spare_server,
    },
];

/// Levels of this verdict, where real users are: a lab promises nothing.
fn told<'f>(t: &'f Facts, verdict: Verdict) -> impl Iterator<Item = (&'f Node, &'f Level)> {
    let levels = t.promised().iter().filter(move |l| t.real() && l.verdict == verdict);
    levels.filter_map(|l| Some((t.topology().get("sla", l.level.as_deref()?)?, l)))
}

fn push(sla: &Node, level: &Level, out: &mut Findings, help: &str) {
    let (Some(target), Some(low), Some(high)) = (level.target, level.low, level.high) else { return };
    let message = format!(
        "`{}` promises {} of {}; the forecast is {} to {}",
        sla.id.name,
        percent(target),
        level.of,
        percent(low),
        percent(high)
    );
    let window = span(level.window as f64);
    out.push(&sla.id, message, |d| {
        let d = match level.parts.first() {
            Some(p) => {
                d.label(sla.at("of"), format!("{} ({}) cost most: up to {} in {window}", p.part, p.of, span(p.at_most)))
            }
            None => d.label(sla.at("of"), "what it is about"),
        };
        d.help(format!("{help}; `cutover forecast availability` shows what it is made of"))
    });
}

fn out_of_reach(t: &Facts, out: &mut Findings) {
    for (sla, level) in told(t, Verdict::OutOfReach) {
        push(sla, level, out, "promise less, add what is missing, or say by `reliability` that it fails more seldom");
    }
}

fn by_luck(t: &Facts, out: &mut Findings) {
    for (sla, level) in told(t, Verdict::ByLuck).filter(|(s, _)| s.text("formality") == Some("formal")) {
        push(sla, level, out, "spread the servers over sites, or say by `reliability` what drills have shown");
    }
}

fn no_spare_server(t: &Facts, out: &mut Findings) {
    for tier in capacities(t.topology()).into_iter().filter(|c| t.real() && !c.has_spare()) {
        let Some(largest) = t.topology().get("server", &tier.largest) else { continue };
        let at = tier.site.as_ref().map_or_else(String::new, |s| format!(" at {s}"));
        let message = format!(
            "role {}{at} serves {} mailboxes, and carries {} while `{}` is down",
            tier.role, tier.mailboxes, tier.without_largest, tier.largest
        );
        out.push(&largest.id, message, |d| {
            d.label(largest.at("hardware"), "the largest of them")
                .help("add a server in this role, or correct `mailboxes` of its hardware")
        });
    }
}
