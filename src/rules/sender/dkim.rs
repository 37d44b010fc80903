//! Signatures: DKIM.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::records::Record;
use super::super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::format_duration;

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "dkim-short-key",
        code: "L0701",
        severity: Severity::Warning,
        about: "An RSA key for DKIM has 2048 bits; receivers do not accept less than 1024.",
        source: "RFC 8301, section 3.2",
        check: dkim_short_key,
    },
    Rule {
        name: "dkim-ed25519-alone",
        code: "L0702",
        severity: Severity::Warning,
        about: "Beside an Ed25519 signature stands one of RSA: many receivers do not know the former.",
        source: "RFC 8463, section 6; RFC 8301, section 3.1",
        check: dkim_ed25519_alone,
    },
    Rule {
        name: "dkim-without-signer",
        code: "L0703",
        severity: Severity::Warning,
        about: "A DKIM key has servers that sign with it.",
        source: "RFC 6376, section 5",
        check: dkim_without_signer,
    },
    Rule {
        name: "dkim-slow-rotation",
        code: "L0704",
        severity: Severity::Warning,
        about: "A DKIM key is changed every six months at least.",
        source: "M3AAWG DKIM Key Rotation Best Common Practices, section 4",
        check: dkim_slow_rotation,
    },
    Rule {
        name: "dkim-key-shared",
        code: "L0705",
        severity: Severity::Warning,
        about: "Each domain has a key of its own: one that is lost then costs one domain.",
        source: "M3AAWG DKIM Key Rotation Best Common Practices, section 3",
        check: dkim_key_shared,
    },
    Rule {
        name: "dkim-sha1",
        code: "L0706",
        severity: Severity::Error,
        about: "A DKIM key is used with SHA-256: signatures with SHA-1 count as none.",
        source: "RFC 8301, section 3.1",
        check: dkim_sha1,
    },
    Rule {
        name: "dkim-test-flag",
        code: "L0707",
        severity: Severity::Warning,
        about: "The flag t=y is for tests: with it a failed signature counts as no signature.",
        source: "RFC 6376, section 3.6.1",
        check: dkim_test_flag,
    },
    Rule {
        name: "unsigned-sender",
        code: "L0708",
        severity: Severity::Warning,
        about: "Where DMARC asks receivers to act, every sender signs: SPF alone breaks when mail is forwarded.",
        source: "RFC 7489, section 10.5; RFC 7960, section 3.2.1",
        check: unsigned_sender,
    },
];

/// Every `dkim` node with its `mail-auth`.
fn keys<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    t.all("mail-auth").flat_map(|m| m.children("dkim").map(move |k| (m, k)))
}

fn rsa(key: &Node) -> bool {
    key.text("algorithm") == Some("rsa-sha256")
}

fn dkim_short_key(t: &Facts, out: &mut Findings) {
    for (m, key) in keys(t).filter(|(_, k)| rsa(k)) {
        let Some(bits) = key.int("bits").filter(|b| *b < 2048) else { continue };
        out.push(&m.id, format!("the DKIM key `{}` of {} has {bits} bits", key.name(), m.name()), |d| {
            d.label(key.at("bits"), if bits < 1024 { "refused by receivers" } else { "too short" })
                .help("write bits=2048 and make a new key under a new name")
        });
    }
}

fn dkim_ed25519_alone(t: &Facts, out: &mut Findings) {
    for m in t.all("mail-auth").filter(|m| !m.children("dkim").any(rsa)) {
        let Some(key) = m.children("dkim").next() else { continue };
        out.push(&m.id, format!("{} signs with Ed25519 alone", m.name()), |d| {
            d.label(key.at("algorithm"), "unknown to many receivers")
                .help("add a second dkim with algorithm=rsa-sha256")
        });
    }
}

