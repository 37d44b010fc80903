//! Who may send for a domain: SPF.

use std::collections::BTreeSet;

use super::super::records::{Record, starts};
use super::super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "two-spf-records",
        code: "L0601",
        severity: Severity::Error,
        about: "A domain has one SPF record: with two, every check ends in an error.",
        source: "RFC 7208, sections 3.2 and 4.5",
        check: two_spf_records,
    },
    Rule {
        name: "spf-too-many-lookups",
        code: "L0602",
        severity: Severity::Error,
        about: "An SPF record needs ten DNS lookups at most: behind the tenth, every check ends in an error.",
        source: "RFC 7208, section 4.6.4",
        check: spf_too_many_lookups,
    },
    Rule {
        name: "spf-void-lookups",
        code: "L0603",
        severity: Severity::Warning,
        about: "Two names in an SPF record may lead nowhere; a third ends the check in an error.",
        source: "RFC 7208, section 4.6.4",
        check: spf_void_lookups,
    },
    Rule {
        name: "spf-allows-everybody",
        code: "L0604",
        severity: Severity::Warning,
        about: "An SPF record names senders: with +all everybody is one.",
        source: "RFC 7208, section 5.1; M3AAWG Email Authentication Recommended Best Practices, section 3.1",
        check: spf_allows_everybody,
    },
    Rule {
        name: "spf-without-all",
        code: "L0605",
        severity: Severity::Warning,
        about: "An SPF record says at its end what to think of the others: without it, nothing.",
        source: "RFC 7208, section 4.7",
        check: spf_without_all,
    },
    Rule {
        name: "spf-behind-all",
        code: "L0606",
        severity: Severity::Warning,
        about: "What stands behind `all` in an SPF record is never read.",
        source: "RFC 7208, section 5.1",
        check: spf_behind_all,
    },
    Rule {
        name: "spf-ptr",
        code: "L0607",
        severity: Severity::Warning,
        about: "The `ptr` mechanism is not used: it is slow, and receivers may skip it.",
        source: "RFC 7208, section 5.5",
        check: spf_ptr,
    },
    Rule {
        name: "spf-unknown-term",
        code: "L0608",
        severity: Severity::Error,
        about: "An SPF record has terms of the standard only: one unknown mechanism ends every check in an error.",
        source: "RFC 7208, section 4.6",
        check: spf_unknown_term,
    },
    Rule {
        name: "spf-neutral",
        code: "L0609",
        severity: Severity::Warning,
        about: "`neutral` tells receivers nothing about the others: it is for the time of a test.",
        source: "RFC 7208, section 8.2",
        check: spf_neutral,
    },
    Rule {
        name: "spf-include-without-record",
        code: "L0610",
        severity: Severity::Error,
        about: "A name that an SPF record includes has an SPF record: else every check ends in an error.",
        source: "RFC 7208, section 5.2",
        check: spf_include_without_record,
    },
    Rule {
        name: "spf-too-long",
        code: "L0611",
        severity: Severity::Warning,
        about: "An SPF record fits into an answer of 512 octets: longer ones need TCP, which some resolvers lack.",
        source: "RFC 7208, section 3.4",
        check: spf_too_long,
    },
    Rule {
        name: "sender-outside-spf",
        code: "L0612",
        severity: Severity::Warning,
        about: "A server that sends to the internet is among the senders of each domain: else its mail fails SPF.",
        source: "RFC 7208, section 2.4",
        check: sender_outside_spf,
    },
];

/// Each SPF record with its owner, the record and the place of the value.
fn policies<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, &'f str, Span)> {
    let txt = t.records().of("TXT");
    txt.flat_map(|r| r.texts().map(move |(text, span)| (r, text, span))).filter(|(_, text, _)| starts(text, "v=spf1"))
}

