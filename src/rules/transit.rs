//! TLS between mail servers and towards clients, as DNS announces it: MTA-STS, TLS reports, TLSA, CAA, SRV.

use super::certificates::{covers, names, on};
use super::records::{Record, within};
use super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};
use crate::model::unit::format_duration;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "mta-sts-without-host",
        code: "L0901",
        severity: Severity::Warning,
        about: "A policy of MTA-STS is served by a web server: without one, senders find none.",
        source: "RFC 8461, section 3.3",
        check: mta_sts_without_host,
    },
    Rule {
        name: "mta-sts-host-not-covered",
        code: "L0902",
        severity: Severity::Warning,
        about: "The web server of the policy has a certificate for mta-sts.DOMAIN: else senders do not take the policy.",
        source: "RFC 8461, section 3.3",
        check: mta_sts_host_not_covered,
    },
    Rule {
        name: "mta-sts-mx-not-covered",
        code: "L0903",
        severity: Severity::Error,
        about: "With mode=enforce each MX host has a certificate of its name that others trust: else senders do not deliver.",
        source: "RFC 8461, sections 4.1 and 5",
        check: mta_sts_mx_not_covered,
    },
    Rule {
        name: "mta-sts-age",
        code: "L0904",
        severity: Severity::Warning,
        about: "Senders keep a policy of MTA-STS for a week or more, a year at most: while none is kept it protects nobody.",
        source: "RFC 8461, section 3.2",
        check: mta_sts_age,
    },
    Rule {
        name: "mta-sts-test-without-reports",
        code: "L0905",
        severity: Severity::Warning,
        about: "mode=testing is for its reports: without tls-rpt nobody hears what would have failed.",
        source: "RFC 8461, section 5; RFC 8460, section 3",
        check: mta_sts_test_without_reports,
    },
    Rule {
        name: "tlsa-usage",
        code: "L0906",
        severity: Severity::Warning,
        about: "TLSA records for SMTP name the certificate or an own authority (usage 3 or 2): senders do not use 0 and 1.",
        source: "RFC 7672, section 3.1.3",
        check: tlsa_usage,
    },
    Rule {
        name: "tlsa-not-at-mx",
        code: "L0907",
        severity: Severity::Warning,
        about: "TLSA records for SMTP stand below the MX host, not below the domain: elsewhere senders do not look.",
        source: "RFC 7672, section 2.2.3",
        check: tlsa_not_at_mx,
    },
    Rule {
        name: "caa-forbids-issuing",
        code: "L0908",
        severity: Severity::Warning,
        about: "Where CAA says that nobody may issue, no authority renews the certificate.",
        source: "RFC 8659, section 4.2",
        check: caa_forbids_issuing,
    },
    Rule {
        name: "srv-target-not-covered",
        code: "L0909",
        severity: Severity::Warning,
        about: "Clients compare the certificate with the name that SRV gave them.",
        source: "RFC 6186, section 6",
        check: srv_target_not_covered,
    },
];

/// Every `mta-sts` node that asks for something, with its `mail-auth`.
fn policies<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    t.all("mail-auth")
        .flat_map(|m| m.children("mta-sts").map(move |p| (m, p)))
        .filter(|(_, p)| p.text("mode") != Some("none"))
}

fn mta_sts_without_host(t: &Facts, out: &mut Findings) {
    for (m, p) in policies(t).filter(|(_, p)| p.value("host").is_none()) {
        out.push(&m.id, format!("nobody serves the MTA-STS policy of {}", m.name()), |d| {
            d.label(p.span, "no host").help("write host=SERVER, a web server that is reached from outside")
        });
    }
}

fn mta_sts_host_not_covered(t: &Facts, out: &mut Findings) {
    for (m, p) in policies(t) {
        let Some(host) = p.value("host") else { continue };
        let Value::Ref(id) = &host.value else { continue };
        let name = format!("mta-sts.{}", m.name());
        if !on(t, id).any(|c| covers(c, &name)) {
            out.push(&m.id, format!("`{}` has no certificate for {name}", id.name), |d| {
                let d = d.label(host.span, "serves the policy");
                match on(t, id).next() {
                    Some(c) => d.label(c.span, "its certificate has other names"),
                    None => d,
                }
                .help(format!("add {name} to the names of a certificate on `{}`", id.name))
            });
        }
    }
}

fn mta_sts_mx_not_covered(t: &Facts, out: &mut Findings) {
    for (m, p) in policies(t).filter(|(_, p)| p.text("mode") == Some("enforce")) {
        for r in t.records().at(m.name()).iter().filter(|r| r.kind == "MX") {
            for target in r.targets(t) {
                let Some(server) = target.server.or_else(|| t.named(&target.name)) else { continue };
                let trusted = |c: &&Node| c.text("issuer") == Some("import") && covers(c, &target.name);
                if !on(t, &server.id).any(|c| trusted(&c)) {
                    out.push(&m.id, format!("the MX host {} has no certificate of its name that senders trust", target.name), |d| {
                        d.label(p.at("mode"), "senders do not deliver without one")
                            .label(target.span, "MX host")
                            .help(format!("write a certificate with issuer=import and the name {}, or mode=testing until then", target.name))
                    });
                }
            }
        }
    }
}

