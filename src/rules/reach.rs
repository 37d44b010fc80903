//! Hosts and how they are reached.

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::{Node, Value};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "no-organization",
        code: "L0101",
        severity: Severity::Warning,
        about: "A topology names its organization: the lease, the state folder and every report carry that name.",
        source: "docs/architecture.md",
        check: no_organization,
    },
    Rule {
        name: "no-anchor",
        code: "L0102",
        severity: Severity::Warning,
        about: "The organization names an anchor: without one the lease lies on the first host by name and moves when a host is added before it.",
        source: "docs/architecture.md",
        check: no_anchor,
    },
    Rule {
        name: "no-address",
        code: "L0103",
        severity: Severity::Warning,
        about: "A host is reached by its address or by its name in DNS.",
        source: "docs/commands.md",
        check: no_address,
    },
    Rule {
        name: "no-connection",
        code: "L0104",
        severity: Severity::Warning,
        about: "A host names its connection: else ssh uses the operator's own user and keys, which differ from one operator to the next.",
        source: "ssh_config(5)",
        check: no_connection,
    },
    Rule {
        name: "unpinned-host-key",
        code: "L0105",
        severity: Severity::Warning,
        about: "A host key is pinned: else it is trusted at first sight.",
        source: "RFC 4251, section 4.1",
        check: unpinned_host_key,
    },
    Rule {
        name: "password-login",
        code: "L0106",
        severity: Severity::Warning,
        about: "A host is reached by a key: a password is sent to whoever answers, and cannot be bound to one use.",
        source: "RFC 4252, section 8",
        check: password_login,
    },
    Rule {
        name: "jump-loop",
        code: "L0107",
        severity: Severity::Error,
        about: "The way to a host does not lead through the host itself.",
        source: "ssh_config(5), ProxyJump",
        check: jump_loop,
    },
    Rule {
        name: "unprivileged-user",
        code: "L0108",
        severity: Severity::Warning,
        about: "A user who is not root says how to become it: packages, services and system files are root's.",
        source: "docs/architecture.md",
        check: unprivileged_user,
    },
    Rule {
        name: "root-login",
        code: "L0109",
        severity: Severity::Advice,
        about: "In production people log in by their own names and become root there: then the host's log says who it was.",
        source: "NIST SP 800-53, IA-2(5); sshd_config(5), PermitRootLogin",
        check: root_login,
    },
    Rule {
        name: "key-in-environment",
        code: "L0110",
        severity: Severity::Warning,
        about: "A private key is read from a file or a vault: an environment variable is passed on to every program that is started.",
        source: "environ(7); proc_pid_environ(5)",
        check: key_in_environment,
    },
];

fn no_organization(t: &Facts, out: &mut Findings) {
    let Some(first) = t.all("server").next() else { return };
    if t.organization().is_none() {
        out.push(&first.id, "the topology names no organization", |d| {
            d.label(first.span, "a host of nobody").help("write `organization NAME domain=..`")
        });
    }
}

fn no_anchor(t: &Facts, out: &mut Findings) {
    let Some(o) = t.organization() else { return };
    if o.value("anchor").is_none() && t.all("server").next().is_some() {
        out.push(&o.id, "the organization names no anchor", |d| {
            d.label(o.span, "the lease goes to the first host by name").help("write anchor=SERVER, a host that stays")
        });
    }
}

fn no_address(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    for s in t.all("server").filter(|s| !["ip", "ip6", "fqdn"].iter().any(|f| s.value(f).is_some())) {
        out.push(&s.id, format!("server `{}` has no address", s.id.name), |d| {
            d.label(s.span, "neither ip, ip6 nor fqdn")
                .help("write ip=.. or fqdn=..; without it ssh is given the bare name")
        });
    }
}

fn no_connection(t: &Facts, out: &mut Findings) {
    for s in t.all("server").filter(|s| s.value("connection").is_none()) {
        out.push(&s.id, format!("server `{}` has no connection", s.id.name), |d| {
            d.label(s.span, "nothing says how it is reached").help("write connection=NAME")
        });
    }
}

/// Lab hosts get their keys pinned by the lab.
fn unpinned_host_key(t: &Facts, out: &mut Findings) {
    if t.containers() {
        return;
    }
    let named = t.all("connection").map(|c| (c, &c.id));
    let own = t.all("server").flat_map(|s| s.children("connection").map(move |c| (c, &s.id)));
    for (c, on) in
        named.chain(own).filter(|(c, _)| c.value("host-key").is_none() && c.text("transport") != Some("local"))
    {
        // A connection of many hosts cannot hold one key: each host's known_hosts entry does.
        if t.referrers(&c.id).iter().filter(|r| r.field == "connection").count() != 1 {
            continue;
        }
        out.push(on, format!("connection `{}` pins no host key", c.id.name), |d| {
            d.label(c.span, "trusted by known_hosts only").help("write host-key=\"ssh-ed25519 ..\"")
        });
    }
}