fn dkim_without_signer(t: &Facts, out: &mut Findings) {
    // While a key is changed, the next one is published before anybody signs with it, and the last one still after.
    let changes = |m: &Node, k: &Node| m.children("dkim").any(|o| o.value("signers").is_some() && rsa(o) == rsa(k));
    for (m, key) in keys(t).filter(|(m, k)| k.value("signers").is_none() && !changes(m, k)) {
        out.push(&m.id, format!("nobody signs with the DKIM key `{}` of {}", key.name(), m.name()), |d| {
            d.label(key.span, "no signers").help("write { signers SERVER; }, the servers that send to the internet")
        });
    }
}

fn dkim_slow_rotation(t: &Facts, out: &mut Findings) {
    let most = Duration::from_secs(184 * 24 * 3600);
    for (m, key) in keys(t) {
        let Some(every) = key.duration("rotate").filter(|r| *r > most) else { continue };
        out.push(
            &m.id,
            format!("the DKIM key `{}` of {} is changed every {}", key.name(), m.name(), format_duration(every)),
            |d| d.label(key.at("rotate"), "longer than six months").help("write rotate=\"180d\" or less"),
        );
    }
}

fn dkim_key_shared(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<&str, (&Node, &Node)> = BTreeMap::new();
    for (m, key) in keys(t) {
        let Some(secret) = key.secret("key") else { continue };
        let at = |k: &Node| k.at("key");
        match first.get(secret.0.as_str()) {
            Some((other, theirs)) => {
                out.push(&m.id, format!("{} and {} sign with one key", other.name(), m.name()), |d| {
                    d.label(at(key), "the same key").label(at(theirs), "as here").help("make a key for each domain")
                });
            }
            None => drop(first.insert(&secret.0, (m, key))),
        }
    }
}

/// Keys that stand in zones as text, with their tags.
fn published<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, &'f str, Span)> {
    let keys = t.records().of("TXT").filter(|r| r.owner.contains("._domainkey."));
    keys.flat_map(|r| r.texts().map(move |(text, span)| (r, text, span)))
}

fn tag<'x>(text: &'x str, name: &str) -> Option<&'x str> {
    text.split(';').filter_map(|p| p.split_once('=')).find(|(n, _)| n.trim() == name).map(|(_, v)| v.trim())
}

fn dkim_sha1(t: &Facts, out: &mut Findings) {
    for (r, text, span) in published(t) {
        if tag(text, "h").is_some_and(|h| h.split(':').all(|x| x.trim() == "sha1")) {
            out.push(&r.zone.id, format!("the key {} is for SHA-1", r.owner), |d| {
                d.label(span, "h=sha1").help("write h=sha256, or leave h= out")
            });
        }
    }
}

fn dkim_test_flag(t: &Facts, out: &mut Findings) {
    for (r, _, span) in
        published(t).filter(|(_, text, _)| tag(text, "t").is_some_and(|v| v.split(':').any(|x| x.trim() == "y")))
    {
        out.push(&r.zone.id, format!("the key {} is marked as a test", r.owner), |d| {
            d.label(span, "t=y").help("take t=y away when the tests are over")
        });
    }
}

fn unsigned_sender(t: &Facts, out: &mut Findings) {
    for m in t.all("mail-auth") {
        let Some(dmarc) = m.children("dmarc").next().filter(|d| d.text("policy") != Some("none")) else { continue };
        let signers: BTreeSet<&str> = m.children("dkim").flat_map(|k| k.texts("signers")).collect();
        if signers.is_empty() {
            continue;
        }
        let Some(spf) = m.children("spf").next() else { continue };
        let names: Vec<&str> = spf.texts("allow").into_iter().filter(|s| !signers.contains(s)).collect();
        if let Some(one) = names.first() {
            let more = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
            out.push(&m.id, format!("`{one}`{more} may send for {} and does not sign", m.name()), |d| {
                d.label(spf.at("allow"), "may send")
                    .label(dmarc.at("policy"), "receivers act on what fails")
                    .help("add it to the signers, or send its mail through a server that signs")
            });
        }
    }
}
