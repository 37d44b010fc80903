//! Certificates, and the names that clients see.

use std::collections::{BTreeMap, BTreeSet};

use super::records::within;
use super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::model::unit::format_duration;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "namespace-not-covered",
        code: "L1101",
        severity: Severity::Warning,
        about: "The certificate of a namespace has its name: else every client warns or refuses.",
        source: "RFC 9525, section 6",
        check: namespace_not_covered,
    },
    Rule {
        name: "namespace-without-certificate",
        code: "L1102",
        severity: Severity::Warning,
        about: "A namespace says which certificate it shows.",
        source: "RFC 8314, section 4.4",
        check: namespace_without_certificate,
    },
    Rule {
        name: "certificate-not-on-target",
        code: "L1103",
        severity: Severity::Warning,
        about: "The certificate of a namespace lies on every server that answers for it.",
        source: "RFC 9525, section 6",
        check: certificate_not_on_target,
    },
    Rule {
        name: "late-renewal",
        code: "L1104",
        severity: Severity::Warning,
        about: "A certificate is renewed two weeks before its end or earlier, so that a failure can be mended.",
        source: "https://letsencrypt.org/docs/integration-guide/ (when to renew)",
        check: late_renewal,
    },
    Rule {
        name: "own-authority-outside",
        code: "L1105",
        severity: Severity::Warning,
        about: "Names for clients outside have a certificate that these clients trust.",
        source: "https://learn.microsoft.com/exchange/architecture/client-access/certificates (recommended certificates)",
        check: own_authority_outside,
    },
    Rule {
        name: "wildcard-on-many",
        code: "L1106",
        severity: Severity::Advice,
        about: "A certificate for all names of a domain lies on one server: on many, a single break-in costs all the names.",
        source: "RFC 9525, section 7.1",
        check: wildcard_on_many,
    },
    Rule {
        name: "private-key-shared",
        code: "L1107",
        severity: Severity::Warning,
        about: "Each certificate has a key of its own.",
        source: "NIST SP 800-57 part 1 revision 5, section 5.2",
        check: private_key_shared,
    },
    Rule {
        name: "certificate-of-unknown-domain",
        code: "L1108",
        severity: Severity::Warning,
        about: "Names of certificates lie in domains that the topology knows: else a letter is wrong.",
        source: "RFC 9525, section 6.3",
        check: certificate_of_unknown_domain,
    },
];

/// The names that a certificate is for, each once, with their places.
pub(super) fn names(certificate: &Node) -> impl Iterator<Item = (String, Span)> {
    let all = certificate.values("subject").chain(certificate.values("names"));
    let mut seen = BTreeSet::new();
    all.filter_map(|v| match &v.value {
        Value::Text(t) => Some((t.to_ascii_lowercase(), v.span)),
        _ => None,
    })
    .filter(move |(name, _)| seen.insert(name.clone()))
}

/// True when a certificate is for a name; a wildcard stands for one label (RFC 9525 6.3).
pub(super) fn covers(certificate: &Node, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    names(certificate).any(|(n, _)| {
        n == name || n.strip_prefix("*.").is_some_and(|base| name.split_once('.').is_some_and(|(_, rest)| rest == base))
    })
}

/// The certificates on a server or load balancer.
pub(super) fn on<'f>(t: &'f Facts, id: &NodeId) -> impl Iterator<Item = &'f Node> + use<'f> {
    t.referrers(id).iter().filter(|r| r.field == "on" && r.top.id.kind == "certificate").map(|r| r.top)
}

/// Namespaces with the certificate that they name, and the place of that name.
fn bound<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node, Span)> {
    t.all("namespace").filter_map(|n| {
        let v = n.value("certificate")?;
        let Value::Ref(id) = &v.value else { return None };
        Some((n, t.topology().nodes.get(id)?, v.span))
    })
}

fn namespace_not_covered(t: &Facts, out: &mut Findings) {
    for (n, c, span) in bound(t).filter(|(n, c, _)| !covers(c, n.name())) {
        out.push(&n.id, format!("the certificate `{}` is not for {}", c.id.name, n.name()), |d| {
            d.label(span, "shown to clients")
                .label(c.span, "has other names")
                .help(format!("add {} to its names", n.name()))
        });
    }
}

/// Only where the topology has certificates at all: else they are another's work.
fn namespace_without_certificate(t: &Facts, out: &mut Findings) {
    let any = t.all("certificate").next().is_some();
    for n in t.all("namespace").filter(|n| any && n.value("certificate").is_none()) {
        out.push(&n.id, format!("{} names no certificate", n.name()), |d| {
            d.label(n.span, "what do clients see?").help("write certificate=NAME")
        });
    }
}

