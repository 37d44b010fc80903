//! The migration as a whole: strategy, coexistence, and whether its parts belong together.

use super::cohorts;
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::version::of_platform;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "migration-of-nobody",
        code: "L4901",
        severity: Severity::Warning,
        about: "A migration has a cohort: users move in cohorts only.",
        source: "schemas/5-migration.kdl: cohort.migration",
        check: of_nobody,
    },
    Rule {
        name: "parts-of-other-source",
        code: "L4902",
        severity: Severity::Error,
        about: "Proxy and content service of a migration have its source.",
        source: "schemas/5-migration.kdl: migration.from, proxy.old, cms.from",
        check: other_source,
    },
    Rule {
        name: "parts-of-other-target",
        code: "L4903",
        severity: Severity::Error,
        about: "The content service of a migration writes where the migration goes.",
        source: "schemas/5-migration.kdl: migration.to, cms.to",
        check: other_target,
    },
    Rule {
        name: "coexistence-without-proxy",
        code: "L4904",
        severity: Severity::Error,
        about: "Coexistence by proxy has a proxy: it sends each user to the side that holds the mailbox.",
        source: "schemas/5-migration.kdl: migration.coexistence, migration.proxy",
        check: without_proxy,
    },
    Rule {
        name: "phases-without-coexistence",
        code: "L4905",
        severity: Severity::Error,
        about: "Where users move in parts, both sides serve for a while: mail and clients must find the right one.",
        source: "schemas/5-migration.kdl: migration.strategy, migration.coexistence",
        check: without_coexistence,
    },
    Rule {
        name: "big-bang-in-parts",
        code: "L4906",
        severity: Severity::Warning,
        about: "A big bang moves everybody in one window.",
        source: "schemas/5-migration.kdl: migration.strategy",
        check: in_parts,
    },
    Rule {
        name: "directories-drift-apart",
        code: "L4907",
        severity: Severity::Warning,
        about: "Where old and new side have a directory each and coexist, one is copied to the other: new users and addresses are known on one side only.",
        source: "schemas/5-migration.kdl: migration.directory-sync, legacy.services",
        check: drift_apart,
    },
    Rule {
        name: "hashes-do-not-fit",
        code: "L4908",
        severity: Severity::Warning,
        about: "Password hashes are imported where both sides know the scheme: Active Directory, Domino and GroupWise neither take nor give crypt hashes.",
        source: "Microsoft open specifications MS-ADTS, section 3.1.1.3.1.5 (unicodePwd takes passwords, not hashes); schemas/5-migration.kdl: migration.passwords",
        check: hashes,
    },
];

fn of_nobody(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| cohorts(t, &m.id).next().is_none()) {
        out.push(&m.id, format!("nobody moves in migration `{}`", m.id.name), |d| {
            d.label(m.span, "no cohort")
                .help(format!("add cohort NAME migration={} type=pilot {{ select {{ .. }}; }}", m.id.name))
        });
    }
}

fn other_source(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let Some(from) = m.reference("from") else { continue };
        for (part, field) in [("proxy", "old"), ("cms", "from")] {
            let Some(node) = t.target(m, part) else { continue };
            let Some(other) = node.reference(field).filter(|o| *o != from) else { continue };
            out.push(
                &m.id,
                format!(
                    "`{}` moves from `{}`, its {part} `{}` reads `{}`",
                    m.id.name, from.name, node.id.name, other.name
                ),
                |d| {
                    d.label(m.at(part), "of another source")
                        .label(node.at(field), "its source")
                        .label(m.at("from"), "the source here")
                        .help(format!("name a {part} with {field}={}", from.name))
                },
            );
        }
    }
}

fn other_target(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let (Some(to), Some(cms)) = (t.target(m, "to"), t.target(m, "cms")) else { continue };
        let Some(other) = t.target(cms, "to") else { continue };
        let member = |node: &Node, of: &Node| of.refs("members").any(|(id, _)| *id == node.id);
        let platform = |node: &Node, of: &Node| {
            of.id.kind == "platform"
                && (node.reference("platform") == Some(&of.id)
                    || t.targets(node, "members").any(|s| s.reference("platform") == Some(&of.id)))
        };
        if to.id != other.id && !member(other, to) && !platform(other, to) && !platform(to, other) {
            out.push(
                &m.id,
                format!("`{}` goes to `{}`, its cms writes to `{}`", m.id.name, to.id.name, other.id.name),
                |d| {
                    d.label(m.at("cms"), format!("`{}`", cms.id.name))
                        .label(cms.at("to"), "elsewhere")
                        .label(m.at("to"), "the target here")
                        .help(format!("write to={} at the cms", to.id.name))
                },
            );
        }
    }
}

