//! Connectors and accepted domains: who may send what, and where it goes.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "open-relay",
        code: "L1001",
        severity: Severity::Error,
        about: "A server relays for those that it knows: one that relays for everybody is on every block list within days.",
        source: "RFC 2505, section 2.1; RFC 5321, section 7.8",
        check: open_relay,
    },
    Rule {
        name: "relay-from-outside",
        code: "L1002",
        severity: Severity::Warning,
        about: "Who may relay without a login stands in a network of ours.",
        source: "https://learn.microsoft.com/exchange/mail-flow/connectors/allow-anonymous-relay",
        check: relay_from_outside,
    },
    Rule {
        name: "login-without-tls",
        code: "L1003",
        severity: Severity::Warning,
        about: "A password is sent inside TLS only.",
        source: "RFC 4954, section 4; RFC 8314, section 3.3",
        check: login_without_tls,
    },
    Rule {
        name: "login-on-port-25",
        code: "L1004",
        severity: Severity::Warning,
        about: "Users log in on port 587 or 465: port 25 is for servers, and passwords are guessed there.",
        source: "RFC 6409, section 3.1; RFC 8314, section 3.3",
        check: login_on_port_25,
    },
    Rule {
        name: "submission-without-tls",
        code: "L1005",
        severity: Severity::Warning,
        about: "Submission on port 587 asks for TLS.",
        source: "RFC 8314, section 4.1",
        check: submission_without_tls,
    },
    Rule {
        name: "internet-without-tls",
        code: "L1006",
        severity: Severity::Warning,
        about: "Mail from and to the internet is encrypted where the other side can.",
        source: "RFC 7435, section 3; RFC 3207, section 1",
        check: internet_without_tls,
    },
    Rule {
        name: "tls-forced-on-internet",
        code: "L1007",
        severity: Severity::Warning,
        about: "A server that takes mail from the internet on port 25 offers TLS and does not ask for it: else mail is lost.",
        source: "RFC 3207, section 4",
        check: tls_forced_on_internet,
    },
    Rule {
        name: "smart-host-loop",
        code: "L1008",
        severity: Severity::Error,
        about: "A smart host is another host: a connector that names its own server sends mail in a circle.",
        source: "RFC 5321, section 6.3",
        check: smart_host_loop,
    },
    Rule {
        name: "login-without-credential",
        code: "L1009",
        severity: Severity::Warning,
        about: "A connector that logs in has a credential.",
        source: "RFC 4954, section 4",
        check: login_without_credential,
    },
    Rule {
        name: "credential-without-login",
        code: "L1010",
        severity: Severity::Warning,
        about: "A credential is used by a login: with auth=none it lies about for nothing.",
        source: "RFC 4954, section 4",
        check: credential_without_login,
    },
    Rule {
        name: "catch-all-outside",
        code: "L1011",
        severity: Severity::Warning,
        about: "A catch-all leads to a mailbox of ours: one outside passes on spam in our name and breaks DMARC of its senders.",
        source: "RFC 7960, section 3.2.1",
        check: catch_all_outside,
    },
    Rule {
        name: "postmaster-missing",
        code: "L1012",
        severity: Severity::Warning,
        about: "Every domain that takes mail has somebody who reads postmaster@.",
        source: "RFC 5321, section 4.5.1",
        check: postmaster_missing,
    },
    Rule {
        name: "wildcard-domain",
        code: "L1013",
        severity: Severity::Warning,
        about: "Domains that are relayed are named: with a wildcard we relay for names that anybody may invent.",
        source: "https://learn.microsoft.com/exchange/mail-flow/accepted-domains/accepted-domains (internal relay domains)",
        check: wildcard_domain,
    },
];

fn connectors<'f>(t: &'f Facts, direction: &'f str) -> impl Iterator<Item = &'f Node> {
    t.all("connector").filter(move |c| c.text("direction") == Some(direction))
}