fn certificate_not_on_target(t: &Facts, out: &mut Findings) {
    for (n, c, span) in bound(t) {
        let on: BTreeSet<&NodeId> = c
            .values("on")
            .filter_map(|v| match &v.value {
                Value::Ref(id) => Some(id),
                _ => None,
            })
            .collect();
        let Some(Value::Ref(target)) = n.value("target").map(|v| &v.value) else { continue };
        let members = t.topology().nodes.get(target).into_iter().flat_map(|x| x.values("members"));
        let mut hosts: Vec<&NodeId> = members
            .filter_map(|v| match &v.value {
                Value::Ref(id) => Some(id),
                _ => None,
            })
            .collect();
        if hosts.is_empty() {
            hosts.push(target);
        }
        if let Some(bare) = hosts.iter().find(|h| !on.contains(*h) && !on.contains(target)) {
            out.push(&n.id, format!("`{}` answers for {} without its certificate", bare.name, n.name()), |d| {
                d.label(span, "the certificate of the namespace")
                    .label(c.at("on"), format!("does not lie on `{}`", bare.name))
                    .help(format!("add {} to `on` of certificate {}", bare.name, c.id.name))
            });
        }
    }
}

fn late_renewal(t: &Facts, out: &mut Findings) {
    for c in t.all("certificate").filter(|c| c.text("issuer") != Some("self-signed")) {
        let Some(before) = c.duration("renew-before").filter(|b| b.as_secs() < 14 * 24 * 3600) else { continue };
        out.push(&c.id, format!("`{}` is renewed {} before its end", c.id.name, format_duration(before)), |d| {
            d.label(c.at("renew-before"), "too late to mend what fails").help("write renew-before=\"30d\"")
        });
    }
}

fn own_authority_outside(t: &Facts, out: &mut Findings) {
    if t.purpose() != Some("production") {
        return;
    }
    for (n, c, span) in
        bound(t).filter(|(n, c, _)| n.text("scope") != Some("internal") && c.text("issuer") != Some("import"))
    {
        let issuer = c.text("issuer").unwrap_or_default();
        out.push(&c.id, format!("clients outside do not trust the certificate of {}", n.name()), |d| {
            d.label(c.at("issuer"), if issuer == "internal" { "our own authority" } else { "signed by itself" })
                .label(span, "shown to clients outside")
                .help("write issuer=import key=(secret)\"..\" chain=\"..\", or scope=internal")
        });
    }
}

fn wildcard_on_many(t: &Facts, out: &mut Findings) {
    for c in t.all("certificate").filter(|c| c.values("on").count() > 1) {
        let Some((name, span)) = names(c).find(|(n, _)| n.starts_with("*.")) else { continue };
        out.push(&c.id, format!("`{}` is for {name} and lies on {} servers", c.id.name, c.values("on").count()), |d| {
            d.label(span, "every name below")
                .label(c.at("on"), "the same key on each")
                .help("write the names that there are")
        });
    }
}

fn private_key_shared(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<&str, (&Node, Span)> = BTreeMap::new();
    for c in t.all("certificate") {
        let (Some(secret), Some(v)) = (c.secret("key"), c.value("key")) else { continue };
        match first.get(secret.0.as_str()) {
            Some((other, theirs)) => {
                out.push(&c.id, format!("`{}` and `{}` have one key", other.id.name, c.id.name), |d| {
                    d.label(v.span, "the same key")
                        .label(*theirs, "as here")
                        .help("make a key for each, or one certificate with all the names")
                });
            }
            None => drop(first.insert(&secret.0, (c, v.span))),
        }
    }
}

fn certificate_of_unknown_domain(t: &Facts, out: &mut Findings) {
    let mut known: Vec<String> = ["accepted-domain", "zone", "namespace"]
        .into_iter()
        .flat_map(|k| t.all(k))
        .map(|n| n.name().trim_start_matches("*.").to_owned())
        .collect();
    known.extend(t.organization().and_then(|o| o.text("domain")).map(str::to_owned));
    known.extend(t.all("server").filter_map(|s| s.text("fqdn")).map(str::to_owned));
    known.extend(t.all("legacy").filter_map(|l| l.text("host")).map(str::to_owned));
    known.extend(t.all("directory").flat_map(|d| d.texts("domains")).map(str::to_owned));
    if known.is_empty() {
        return;
    }
    for c in t.all("certificate") {
        for (name, span) in names(c) {
            let bare = name.trim_start_matches("*.");
            if !known.iter().any(|k| within(bare, k)) {
                out.push(&c.id, format!("{name} lies in no domain of this topology"), |d| {
                    d.label(span, "unknown domain")
                        .help("mend the name, or write accepted-domain or zone for its domain")
                });
            }
        }
    }
}
