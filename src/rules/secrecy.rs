//! Passwords, keys and who may apply.

use std::collections::BTreeMap;

use super::{Facts, Findings, Rule};
use crate::model::Span;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "capture-without-purge",
        code: "L1601",
        severity: Severity::Warning,
        about: "Captured passwords are destroyed some days after their user has moved.",
        source: "Regulation (EU) 2016/679, article 5(1)(e) (storage limitation)",
        check: capture_without_purge,
    },
    Rule {
        name: "capture-without-recipient",
        code: "L1602",
        severity: Severity::Error,
        about: "Captured passwords are sealed to a key that lies elsewhere: else who breaks into the proxy has them all.",
        source: "NIST SP 800-63B, section 5.1.1.2 (storage of memorized secrets)",
        check: capture_without_recipient,
    },
    Rule {
        name: "capture-without-risk",
        code: "L1603",
        severity: Severity::Warning,
        about: "Capturing passwords is a risk that somebody has accepted and signed.",
        source: "NIST SP 800-37 revision 2, task R-4 (risk acceptance)",
        check: capture_without_risk,
    },
    Rule {
        name: "proxy-without-implicit-tls",
        code: "L1604",
        severity: Severity::Warning,
        about: "A proxy listens with TLS from the first byte, beside STARTTLS or alone.",
        source: "RFC 8314, section 3",
        check: proxy_without_implicit_tls,
    },
    Rule {
        name: "legacy-without-tls",
        code: "L1605",
        severity: Severity::Warning,
        about: "The password of the master user crosses the network in TLS.",
        source: "RFC 8314, section 4.1",
        check: legacy_without_tls,
    },
    Rule {
        name: "ldap-without-tls",
        code: "L1606",
        severity: Severity::Warning,
        about: "A bind with a password goes by ldaps.",
        source: "RFC 4513, section 6.3.1",
        check: ldap_without_tls,
    },
    Rule {
        name: "secret-over-http",
        code: "L1607",
        severity: Severity::Warning,
        about: "Keys and tokens are sent to https addresses only.",
        source: "RFC 6750, section 5.3; RFC 9110, section 17",
        check: secret_over_http,
    },
    Rule {
        name: "unprotected-production",
        code: "L1608",
        severity: Severity::Warning,
        about: "Production is protected: an apply there needs an open gate.",
        source: "docs/architecture.md",
        check: unprotected_production,
    },
    Rule {
        name: "shared-password",
        code: "L1609",
        severity: Severity::Warning,
        about: "Each mailbox has a password of its own.",
        source: "NIST SP 800-63B, section 5.1.1.2",
        check: shared_password,
    },
    Rule {
        name: "malformed-digest",
        code: "L1610",
        severity: Severity::Error,
        about: "The digest of an artifact is a SHA-256: 64 hexadecimal digits.",
        source: "FIPS 180-4, section 1",
        check: malformed_digest,
    },
    Rule {
        name: "secret-as-text",
        code: "L1611",
        severity: Severity::Warning,
        about: "A secret stands in a store of secrets: what looks like one does not stand in a file that goes to git.",
        source: "CWE-798 (use of hard-coded credentials)",
        check: secret_as_text,
    },
];

fn capturing<'f>(t: &'f Facts) -> impl Iterator<Item = &'f Node> {
    t.all("proxy").filter(|p| p.text("passwords") == Some("capture"))
}

fn capture_without_purge(t: &Facts, out: &mut Findings) {
    for p in capturing(t).filter(|p| p.value("purge").is_none()) {
        out.push(&p.id, format!("passwords that `{}` captures are kept for ever", p.id.name), |d| {
            d.label(p.span, "no purge").help("write purge=\"14d\": destroyed that long after the user moved")
        });
    }
}

fn capture_without_recipient(t: &Facts, out: &mut Findings) {
    for p in capturing(t).filter(|p| p.value("recipient").is_none()) {
        out.push(&p.id, format!("passwords that `{}` captures are sealed to nobody", p.id.name), |d| {
            d.label(p.at("passwords"), "whoever reads the host has them")
                .help("write recipient=age1.., the public half of a key that stays offline")
        });
    }
}

fn capture_without_risk(t: &Facts, out: &mut Findings) {
    for p in capturing(t) {
        let risk = p.text("risk").and_then(|r| t.get("risk", r));
        let signed = |r: &Node| r.text("status") == Some("accepted") && r.children("approval").next().is_some();
        match risk {
            Some(r) if signed(r) => {}
            Some(r) => out.push(&p.id, format!("the risk of `{}` is not accepted by anybody", p.id.name), |d| {
                d.label(p.at("risk"), "this risk")
                    .label(r.span, "no status=accepted with an approval")
                    .help("write status=accepted and { approval NAME; } at the risk")
            }),
            None => out.push(&p.id, format!("nobody has accepted the risk of `{}`", p.id.name), |d| {
                d.label(p.at("store"), "passwords of all users").help("write risk NAME .. and risk=NAME here")
            }),
        }
    }
}