/// A term without its qualifier, in lower case: mechanism or modifier, and what follows `:` or `=`.
fn term(word: &str) -> (String, &str) {
    let bare = word.trim_start_matches(['+', '-', '~', '?']);
    let (name, rest) = bare.split_at(bare.find([':', '=', '/']).unwrap_or(bare.len()));
    (name.to_ascii_lowercase(), rest.trim_start_matches([':', '=']))
}

fn terms(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().skip(1)
}

fn two_spf_records(t: &Facts, out: &mut Findings) {
    for (owner, records) in t.records().owners() {
        let found = t.records().tagged(owner, "v=spf1");
        let node = t.get("mail-auth", owner).and_then(|m| m.children("spf").next());
        let pair = match (found.as_slice(), node) {
            ([(a, _, first), (b, _, second), ..], _) if a.meets(b) => Some((*first, *second)),
            ([(_, _, second)], Some(spf)) => Some((spf.span, *second)),
            _ => None,
        };
        if let (Some((first, second)), Some(r)) = (pair, records.first()) {
            out.push(&r.zone.id, format!("{owner} has two SPF records"), |d| {
                d.label(second, "a second one")
                    .label(first, "the first")
                    .help("make one of them, with the terms of both")
            });
        }
    }
}

/// Terms that ask DNS (RFC 7208 4.6.4), those of included records too where they are listed here.
fn lookups(t: &Facts, text: &str, depth: usize) -> usize {
    terms(text)
        .map(|w| {
            let (name, rest) = term(w);
            match name.as_str() {
                "include" | "redirect" => {
                    let found = t.records().tagged(&rest.to_ascii_lowercase(), "v=spf1");
                    1 + found.first().filter(|_| depth < 10).map_or(0, |(_, inner, _)| lookups(t, inner, depth + 1))
                }
                "a" | "mx" | "ptr" | "exists" => 1,
                _ => 0,
            }
        })
        .sum()
}

fn spf_too_many_lookups(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        let count = lookups(t, text, 0);
        if count > 10 {
            out.push(&r.zone.id, format!("the SPF record of {} needs {count} lookups", r.owner), |d| {
                d.label(span, "10 are allowed")
                    .help("write addresses (ip4:, ip6:) instead of names, or take includes away")
            });
        }
    }
}

fn spf_void_lookups(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        let void: Vec<String> = terms(text)
            .filter_map(|w| {
                let (name, rest) = term(w);
                let host = rest.split('/').next().unwrap_or(rest).to_ascii_lowercase();
                let host = if host.is_empty() { r.owner.clone() } else { host };
                let kinds: &[&str] = match name.as_str() {
                    "a" => &["A", "AAAA", "CNAME"],
                    "mx" => &["MX"],
                    _ => return None,
                };
                let there = t.records().at(&host).iter().any(|x| kinds.contains(&x.kind));
                (t.held(&host).is_some() && !there).then(|| format!("{name}:{host}"))
            })
            .collect();
        if void.len() > 2 {
            out.push(&r.zone.id, format!("{} terms of the SPF record of {} lead nowhere", void.len(), r.owner), |d| {
                d.label(span, void.join(", ")).help("write the records that they name, or take the terms away")
            });
        }
    }
}

fn spf_allows_everybody(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        if let Some(all) = terms(text).find(|w| w.eq_ignore_ascii_case("+all") || w.eq_ignore_ascii_case("all")) {
            out.push(&r.zone.id, format!("everybody may send for {}", r.owner), |d| {
                d.label(span, format!("`{all}`")).help("write -all, or ~all while you look for forgotten senders")
            });
        }
    }
}

fn spf_without_all(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        if !terms(text).any(|w| matches!(term(w).0.as_str(), "all" | "redirect")) {
            out.push(&r.zone.id, format!("the SPF record of {} says nothing of other senders", r.owner), |d| {
                d.label(span, "ends without `all`").help("write -all, or ~all, at its end")
            });
        }
    }
}

