//! What receivers do with mail that nobody vouches for: DMARC.

use super::super::records::{Record, starts, within};
use super::super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "dmarc-without-proof",
        code: "L0801",
        severity: Severity::Warning,
        about: "DMARC judges by SPF or DKIM: a domain with neither has all of its mail fail.",
        source: "RFC 7489, section 4.2",
        check: dmarc_without_proof,
    },
    Rule {
        name: "dmarc-without-dkim",
        code: "L0802",
        severity: Severity::Warning,
        about: "Where DMARC asks receivers to act, mail is signed: SPF alone fails when mail is forwarded.",
        source: "RFC 7489, section 10.5; RFC 7960, section 2",
        check: dmarc_without_dkim,
    },
    Rule {
        name: "dmarc-without-effect",
        code: "L0803",
        severity: Severity::Warning,
        about: "DMARC without a policy is for its reports: without them it does nothing.",
        source: "RFC 7489, section 6.3",
        check: dmarc_without_effect,
    },
    Rule {
        name: "dmarc-reports-outside",
        code: "L0804",
        severity: Severity::Warning,
        about: "Another domain that takes DMARC reports agrees by a record of its own: else nobody sends them.",
        source: "RFC 7489, section 7.1",
        check: dmarc_reports_outside,
    },
    Rule {
        name: "two-dmarc-records",
        code: "L0805",
        severity: Severity::Error,
        about: "A domain has one DMARC record: with two it has none.",
        source: "RFC 7489, section 6.6.3",
        check: two_dmarc_records,
    },
    Rule {
        name: "dmarc-at-wrong-name",
        code: "L0806",
        severity: Severity::Warning,
        about: "A DMARC record stands at _dmarc below the domain: elsewhere nobody looks.",
        source: "RFC 7489, section 6.1",
        check: dmarc_at_wrong_name,
    },
    Rule {
        name: "malformed-dmarc",
        code: "L0807",
        severity: Severity::Error,
        about: "A DMARC record begins with v=DMARC1 and says its policy: else it is passed over.",
        source: "RFC 7489, section 6.3",
        check: malformed_dmarc,
    },
    Rule {
        name: "dmarc-percent",
        code: "L0808",
        severity: Severity::Advice,
        about: "The tag pct of DMARC is gone: most receivers never followed it.",
        source: "RFC 9989, appendix A (removal of the tag pct)",
        check: dmarc_percent,
    },
];

/// Every `dmarc` node with its `mail-auth`.
fn policies<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    t.all("mail-auth").flat_map(|m| m.children("dmarc").map(move |d| (m, d)))
}

fn has(m: &Node, kind: &str) -> bool {
    m.children(kind).next().is_some()
}

fn dmarc_without_proof(t: &Facts, out: &mut Findings) {
    for (m, dmarc) in policies(t).filter(|(m, _)| !has(m, "spf") && !has(m, "dkim")) {
        if t.records().tagged(m.name(), "v=spf1").is_empty() {
            out.push(&m.id, format!("{} has DMARC and neither SPF nor DKIM", m.name()), |d| {
                d.label(dmarc.span, "judges by nothing")
                    .help("write spf { allow SERVER; } and dkim NAME key=(secret)\"..\"")
            });
        }
    }
}

fn dmarc_without_dkim(t: &Facts, out: &mut Findings) {
    for (m, dmarc) in policies(t).filter(|(m, d)| d.text("policy") != Some("none") && has(m, "spf") && !has(m, "dkim"))
    {
        let policy = dmarc.text("policy").unwrap_or_default();
        out.push(&m.id, format!("{} asks receivers to {policy} and signs nothing", m.name()), |d| {
            d.label(dmarc.at("policy"), "forwarded mail is lost")
                .help("write dkim NAME key=(secret)\"..\" { signers SERVER; }, or policy=none until then")
        });
    }
}