fn without_proxy(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| m.text("coexistence") == Some("proxy") && m.value("proxy").is_none()) {
        if m.text("strategy") != Some("big-bang") {
            out.push(&m.id, format!("`{}` coexists by proxy and has none", m.id.name), |d| {
                let written = m.value("coexistence").is_some_and(|v| v.span != m.span);
                d.label(if written { m.at("coexistence") } else { m.at("strategy") }, "who sends users to their side?").help("declare a `proxy` and write proxy=NAME; or coexistence=native where the products do it themselves")
            });
        }
    }
}

fn without_coexistence(t: &Facts, out: &mut Findings) {
    for m in
        t.all("migration").filter(|m| m.text("coexistence") == Some("none") && m.text("strategy") != Some("big-bang"))
    {
        let strategy = m.text("strategy").unwrap_or_default();
        out.push(&m.id, format!("`{}` is {strategy} and has no coexistence", m.id.name), |d| {
            d.label(m.at("coexistence"), "mail for one side does not reach the other")
                .label(m.at("strategy"), "some users move earlier")
                .help("write coexistence=proxy with a proxy, or strategy=big-bang")
        });
    }
}

fn in_parts(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| m.text("strategy") == Some("big-bang")) {
        let all: Vec<&Node> = cohorts(t, &m.id).collect();
        let Some((first, other)) = all
            .split_first()
            .and_then(|(f, rest)| Some((f, rest.iter().find(|c| c.reference("window") != f.reference("window"))?)))
        else {
            continue;
        };
        out.push(
            &m.id,
            format!("big bang `{}` moves `{}` and `{}` in different windows", m.id.name, first.id.name, other.id.name),
            |d| {
                d.label(m.at("strategy"), "all at once")
                    .label(other.at("window"), "another window")
                    .label(first.at("window"), "one window")
                    .help("write strategy=phased, or put all cohorts into one window")
            },
        );
    }
}

fn drift_apart(t: &Facts, out: &mut Findings) {
    for m in
        t.all("migration").filter(|m| m.text("strategy") == Some("phased") && m.text("coexistence") == Some("proxy"))
    {
        let Some(from) = t.target(m, "from").filter(|f| f.texts("services").contains(&"ldap")) else { continue };
        if m.value("directory-sync").is_none() {
            out.push(&m.id, format!("`{}` has two directories for months and copies neither", m.id.name), |d| {
                d.label(m.span, "no directory-sync")
                    .label(from.at("services"), "a directory of its own")
                    .help("write directory-sync=\"15m\"")
            });
        }
    }
}

fn hashes(t: &Facts, out: &mut Findings) {
    for m in t.all("migration") {
        let Some(at) =
            m.values("passwords").find(|v| matches!(&v.value, crate::model::topology::Value::Text(p) if p == "import"))
        else {
            continue;
        };
        let (Some(from), Some(to)) = (t.target(m, "from"), t.target(m, "to")) else { continue };
        // Within one directory passwords stay where they are.
        if m.text("coexistence") == Some("native") {
            continue;
        }
        let product = from.text("product").unwrap_or_default();
        let platform = if to.id.kind == "platform" {
            Some(to)
        } else {
            t.targets(to, "members").next().and_then(|s| t.target(s, "platform"))
        };
        let into_ad = platform.is_some_and(|p| of_platform(p, "exchange").is_some());
        let replaced = t
            .environment()
            .into_iter()
            .flat_map(|e| e.children("stand-in"))
            .any(|s| s.reference("name") == platform.map(|p| &p.id));
        let out_of_other = product.starts_with("exchange-") || matches!(product, "domino" | "groupwise");
        if replaced || !into_ad && !out_of_other {
            continue;
        }
        out.push(&m.id, format!("`{}` imports password hashes from {product} into `{}`", m.id.name, to.id.name), |d| {
            let place = if at.span == m.span { m.at("strategy") } else { at.span };
            let d = d.label(
                place,
                if at.span == m.span { "passwords are imported unless said otherwise" } else { "they do not fit" },
            );
            d.label(from.at("product"), "the source")
                .help("write passwords capture reset: captured at the proxy, else reset with a notice")
        });
    }
}
