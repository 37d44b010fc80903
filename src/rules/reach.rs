//! Hosts and how they are reached.

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;

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
