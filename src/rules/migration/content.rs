//! The content services: what they read, write and check.

use super::must;
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::unit::Percent;
use crate::model::version::of_platform;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "extractor-of-other-product",
        code: "L4801",
        severity: Severity::Error,
        about: "An extractor reads what the source has: Maildir and mbox are formats of Unix stores, a POP3 source speaks POP3 only.",
        source: "RFC 1939; RFC 4155; schemas/5-migration.kdl: cms.extractor, legacy.product",
        check: extractor,
    },
    Rule {
        name: "importer-of-other-target",
        code: "L4802",
        severity: Severity::Error,
        about: "An importer writes what the target understands: EWS is Exchange's, JMAP is not Dovecot's, Exchange has no Maildir.",
        source: "RFC 8620; Microsoft Learn: Exchange Web Services; schemas/5-migration.kdl: cms.importer",
        check: importer,
    },
    Rule {
        name: "pop3-has-no-folders",
        code: "L4803",
        severity: Severity::Error,
        about: "POP3 shows one folder without flags: folders, flags and subscriptions cannot be read by it.",
        source: "RFC 1939, sections 3 and 5",
        check: pop3,
    },
    Rule {
        name: "items-without-end",
        code: "L4804",
        severity: Severity::Error,
        about: "Rules are read by ManageSieve and contacts by CardDAV: a mail protocol carries neither.",
        source: "RFC 5804; RFC 6352; schemas/5-migration.kdl: end",
        check: items_without_end,
    },
    Rule {
        name: "messages-without-flags",
        code: "L4805",
        severity: Severity::Warning,
        about: "With messages their flags and folders move: else all mail is unread in one folder.",
        source: "RFC 9051, section 2.3.2",
        check: without_flags,
    },
    Rule {
        name: "content-without-messages",
        code: "L4806",
        severity: Severity::Error,
        about: "Where no mail may be lost, the content service moves messages.",
        source: "schemas/5-migration.kdl: cms.items, migration.must",
        check: without_messages,
    },
    Rule {
        name: "counted-not-compared",
        code: "L4807",
        severity: Severity::Warning,
        about: "Where no mail may be lost, messages are compared by content: equal counts hide a lost and a doubled one.",
        source: "schemas/5-migration.kdl: cms.verify, migration.must",
        check: counted,
    },
    Rule {
        name: "losses-allowed",
        code: "L4808",
        severity: Severity::Warning,
        about: "Where no mail may be lost, the content service lets no item fail.",
        source: "schemas/5-migration.kdl: cms.max-failed, migration.must",
        check: losses_allowed,
    },
    Rule {
        name: "content-service-without-host",
        code: "L4809",
        severity: Severity::Error,
        about: "A content service runs on a host: those that it names, or those with the role migration.",
        source: "schemas/5-migration.kdl: cms.on",
        check: without_host,
    },
];

fn extractor(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms") {
        let (Some(extractor), Some(from)) = (cms.text("extractor"), t.target(cms, "from")) else { continue };
        let product = from.text("product").unwrap_or_default();
        let fits = match extractor {
            "imap" => product != "pop3",
            "maildir" => matches!(product, "dovecot" | "courier" | "imap" | "other"),
            "mbox" => matches!(product, "dovecot" | "imap" | "pop3" | "other"),
            _ => true,
        };
        if !fits {
            out.push(&cms.id, format!("`{}` reads {product} as {extractor}", cms.id.name), |d| {
                d.label(cms.at("extractor"), "not there").label(from.at("product"), "the source").help(
                    if product == "pop3" {
                        "write extractor=pop3"
                    } else {
                        "write extractor=imap, or extractor=custom with a program that knows the product"
                    },
                )
            });
        }
    }
}

/// Platforms of where a service writes.
fn platforms<'t>(t: &'t Facts, to: &'t Node) -> Vec<&'t Node> {
    match to.id.kind.as_str() {
        "platform" => vec![to],
        "server" => t.target(to, "platform").into_iter().collect(),
        _ => t.targets(to, "members").filter_map(|s| t.target(s, "platform")).collect(),
    }
}

fn importer(t: &Facts, out: &mut Findings) {
    // A stand-in brings an importer of its own.
    let replaced: Vec<_> =
        t.environment().into_iter().flat_map(|e| e.children("stand-in")).filter_map(|s| s.reference("name")).collect();
    for cms in t.all("cms") {
        let (Some(importer), Some(to)) = (cms.text("importer"), t.target(cms, "to")) else { continue };
        let platforms = platforms(t, to);
        let Some(first) = platforms.first().filter(|p| !replaced.contains(&&p.id)) else { continue };
        let has = |product| platforms.iter().any(|p| of_platform(p, product).is_some());
        let fits = match importer {
            "ews" => has("exchange"),
            i if i.starts_with("exchange-") => has("exchange"),
            "maildir" => !has("exchange") && !has("cyrus") && !has("stalwart"),
            "lmtp" => !has("exchange"),
            "jmap" => !(has("exchange") || has("dovecot")),
            _ => true,
        };
        // A platform of the user's own products may speak anything.
        let known = ["exchange", "dovecot", "cyrus", "stalwart"].into_iter().any(has);
        if known && !fits {
            out.push(&cms.id, format!("`{}` writes by {importer} into `{}`", cms.id.name, to.id.name), |d| {
                d.label(cms.at("importer"), "not understood there")
                    .label(first.span, "the products of the target")
                    .help(if has("exchange") { "write importer=ews" } else { "write importer=imap" })
            });
        }
    }
}