/// Receive connectors by which hosts may send on to anybody without a login.
fn relays<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, IpNet, Span)> {
    let open = connectors(t, "receive")
        .filter(|c| matches!(c.text("type"), Some("relay" | "application")) && c.text("auth") == Some("none"));
    open.flat_map(|c| {
        c.values("allow").filter_map(move |v| match &v.value {
            Value::Text(text) => Some((c, text.parse().ok()?, v.span)),
            _ => None,
        })
    })
}

fn open_relay(t: &Facts, out: &mut Findings) {
    for (c, net, span) in relays(t).filter(|(_, net, _)| net.prefix_len() == 0) {
        out.push(&c.id, format!("`{}` relays for the whole internet", c.id.name), |d| {
            d.label(span, format!("{net} is everybody"))
                .label(c.at("type"), "may send on to any domain")
                .help("allow the addresses of the senders only, or ask for a login: auth=basic tls=encrypt")
        });
    }
}

fn relay_from_outside(t: &Facts, out: &mut Findings) {
    let own: Vec<IpNet> = t.all("subnet").filter_map(|s| s.text("cidr")?.parse().ok()).collect();
    if own.is_empty() {
        return;
    }
    for (c, net, span) in relays(t).filter(|(_, net, _)| net.prefix_len() > 0 && !private(net)) {
        if !own.iter().any(|o| o.contains(&net) || net.contains(o)) {
            out.push(&c.id, format!("`{}` relays for {net}, which is none of our networks", c.id.name), |d| {
                d.label(span, "in no subnet")
                    .help("write subnet NAME cidr=.. site=.. if it is ours; else ask for a login")
            });
        }
    }
}

fn private(net: &IpNet) -> bool {
    match net {
        IpNet::V4(n) => n.addr().is_private() || n.addr().is_loopback(),
        IpNet::V6(n) => n.addr().is_unique_local() || n.addr().is_loopback(),
    }
}

fn login_without_tls(t: &Facts, out: &mut Findings) {
    for c in
        t.all("connector").filter(|c| c.text("auth") == Some("basic") && matches!(c.text("tls"), Some("none" | "may")))
    {
        out.push(&c.id, format!("`{}` may send passwords in clear text", c.id.name), |d| {
            d.label(c.at("auth"), "a password")
                .label(c.at("tls"), "TLS is not asked for")
                .help("write tls=encrypt, or tls=verify for a known host")
        });
    }
}

fn login_on_port_25(t: &Facts, out: &mut Findings) {
    let wanted = |c: &&Node| c.int("port") == Some(25) && c.text("type") == Some("internet");
    for c in connectors(t, "receive").filter(wanted).filter(|c| matches!(c.text("auth"), Some("basic" | "integrated")))
    {
        out.push(&c.id, format!("`{}` offers a login on port 25 to the internet", c.id.name), |d| {
            d.label(c.at("auth"), "passwords are guessed here")
                .help("write port=587 for users, and auth=none on port 25")
        });
    }
}

fn submission_without_tls(t: &Facts, out: &mut Findings) {
    for c in
        connectors(t, "receive").filter(|c| c.int("port") == Some(587) && matches!(c.text("tls"), Some("none" | "may")))
    {
        out.push(&c.id, format!("`{}` takes submissions without TLS", c.id.name), |d| {
            d.label(c.at("port"), "submission").label(c.at("tls"), "TLS is not asked for").help("write tls=encrypt")
        });
    }
}

fn internet_without_tls(t: &Facts, out: &mut Findings) {
    for c in t.all("connector").filter(|c| c.text("type") == Some("internet") && c.text("tls") == Some("none")) {
        out.push(&c.id, format!("`{}` never encrypts", c.id.name), |d| {
            d.label(c.at("tls"), "readable on the way").help("write tls=may: encrypted where the other side can")
        });
    }
}