fn mta_sts_age(t: &Facts, out: &mut Findings) {
    const WEEK: u64 = 7 * 24 * 3600;
    const MOST: u64 = 31_557_600;
    for (m, p) in policies(t) {
        let Some(age) = p.duration("max-age").filter(|a| !(WEEK..=MOST).contains(&a.as_secs())) else { continue };
        out.push(&m.id, format!("the MTA-STS policy of {} is kept for {}", m.name(), format_duration(age)), |d| {
            d.label(p.at("max-age"), if age.as_secs() < WEEK { "less than a week" } else { "more than a year" })
                .help("write a max-age of \"7d\" to \"365d\"")
        });
    }
}

fn mta_sts_test_without_reports(t: &Facts, out: &mut Findings) {
    for (m, p) in
        policies(t).filter(|(m, p)| p.text("mode") == Some("testing") && m.children("tls-rpt").next().is_none())
    {
        if t.records().tagged(&format!("_smtp._tls.{}", m.name()), "v=TLSRPTv1").is_empty() {
            out.push(&m.id, format!("{} tests MTA-STS and hears no results", m.name()), |d| {
                d.label(p.span, "mode=testing, no tls-rpt").help("write tls-rpt { reports ADDRESS; }")
            });
        }
    }
}

/// TLSA records for SMTP with the host that they are for.
fn tlsa<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Record<'f>, &'f str)> {
    t.records().of("TLSA").filter_map(|r| Some((r, r.owner.strip_prefix("_25._tcp.")?)))
}

fn tlsa_usage(t: &Facts, out: &mut Findings) {
    for (r, host) in tlsa(t) {
        for (text, span) in r.texts().filter(|(text, _)| text.starts_with(['0', '1'])) {
            out.push(&r.zone.id, format!("the TLSA record of {host} has usage {}", &text[..1]), |d| {
                d.label(span, "not used for SMTP").help("write \"3 1 1 DIGEST\" with the digest of the public key")
            });
        }
    }
}

fn tlsa_not_at_mx(t: &Facts, out: &mut Findings) {
    for (r, host) in tlsa(t) {
        let mut exchanges =
            t.records().at(host).iter().filter(|m| m.kind == "MX" && m.meets(r)).flat_map(|m| m.targets(t)).peekable();
        let Some(first) = exchanges.peek().map(|x| (x.name.clone(), x.span)) else { continue };
        if !exchanges.any(|x| x.name == host) {
            out.push(&r.zone.id, format!("a TLSA record stands below {host}, whose mail goes to {}", first.0), |d| {
                d.label(r.node.span, "nobody looks here")
                    .label(first.1, "senders look below this host")
                    .help(format!("write it at _25._tcp.{}", first.0))
            });
        }
    }
}

fn caa_forbids_issuing(t: &Facts, out: &mut Findings) {
    for c in t.all("certificate").filter(|c| c.text("issuer") == Some("import")) {
        for (name, span) in names(c) {
            let closed = t.records().of("CAA").filter(|r| within(&name, &r.owner)).max_by_key(|r| r.owner.len());
            let Some(r) = closed else { continue };
            let issue: Vec<(&str, Span)> = t
                .records()
                .at(&r.owner)
                .iter()
                .filter(|x| x.kind == "CAA")
                .flat_map(Record::texts)
                .filter(|(x, _)| x.contains(" issue "))
                .collect();
            let nobody =
                |x: &str| x.rsplit(' ').next().is_some_and(|v| v.trim_matches('"').trim() == ";" || v == "\"\"");
            if let [(text, at)] = issue.as_slice()
                && nobody(text)
            {
                out.push(&c.id, format!("nobody may issue a certificate for {name}"), |d| {
                    d.label(span, "wanted from outside")
                        .label(*at, "forbidden here")
                        .help("name the authority in the CAA record: \"0 issue ca.example\"")
                });
            }
        }
    }
}

fn srv_target_not_covered(t: &Facts, out: &mut Findings) {
    for r in t.records().of("SRV") {
        let service = r.owner.split('.').next().unwrap_or_default();
        if !matches!(service, "_imap" | "_imaps" | "_pop3" | "_pop3s" | "_submission" | "_submissions") {
            continue;
        }
        for target in r.targets(t) {
            let Some(server) = target.server.or_else(|| t.named(&target.name)) else { continue };
            let Some(first) = on(t, &server.id).next() else { continue };
            if !on(t, &server.id).any(|c| covers(c, &target.name)) {
                out.push(&r.zone.id, format!("no certificate on `{}` is for {}", server.id.name, target.name), |d| {
                    d.label(target.span, "clients are sent here")
                        .label(first.span, "its certificate has other names")
                        .help(format!("add {} to its names", target.name))
                });
            }
        }
    }
}