fn pop3(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms").filter(|c| c.text("extractor") == Some("pop3")) {
        let items = cms.texts("items");
        let lost: Vec<&str> = ["folders", "flags", "subscriptions"].into_iter().filter(|i| items.contains(i)).collect();
        if !lost.is_empty() {
            out.push(&cms.id, format!("`{}` cannot read {} by POP3", cms.id.name, lost.join(", ")), |d| {
                d.label(cms.at("items"), "asked for")
                    .label(cms.at("extractor"), "one folder, no flags")
                    .help("read by IMAP if the source speaks it, or leave them out and tell the users")
            });
        }
    }
}

fn items_without_end(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms").filter(|c| matches!(c.text("extractor"), Some("imap" | "pop3" | "maildir" | "mbox"))) {
        let items = cms.texts("items");
        for (item, end) in [("rules", "managesieve"), ("contacts", "carddav")] {
            if items.contains(&item) && !cms.children("end").any(|e| e.name() == end) {
                out.push(&cms.id, format!("`{}` moves {item} and has no end where they are read", cms.id.name), |d| {
                    d.label(cms.at("items"), item)
                        .label(cms.at("extractor"), format!("carries no {item}"))
                        .help(format!("add end {end} from=\"..\" to=\"..\", or leave {item} out"))
                });
            }
        }
    }
}

fn without_flags(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms").filter(|c| !matches!(c.text("extractor"), Some("pop3"))) {
        let items = cms.texts("items");
        let missing: Vec<&str> = ["flags", "folders"].into_iter().filter(|i| !items.contains(i)).collect();
        if items.contains(&"messages") && !missing.is_empty() {
            let effect = if missing.contains(&"flags") {
                "all mail is unread afterwards"
            } else {
                "all mail is in one folder afterwards"
            };
            out.push(&cms.id, format!("`{}` moves messages without {}", cms.id.name, missing.join(" and ")), |d| {
                d.label(cms.at("items"), effect).help(format!("add {} to `items`", missing.join(" ")))
            });
        }
    }
}

/// The content services of migrations that may lose no mail.
fn strict<'t>(t: &'t Facts) -> Vec<(&'t Node, &'t Node)> {
    let migrations = t.topology().all("migration").filter(|m| must(m, "no-mail-lost"));
    migrations.filter_map(|m| Some((m, t.topology().target(m, "cms")?))).collect()
}

fn without_messages(t: &Facts, out: &mut Findings) {
    for (m, cms) in strict(t) {
        if !cms.texts("items").contains(&"messages") {
            out.push(&cms.id, format!("`{}` may lose no mail, `{}` moves no messages", m.id.name, cms.id.name), |d| {
                d.label(cms.at("items"), "no messages").label(m.at("must"), "promised").help("add messages to `items`")
            });
        }
    }
}

fn counted(t: &Facts, out: &mut Findings) {
    for (m, cms) in strict(t) {
        if cms.text("verify") == Some("count") {
            out.push(&cms.id, format!("`{}` may lose no mail, `{}` only counts it", m.id.name, cms.id.name), |d| {
                d.label(cms.at("verify"), "only counts")
                    .label(m.at("must"), "promised")
                    .help("write verify=hash, or verify=full")
            });
        }
    }
}

fn losses_allowed(t: &Facts, out: &mut Findings) {
    for (m, cms) in strict(t) {
        let Some(share) = cms.percent("max-failed").filter(|p| *p > Percent(0)) else { continue };
        out.push(&cms.id, format!("`{}` may lose no mail, `{}` lets {share} fail", m.id.name, cms.id.name), |d| {
            d.label(cms.at("max-failed"), "lost")
                .label(m.at("must"), "promised")
                .help("leave max-failed out: what cannot be moved then waits for a decision")
        });
    }
}

fn without_host(t: &Facts, out: &mut Findings) {
    for cms in t.all("cms").filter(|c| c.refs("on").next().is_none()) {
        if t.with_role("migration").is_empty() {
            out.push(&cms.id, format!("`{}` runs nowhere", cms.id.name), |d| {
                d.label(cms.span, "no `on`, and no server with the role migration")
                    .help("write on SERVER, or give a server `roles migration`")
            });
        }
    }
}