fn proxy_without_implicit_tls(t: &Facts, out: &mut Findings) {
    for p in t.all("proxy") {
        let listen = p.texts("listen");
        for (plain, safe) in [("imap", "imaps"), ("pop3", "pop3s"), ("submission", "submissions")] {
            if listen.contains(&plain) && !listen.contains(&safe) {
                out.push(&p.id, format!("`{}` listens for {plain} and not for {safe}", p.id.name), |d| {
                    d.label(p.at("listen"), "begins without TLS").help(format!("add {safe}"))
                });
            }
        }
    }
}

fn legacy_without_tls(t: &Facts, out: &mut Findings) {
    for l in t.all("legacy").filter(|l| l.text("tls") == Some("none") && l.value("admin").is_some()) {
        out.push(&l.id, format!("the master password of `{}` is sent in clear text", l.id.name), |d| {
            d.label(l.at("tls"), "no TLS").label(l.at("admin"), "opens every mailbox").help("write tls=starttls or tls=implicit; where the product has neither, go through a tunnel and allow this rule")
        });
    }
}

fn ldap_without_tls(t: &Facts, out: &mut Findings) {
    for n in t
        .all("directory")
        .filter(|n| n.value("bind").is_some() && n.text("url").is_some_and(|u| u.starts_with("ldap://")))
    {
        out.push(&n.id, format!("the password for `{}` is sent in clear text", n.id.name), |d| {
            d.label(n.at("url"), "no TLS").label(n.at("bind"), "this password").help("write url=\"ldaps://..\"")
        });
    }
}

fn secret_over_http(t: &Facts, out: &mut Findings) {
    for (kind, url, secret) in [("vault", "url", "token"), ("dns-provider", "endpoint", "key")] {
        for n in
            t.all(kind).filter(|n| n.value(secret).is_some() && n.text(url).is_some_and(|u| u.starts_with("http://")))
        {
            out.push(&n.id, format!("the {secret} of {} is sent in clear text", n.id), |d| {
                d.label(n.at(url), "no TLS").label(n.at(secret), "this secret").help("write https://")
            });
        }
    }
}

fn unprotected_production(t: &Facts, out: &mut Findings) {
    for e in t.all("environment").filter(|e| e.text("purpose") == Some("production") && !e.flag("protected")) {
        out.push(&e.id, format!("anybody may apply to `{}` at any time", e.id.name), |d| {
            d.label(e.span, "not protected").help("write protected=#true, and a gate at=entry in its first phase")
        });
    }
}

fn shared_password(t: &Facts, out: &mut Findings) {
    let mut first: BTreeMap<&str, (&Node, Span)> = BTreeMap::new();
    for a in t.all("mail-account") {
        let Some(secret) = a.secret("password") else { continue };
        match first.get(secret.0.as_str()) {
            Some((other, theirs)) => {
                out.push(&a.id, format!("{} and {} have one password", other.name(), a.name()), |d| {
                    d.label(a.at("password"), "the same secret")
                        .label(*theirs, "as here")
                        .help("make a secret for each; for accounts of one range, $1 is what stands in its brackets: password=(secret)\"file:secrets/$1\"")
                });
            }
            None => drop(first.insert(&secret.0, (a, a.at("password")))),
        }
    }
}

fn malformed_digest(t: &Facts, out: &mut Findings) {
    let digest = |s: &str| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
    for a in t.all("artifact").filter(|a| a.text("sha256").is_some_and(|s| !digest(s))) {
        out.push(&a.id, format!("the digest of `{}` is no SHA-256", a.id.name), |d| {
            d.label(a.at("sha256"), "not 64 hexadecimal digits").help("write what sha256sum FILE prints")
        });
    }
}

/// Bits of surprise in a character (Shannon), and whether letters of both cases and digits mix: words and paths have less.
fn looks_secret(text: &str) -> bool {
    if text.len() < 20 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b)) {
        return false;
    }
    let has = |f: fn(&u8) -> bool| text.as_bytes().iter().any(f);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    let mut counts: BTreeMap<u8, f64> = BTreeMap::new();
    text.bytes().for_each(|b| *counts.entry(b).or_default() += 1.0);
    let length = text.len() as f64;
    let entropy: f64 = counts.values().map(|c| -(c / length) * (c / length).log2()).sum();
    mixed && entropy > 3.5
}

fn secret_as_text(t: &Facts, out: &mut Findings) {
    for (node, setting) in ["server", "baseline", "connector", "antispam"]
        .into_iter()
        .flat_map(|k| t.all(k))
        .flat_map(|n| n.children("setting").map(move |s| (n, s)))
    {
        if let Some(v) = setting.value("value")
            && let Value::Text(text) = &v.value
            && looks_secret(text)
        {
            out.push(&node.id, format!("the setting {} of {} looks like a secret", setting.name(), node.id), |d| {
                d.masked(v.span, "literal value in a file that goes to git").help("write (secret)\"file:..\", \"age:..\" or \"vault:..\"; then change the secret, git keeps the old one")
            });
        }
    }
}
