//! The proxy between old and new, and the passwords that pass through it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, NodeId, Value};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "proxy-onto-itself",
        code: "L4701",
        severity: Severity::Error,
        about: "The new side of a proxy is another host than the old one.",
        source: "schemas/5-migration.kdl: proxy.old, proxy.new",
        check: onto_itself,
    },
    Rule {
        name: "proxy-not-in-front",
        code: "L4702",
        severity: Severity::Warning,
        about: "Some name of clients leads to a proxy: else everybody goes past it and no route takes effect.",
        source: "schemas/5-migration.kdl: proxy.on; schemas/3-mailflow.kdl: namespace.target, record.to",
        check: not_in_front,
    },
    Rule {
        name: "proxy-drops-service",
        code: "L4703",
        severity: Severity::Warning,
        about: "A proxy listens for every mail service that the source offers: clients of the others lose theirs.",
        source: "schemas/5-migration.kdl: legacy.services, proxy.listen",
        check: drops_service,
    },
    Rule {
        name: "capture-for-nothing",
        code: "L4704",
        severity: Severity::Warning,
        about: "Passwords are captured only where a migration uses them.",
        source: "schemas/5-migration.kdl: proxy.passwords, migration.passwords",
        check: for_nothing,
    },
    Rule {
        name: "captured-nowhere",
        code: "L4705",
        severity: Severity::Error,
        about: "A migration that counts on captured passwords has a proxy that captures them.",
        source: "schemas/5-migration.kdl: migration.passwords, proxy.passwords",
        check: captured_nowhere,
    },
];

/// Servers behind a node: itself, its members, or those behind its target.
fn behind<'t>(t: &'t Facts, node: &'t Node, depth: u8) -> Vec<&'t Node> {
    let field = match node.id.kind.as_str() {
        "server" => return vec![node],
        "namespace" => "target",
        _ => "members",
    };
    // A namespace leads to a load balancer, and that to servers.
    if depth == 0 { Vec::new() } else { t.targets(node, field).flat_map(|n| behind(t, n, depth - 1)).collect() }
}

fn onto_itself(t: &Facts, out: &mut Findings) {
    for p in t.all("proxy") {
        let (Some(old), Some(new)) = (t.target(p, "old"), t.target(p, "new")) else { continue };
        let servers = behind(t, new, 3);
        let same = servers.iter().find(|s| {
            let host = old.text("host");
            old.reference("server") == Some(&s.id) || host.is_some() && (host == s.text("fqdn") || host == s.text("ip"))
        });
        let Some(s) = same else { continue };
        out.push(&p.id, format!("old and new side of `{}` are both `{}`", p.id.name, s.id.name), |d| {
            d.label(p.at("new"), "leads there").label(p.at("old"), "is it").help("name the new store as `new`")
        });
    }
}

fn not_in_front(t: &Facts, out: &mut Findings) {
    let proxies: Vec<&Node> = t.all("proxy").collect();
    // Without zones and namespaces, names are kept elsewhere.
    if proxies.is_empty() || t.all("zone").next().is_none() && t.all("namespace").next().is_none() {
        return;
    }
    let mut reached: BTreeSet<&NodeId> = BTreeSet::new();
    let mut words: BTreeSet<&str> = BTreeSet::new();
    for name in t.all("namespace") {
        reached.extend(behind(t, name, 3).into_iter().map(|s| &s.id));
    }
    for record in t.all("zone").flat_map(|z| z.children("record")) {
        words.insert(record.name());
        for v in record.values("values") {
            if let Value::Text(text) = &v.value {
                words.insert(text);
            }
        }
        for (id, _) in record.refs("to") {
            reached.extend(t.nodes.get(id).into_iter().flat_map(|n| behind(t, n, 3)).map(|s| &s.id));
        }
    }
    for p in proxies {
        let hit = t.targets(p, "on").any(|s| {
            reached.contains(&s.id)
                || words.contains(s.id.name.as_str())
                || ["ip", "ip6", "fqdn"].into_iter().any(|f| s.text(f).is_some_and(|v| words.contains(v)))
        });
        let Some(server) = t.targets(p, "on").next().filter(|_| !hit) else { continue };
        out.push(&p.id, format!("no name leads to proxy `{}`", p.id.name), |d| {
            d.label(p.span, "clients go past it")
                .label(server.span, "no record or namespace names it")
                .help(format!("add a record: record imap A to={}", server.id.name))
        });
    }
}

fn drops_service(t: &Facts, out: &mut Findings) {
    for p in t.all("proxy") {
        let Some(old) = t.target(p, "old") else { continue };
        let (offered, listen) = (old.texts("services"), p.texts("listen"));
        for (service, ports) in
            [("imap", ["imap", "imaps"]), ("pop3", ["pop3", "pop3s"]), ("smtp", ["submission", "submissions"])]
        {
            if offered.contains(&service) && !ports.iter().any(|l| listen.contains(l)) {
                out.push(
                    &p.id,
                    format!("`{}` offers {service}, proxy `{}` does not listen for it", old.id.name, p.id.name),
                    |d| {
                        d.label(p.at("listen"), "not among these")
                            .label(old.at("services"), service)
                            .help(format!("add {} to `listen`", ports.join(" or ")))
                    },
                );
            }
        }
    }
}

fn capturing<'t>(t: &'t Facts) -> impl Iterator<Item = &'t Node> {
    t.topology().all("proxy").filter(|p| p.text("passwords") == Some("capture"))
}

fn for_nothing(t: &Facts, out: &mut Findings) {
    for p in capturing(t) {
        let mut using =
            t.referrers(&p.id).iter().filter(|r| r.field == "proxy" && r.top.id.kind == "migration").peekable();
        let Some(first) = using.peek().map(|r| r.top) else { continue };
        if !using.any(|r| r.top.texts("passwords").contains(&"capture")) {
            out.push(&p.id, format!("`{}` captures passwords that `{}` does not use", p.id.name, first.id.name), |d| {
                d.label(p.at("listen"), "passwords pass here")
                    .label(first.at("passwords"), "does not name capture")
                    .help("write passwords=verify at the proxy, or add capture to the passwords of the migration")
            });
        }
    }
}

fn captured_nowhere(t: &Facts, out: &mut Findings) {
    let mut told: BTreeMap<&NodeId, ()> = BTreeMap::new();
    for m in t.all("migration").filter(|m| m.texts("passwords").contains(&"capture")) {
        let proxy = t.target(m, "proxy");
        if proxy.is_none_or(|p| p.text("passwords") != Some("capture")) && told.insert(&m.id, ()).is_none() {
            out.push(&m.id, format!("`{}` counts on captured passwords, and nothing captures them", m.id.name), |d| {
                let d = d.label(m.at("passwords"), "captured where?");
                match proxy {
                    Some(p) => d.label(p.at("passwords"), "does not capture"),
                    None => d,
                }
                .help("write passwords=capture at its proxy, with store, recipient, purge and risk")
            });
        }
    }
}