fn spf_behind_all(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        let mut rest = terms(text).skip_while(|w| term(w).0 != "all").skip(1).filter(|w| !w.contains('='));
        if let Some(lost) = rest.next() {
            out.push(&r.zone.id, format!("`{lost}` of the SPF record of {} is never read", r.owner), |d| {
                d.label(span, "stands behind `all`").help("move `all` to the end")
            });
        }
    }
}

fn spf_ptr(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        if terms(text).any(|w| term(w).0 == "ptr") {
            out.push(&r.zone.id, format!("the SPF record of {} uses ptr", r.owner), |d| {
                d.label(span, "`ptr`").help("write ip4:, ip6:, a or mx instead")
            });
        }
    }
}

fn spf_unknown_term(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        let known = |w: &&str| {
            let modifier = w
                .split_once('=')
                .is_some_and(|(n, _)| n.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            modifier || matches!(term(w).0.as_str(), "all" | "include" | "a" | "mx" | "ptr" | "ip4" | "ip6" | "exists")
        };
        if let Some(word) = terms(text).find(|w| !known(w)) {
            out.push(&r.zone.id, format!("the SPF record of {} has the unknown term `{word}`", r.owner), |d| {
                d.label(span, "every check ends in an error")
                    .help("the mechanisms are all, include, a, mx, ip4, ip6, exists")
            });
        }
    }
}

fn spf_neutral(t: &Facts, out: &mut Findings) {
    for m in t.all("mail-auth") {
        for spf in m.children("spf").filter(|s| s.text("all") == Some("neutral")) {
            out.push(&m.id, format!("SPF of {} is neutral about other senders", m.name()), |d| {
                d.label(spf.at("all"), "tells receivers nothing").help("write all=softfail, later all=fail")
            });
        }
    }
}

fn spf_include_without_record(t: &Facts, out: &mut Findings) {
    for (r, text, span) in policies(t) {
        for (_, name) in terms(text).map(term).filter(|(n, _)| matches!(n.as_str(), "include" | "redirect")) {
            let name = name.to_ascii_lowercase();
            let Some(zone) = t.held(&name) else { continue };
            if t.records().tagged(&name, "v=spf1").is_empty() && t.get("mail-auth", &name).is_none() {
                out.push(&r.zone.id, format!("{name}, which the SPF record of {} includes, has none", r.owner), |d| {
                    d.label(span, "includes it")
                        .label(zone.span, "no SPF record of it in this zone")
                        .help("write its record, or take the include away")
                });
            }
        }
    }
}

fn spf_too_long(t: &Facts, out: &mut Findings) {
    // 512 octets less what the header, the question and the owner take: RFC 7208 speaks of 450 as what fits.
    for (r, text, span) in policies(t).filter(|(_, text, _)| text.len() > 450) {
        out.push(&r.zone.id, format!("the SPF record of {} has {} octets", r.owner, text.len()), |d| {
            d.label(span, "450 fit into one answer")
                .help("write networks instead of single addresses, or include a second record")
        });
    }
}

fn sender_outside_spf(t: &Facts, out: &mut Findings) {
    let internet = |c: &&Node| c.text("direction") == Some("send") && c.text("type") == Some("internet");
    for m in t.all("mail-auth") {
        let Some(spf) = m.children("spf").next() else { continue };
        let allowed: BTreeSet<&str> = spf.texts("allow").into_iter().collect();
        for c in t.all("connector").filter(internet).filter(|c| c.value("smart-hosts").is_none()) {
            let Some(out_of) =
                c.values("servers").find(|v| matches!(&v.value, Value::Ref(id) if !allowed.contains(id.name.as_str())))
            else {
                continue;
            };
            let Value::Ref(server) = &out_of.value else { continue };
            out.push(
                &m.id,
                format!("`{}` sends to the internet and may not send for {}", server.name, m.name()),
                |d| {
                    d.label(spf.span, "not allowed here")
                        .label(out_of.span, "sends by this connector")
                        .help(format!("write spf {{ allow {}; }}", server.name))
                },
            );
        }
    }
}
