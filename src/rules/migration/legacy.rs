//! The source: what is known of it, and what preflight looks for.

use std::collections::BTreeMap;

use super::must;
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "legacy-without-host",
        code: "L4601",
        severity: Severity::Error,
        about: "A source has a host, or is one of the servers: else nothing can be read from it.",
        source: "schemas/5-migration.kdl: legacy.host, legacy.server",
        check: without_host,
    },
    Rule {
        name: "legacy-unprotected",
        code: "L4602",
        severity: Severity::Warning,
        about: "A source stays protected as long as users move away from it: its removal is a step of its own.",
        source: "schemas/5-migration.kdl: legacy.protect",
        check: unprotected,
    },
    Rule {
        name: "source-without-preflight",
        code: "L4603",
        severity: Severity::Warning,
        about: "A source is looked through before users move: what cannot be moved is found while there is time.",
        source: "schemas/5-migration.kdl: preflight",
        check: without_preflight,
    },
    Rule {
        name: "preflight-lets-through",
        code: "L4604",
        severity: Severity::Warning,
        about: "Where nothing may be lost, preflight blocks what it finds.",
        source: "schemas/5-migration.kdl: preflight.block, migration.must",
        check: lets_through,
    },
    Rule {
        name: "holds-not-looked-for",
        code: "L4605",
        severity: Severity::Warning,
        about: "Preflight looks for legal holds and archives: they block until somebody has decided, because a move may break them.",
        source: "schemas/5-migration.kdl: preflight.find, cohort.held",
        check: holds,
    },
    Rule {
        name: "catch-all-not-looked-for",
        code: "L4606",
        severity: Severity::Warning,
        about: "Where the source catches all addresses of a domain, preflight looks for them: the new side refuses what no mailbox has.",
        source: "schemas/5-migration.kdl: legacy.services, preflight.find",
        check: catch_all,
    },
    Rule {
        name: "source-without-master-user",
        code: "L4607",
        severity: Severity::Warning,
        about: "Mail is read over IMAP or POP3 in the name of its users: the source has a master user, or passwords are captured first.",
        source: "schemas/5-migration.kdl: legacy.admin, migration.passwords",
        check: without_master,
    },
];

/// The migrations of each source.
fn sources<'t>(t: &'t Facts) -> BTreeMap<&'t NodeId, (&'t Node, Vec<&'t Node>)> {
    let mut all: BTreeMap<&NodeId, (&Node, Vec<&Node>)> = BTreeMap::new();
    for m in t.topology().all("migration") {
        if let Some(from) = t.topology().target(m, "from") {
            all.entry(&from.id).or_insert((from, Vec::new())).1.push(m);
        }
    }
    all
}

fn without_host(t: &Facts, out: &mut Findings) {
    for l in t.all("legacy").filter(|l| l.value("host").is_none() && l.value("server").is_none()) {
        out.push(&l.id, format!("source `{}` has no host", l.id.name), |d| {
            d.label(l.span, "where is it?").help("write host=NAME, or server=NAME of a server of this topology")
        });
    }
}

fn unprotected(t: &Facts, out: &mut Findings) {
    for (from, migrations) in sources(t).into_values() {
        let written = from.value("protect").is_some() && !from.flag("protect");
        let Some(m) = migrations.first().filter(|_| written) else { continue };
        out.push(
            &from.id,
            format!("`{}` may be destroyed while `{}` moves users away", from.id.name, m.id.name),
            |d| {
                d.label(from.at("protect"), "not protected")
                    .label(m.at("from"), "still the source")
                    .help("leave protect out until the migration is over")
            },
        );
    }
}

fn without_preflight(t: &Facts, out: &mut Findings) {
    for (id, (from, migrations)) in sources(t) {
        let Some(m) = migrations.first().filter(|_| !t.all("preflight").any(|p| p.reference("on") == Some(id))) else {
            continue;
        };
        out.push(&m.id, format!("nobody looks through `{}` before `{}`", from.id.name, m.id.name), |d| {
            d.label(m.at("from"), "this source")
                .label(from.span, "no preflight on it")
                .help(format!("add preflight NAME on={} {{ find corrupt oversize hold archive; }}", from.id.name))
        });
    }
}

fn lets_through(t: &Facts, out: &mut Findings) {
    let sources = sources(t);
    for p in t.all("preflight").filter(|p| p.value("block").is_some() && !p.flag("block")) {
        let Some((_, migrations)) = p.reference("on").and_then(|id| sources.get(id)) else { continue };
        let strict = migrations.iter().find(|m| must(m, "no-mail-lost") || must(m, "no-user-lost"));
        let Some(m) = strict else { continue };
        out.push(&p.id, format!("`{}` finds and lets through, `{}` may lose nothing", p.id.name, m.id.name), |d| {
            d.label(p.at("block"), "does not block")
                .label(m.at("must"), "promised")
                .help("leave block out; cohorts decide by `held` what becomes of what was found")
        });
    }
}

/// Preflights of each source, and whether any looks for this.
fn looked_for<'t>(t: &'t Facts, from: &NodeId, what: &str) -> Result<(), Option<&'t Node>> {
    let mut all = t.topology().all("preflight").filter(|p| p.reference("on") == Some(from)).peekable();
    let first = all.peek().copied();
    if all.any(|p| p.texts("find").contains(&what)) { Ok(()) } else { Err(first) }
}

fn holds(t: &Facts, out: &mut Findings) {
    for (id, (from, _)) in sources(t) {
        let missing: Vec<&str> = ["hold", "archive"].into_iter().filter(|w| looked_for(t, id, w).is_err()).collect();
        // A source without preflight is another rule's.
        let Some(p) = missing.first().and_then(|w| looked_for(t, id, w).err().flatten()) else { continue };
        let what = missing.join(" and ");
        out.push(&p.id, format!("`{}` does not look for {what}", p.id.name), |d| {
            d.label(p.at("find"), "what it looks for")
                .label(from.span, "may have some")
                .help(format!("add {} to `find`", missing.join(" ")))
        });
    }
}

fn catch_all(t: &Facts, out: &mut Findings) {
    for (id, (from, _)) in sources(t).into_iter().filter(|(_, (from, _))| from.texts("services").contains(&"catch-all"))
    {
        let Err(Some(p)) = looked_for(t, id, "catch-all") else { continue };
        out.push(
            &p.id,
            format!("`{}` catches all addresses, `{}` does not look for them", from.id.name, p.id.name),
            |d| {
                d.label(p.at("find"), "not among these")
                    .label(from.at("services"), "catch-all")
                    .help("add catch-all to `find`")
            },
        );
    }
}

fn without_master(t: &Facts, out: &mut Findings) {
    for (from, migrations) in sources(t).into_values().filter(|(from, _)| from.value("admin").is_none()) {
        for m in migrations.into_iter().filter(|m| !m.texts("passwords").contains(&"capture")) {
            let Some(cms) = t.target(m, "cms") else { continue };
            let extractor = cms.text("extractor").unwrap_or_default();
            if matches!(extractor, "imap" | "pop3") {
                out.push(
                    &from.id,
                    format!(
                        "`{}` reads `{}` by {extractor} without a login for its mailboxes",
                        cms.id.name, from.id.name
                    ),
                    |d| {
                        d.label(from.span, "no admin").label(cms.at("extractor"), "logs in as each user").help(
                            "write master-user=NAME admin=(secret)\"..\"; or let the proxy capture passwords first",
                        )
                    },
                );
            }
        }
    }
}