fn tls_forced_on_internet(t: &Facts, out: &mut Findings) {
    let public = |c: &&Node| c.text("type") == Some("internet") && c.int("port") == Some(25);
    for c in connectors(t, "receive").filter(public).filter(|c| matches!(c.text("tls"), Some("encrypt" | "verify"))) {
        out.push(&c.id, format!("`{}` refuses mail from hosts without TLS", c.id.name), |d| {
            d.label(c.at("tls"), "asked of the whole internet")
                .help("write tls=may; MTA-STS and TLSA records keep senders from falling back")
        });
    }
}

fn smart_host_loop(t: &Facts, out: &mut Findings) {
    for c in connectors(t, "send") {
        for v in c.values("smart-hosts") {
            let Value::Text(host) = &v.value else { continue };
            let own = c.values("servers").find_map(|s| match &s.value {
                Value::Ref(id) => t
                    .topology()
                    .nodes
                    .get(id)
                    .filter(|n| {
                        t.fqdn(n) == host.to_ascii_lowercase() || n.text("ip") == Some(host) || n.id.name == *host
                    })
                    .map(|n| (n, s.span)),
                _ => None,
            });
            if let Some((server, span)) = own {
                out.push(&c.id, format!("`{}` sends from `{}` to itself", c.id.name, server.id.name), |d| {
                    d.label(v.span, "smart host")
                        .label(span, "one of its own servers")
                        .help("name the next host on the way")
                });
            }
        }
    }
}

fn login_without_credential(t: &Facts, out: &mut Findings) {
    for c in connectors(t, "send").filter(|c| c.text("auth") == Some("basic") && c.value("credential").is_none()) {
        out.push(&c.id, format!("`{}` logs in with nothing", c.id.name), |d| {
            d.label(c.at("auth"), "no credential").help("write credential=(secret)\"file:..\"")
        });
    }
}

fn credential_without_login(t: &Facts, out: &mut Findings) {
    for c in t.all("connector").filter(|c| c.text("auth") == Some("none") && c.value("credential").is_some()) {
        out.push(&c.id, format!("the credential of `{}` is not used", c.id.name), |d| {
            d.label(c.at("credential"), "auth is none").help("write auth=basic, or take it away")
        });
    }
}

fn catch_all_outside(t: &Facts, out: &mut Findings) {
    for domain in t.all("accepted-domain") {
        let Some((address, to)) = domain.text("catch-all").and_then(|a| Some((a, a.rsplit_once('@')?.1))) else {
            continue;
        };
        if t.get("accepted-domain", to).is_none() {
            out.push(&domain.id, format!("unknown addresses of {} go to {address}", domain.name()), |d| {
                d.label(domain.at("catch-all"), "not a domain of ours")
                    .help("name a mailbox of ours, or leave catch-all out: senders then learn of their mistake")
            });
        }
    }
}

fn postmaster_missing(t: &Facts, out: &mut Findings) {
    let with_mailboxes: BTreeSet<&str> =
        t.all("mail-account").filter_map(|a| Some(a.name().rsplit_once('@')?.1)).collect();
    for domain in t
        .all("accepted-domain")
        .filter(|d| d.text("type") == Some("authoritative") && with_mailboxes.contains(d.name()))
    {
        let read = domain.value("postmaster").is_some() || domain.value("catch-all").is_some();
        if !read && t.get("mail-account", &format!("postmaster@{}", domain.name())).is_none() {
            out.push(&domain.id, format!("nobody reads postmaster@{}", domain.name()), |d| {
                d.label(domain.span, "no postmaster").help("write postmaster=ADDRESS")
            });
        }
    }
}

fn wildcard_domain(t: &Facts, out: &mut Findings) {
    for domain in
        t.all("accepted-domain").filter(|d| d.name().starts_with("*.") && d.text("type") != Some("authoritative"))
    {
        out.push(&domain.id, format!("mail for every name below {} is relayed", &domain.name()[2..]), |d| {
            d.label(domain.span, "a wildcard").help("name the domains that there are")
        });
    }
}
