//! A certificate for a terminal.

use std::fmt::Write as _;

use super::super::moving::spoken;
use crate::model::unit::format_bytes;
use crate::process::certificate::{Certificate, Known};

/// How many people are told one by one.
const LINES: usize = 30;

pub fn text(c: &Certificate) -> String {
    let t = &c.totals;
    let mut out = format!("{} of {}: {} people on the new side", c.cohort, c.organization, t.people);
    if c.rehearsal {
        out.push_str(" (a rehearsal)");
    }
    let _ = write!(
        out,
        "\n  {} messages, {}, {} exceptions; {} of {} compared on both sides and the same",
        t.messages,
        format_bytes(t.octets),
        t.exceptions,
        t.verified,
        t.people
    );
    match (t.downtime_longest_ms, t.downtime_median_ms) {
        (Some(longest), Some(median)) => {
            let _ = write!(
                out,
                "\n  logins waited {} at most, {} in the middle, of {} measured",
                spoken(longest),
                spoken(median),
                t.measured
            );
        }
        _ => out.push_str("\n  how long logins waited is not known of anybody"),
    }
    for p in c.people.iter().take(LINES) {
        let _ = write!(out, "\n  {:<32}", p.user);
        match &p.mailbox {
            Known::Is(m) => _ = write!(out, " {:>8} messages {:>10}", m.messages, format_bytes(m.octets)),
            Known::Not { not_known } => _ = write!(out, " mailbox not known: {not_known}"),
        }
        match p.moved.value().map(|m| &m.downtime_ms) {
            Some(Known::Is(ms)) => _ = write!(out, "  waited {}", spoken(*ms)),
            _ => out.push_str("  wait not known"),
        }
        match &p.check {
            Known::Is(check) if check.differs == 0 => _ = write!(out, "  the same by {}", check.how),
            Known::Is(check) => _ = write!(out, "  {} differences by {}", check.differs, check.how),
            Known::Not { .. } => out.push_str("  comparison not known"),
        }
    }
    if c.people.len() > LINES {
        let _ = write!(out, "\n  and {} more", c.people.len() - LINES);
    }
    for l in &c.left_out {
        let why = l.reason.value().map_or("no reason was given", String::as_str);
        let _ = write!(out, "\n  left out: {}: {why}", l.user);
    }
    for phase in &c.phases {
        let good: Vec<&str> = phase
            .records
            .iter()
            .filter(|r| r.trusted && r.of_this_intent && r.kind == "approval")
            .map(|r| r.who.as_str())
            .collect();
        let signed = if good.is_empty() { "nobody".to_owned() } else { good.join(", ") };
        let intent = phase.intent.value().map_or("not known", |d| d.short());
        let _ = write!(out, "\n  phase {}, intent {intent}: signed for by {signed}", phase.name);
    }
    out
}