/// Every connection with the top-level node that it stands in.
fn connections<'f>(t: &'f Facts) -> impl Iterator<Item = (&'f Node, &'f Node)> {
    let own = ["server", "legacy"].into_iter().flat_map(|k| t.all(k));
    t.all("connection").map(|c| (c, c)).chain(own.flat_map(|n| n.children("connection").map(move |c| (c, n))))
}

fn password_login(t: &Facts, out: &mut Findings) {
    for (c, on) in connections(t).filter(|(c, _)| c.value("password").is_some() && c.value("key").is_none()) {
        out.push(&on.id, format!("connection `{}` logs in with a password", c.id.name), |d| {
            d.label(c.at("password"), "no key")
                .help("write key=(secret)\"file:keys/NAME\", and its public half into authorized_keys")
        });
    }
}

/// The connection of a server, wherever it is written.
fn connection<'t>(t: &Facts<'t>, server: &'t Node) -> Option<&'t Node> {
    let Value::Ref(id) = &server.value("connection")?.value else { return None };
    t.topology().nodes.get(id).or_else(|| server.descendant(id))
}

fn jump_loop(t: &Facts, out: &mut Findings) {
    // A jump to the host itself is none: so all hosts behind a gate can share one connection with it.
    let next = |s: &Node| {
        let server = t.topology().get("server", &s.id.name)?;
        let jump = connection(t, server)?.value("jump")?;
        match &jump.value {
            Value::Ref(id) if *id != s.id => Some((t.topology().nodes.get(id)?, jump.span)),
            _ => None,
        }
    };
    for start in t.all("server") {
        let mut way = vec![start];
        let mut step = next(start);
        while let Some((host, span)) = step {
            if host.id == start.id {
                // Told once, at the first of the circle by name.
                if way.iter().all(|h| start.id <= h.id) {
                    let names: Vec<&str> = way.iter().chain([&start]).map(|h| h.id.name.as_str()).collect();
                    out.push(
                        &start.id,
                        format!("the way to `{}` goes in a circle: {}", start.id.name, names.join(" through ")),
                        |d| {
                            d.label(start.span, "reached through itself")
                                .label(span, "leads back")
                                .help("one host of the circle is reached directly: give it a connection without jump")
                        },
                    );
                }
                break;
            }
            if way.iter().any(|h| h.id == host.id) {
                break;
            }
            way.push(host);
            step = next(host);
        }
    }
}

/// Exchange runs on Windows, where administrators need no second step.
fn unprivileged_user(t: &Facts, out: &mut Findings) {
    for (c, on) in connections(t) {
        let Some(user) = c.text("user").filter(|u| *u != "root" && c.text("become") == Some("none")) else { continue };
        let unix = |s: &Node| {
            s.text("platform").and_then(|p| t.get("platform", p)).is_some_and(|p| p.value("exchange").is_none())
        };
        let Some(host) =
            t.referrers(&c.id).iter().find(|r| r.field == "connection" && r.top.id.kind == "server" && unix(r.top))
        else {
            continue;
        };
        out.push(&on.id, format!("`{user}` on `{}` stays without the rights of root", host.top.id.name), |d| {
            d.label(c.at("user"), "not root")
                .label(host.top.span, "packages and services are changed here")
                .help("write become=sudo (doas, runas)")
        });
    }
}

fn root_login(t: &Facts, out: &mut Findings) {
    if t.purpose() != Some("production") {
        return;
    }
    for (c, on) in connections(t).filter(|(c, _)| c.text("user") == Some("root") && c.text("transport") == Some("ssh"))
    {
        out.push(&on.id, format!("connection `{}` logs in as root", c.id.name), |d| {
            d.label(c.at("user"), "whose hand was it?").help("write user=NAME become=sudo")
        });
    }
}

fn key_in_environment(t: &Facts, out: &mut Findings) {
    let certificates = t.all("certificate").map(|c| (c, c));
    let dkim = t.all("mail-auth").flat_map(|m| m.children("dkim").map(move |k| (k, m)));
    for (node, on) in connections(t).chain(certificates).chain(dkim) {
        let Some(name) = node.secret("key").and_then(|s| s.0.strip_prefix("env:")) else { continue };
        out.push(&on.id, format!("the private key of {} comes in the variable {name}", node.id), |d| {
            d.label(node.at("key"), "every program that is started can read it")
                .help("write (secret)\"file:..\", \"age:..\" or \"vault:..\"")
        });
    }
}