fn dmarc_without_effect(t: &Facts, out: &mut Findings) {
    for (m, dmarc) in policies(t).filter(|(_, d)| d.text("policy") == Some("none") && d.value("reports").is_none()) {
        out.push(&m.id, format!("DMARC of {} asks for nothing and reports to nobody", m.name()), |d| {
            d.label(dmarc.span, "policy none, no reports").help("write dmarc { reports ADDRESS; }")
        });
    }
}

fn dmarc_reports_outside(t: &Facts, out: &mut Findings) {
    for (m, dmarc) in policies(t) {
        for v in dmarc.values("reports") {
            let Value::Text(address) = &v.value else { continue };
            let Some((_, to)) = address.rsplit_once('@') else { continue };
            // The organisational domain may take reports of its parts (RFC 7489 3.2).
            if within(m.name(), to) || within(to, m.name()) {
                continue;
            }
            let Some(zone) = t.all("zone").find(|z| within(to, z.name())) else { continue };
            let agrees =
                |name: &str| !t.records().tagged(&format!("{name}._report._dmarc.{to}"), "v=DMARC1").is_empty();
            if !agrees(m.name()) && !agrees("*") {
                out.push(&m.id, format!("reports of {} go to {to}, which has not agreed", m.name()), |d| {
                    d.label(v.span, "not sent").label(zone.span, "no record in this zone").help(format!(
                        "write record {}._report._dmarc TXT \"v=DMARC1\" in zone {}",
                        m.name(),
                        zone.name()
                    ))
                });
            }
        }
    }
}

fn two_dmarc_records(t: &Facts, out: &mut Findings) {
    for (owner, _) in t.records().owners() {
        let Some(domain) = owner.strip_prefix("_dmarc.") else { continue };
        let found = t.records().tagged(owner, "v=DMARC1");
        let node = t.get("mail-auth", domain).and_then(|m| m.children("dmarc").next());
        let pair = match (found.as_slice(), node) {
            ([(a, _, first), (b, _, second), ..], _) if a.meets(b) => Some((a, *first, *second)),
            ([(a, _, second)], Some(dmarc)) => Some((a, dmarc.span, *second)),
            _ => None,
        };
        let Some((r, first, second)) = pair else { continue };
        out.push(&r.zone.id, format!("{domain} has two DMARC records"), |d| {
            d.label(second, "a second one").label(first, "the first").help("take one of them away")
        });
    }
}

fn texts<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, &'f str, Span)> {
    t.records().of("TXT").flat_map(|r| r.texts().map(move |(text, span)| (r, text, span)))
}

fn dmarc_at_wrong_name(t: &Facts, out: &mut Findings) {
    for (r, text, span) in texts(t) {
        if starts(text, "v=DMARC1") && !r.owner.starts_with("_dmarc.") && !r.owner.contains("._report._dmarc.") {
            out.push(&r.zone.id, format!("a DMARC record stands at {}", r.owner), |d| {
                d.label(span, "nobody looks here").help("write it at _dmarc")
            });
        }
    }
}

fn malformed_dmarc(t: &Facts, out: &mut Findings) {
    for (r, text, span) in texts(t).filter(|(r, _, _)| r.owner.starts_with("_dmarc.")) {
        let policy = text.split(';').any(|p| p.trim().starts_with("p="));
        let first = text.split(';').next().is_some_and(|v| v.trim() == "v=DMARC1");
        if !first || !policy {
            out.push(
                &r.zone.id,
                format!("the DMARC record of {} is passed over", r.owner.trim_start_matches("_dmarc.")),
                |d| {
                    d.label(span, if first { "says no policy" } else { "does not begin with v=DMARC1" })
                        .help("write \"v=DMARC1; p=none; rua=mailto:ADDRESS\"")
                },
            );
        }
    }
}

fn dmarc_percent(t: &Facts, out: &mut Findings) {
    for (r, text, span) in texts(t).filter(|(_, text, _)| starts(text, "v=DMARC1")) {
        if text.split(';').any(|p| p.trim().starts_with("pct=")) {
            out.push(&r.zone.id, format!("{} asks for a share of the mail", r.owner), |d| {
                d.label(span, "pct=").help("take pct away; t=y says that you are testing")
            });
        }
    }
}
