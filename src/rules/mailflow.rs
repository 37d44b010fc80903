//! Rules on the way of the mail.

use super::Finding;
use crate::model::Diagnostic;
use crate::model::topology::{Topology, Value};

/// One host in a role that all mail passes: while it is down, nothing moves.
pub(super) fn single_point_of_failure(t: &Topology, out: &mut Vec<Finding>) {
    for role in ["relay", "proxy", "edge", "dns"] {
        let mut servers = t.all("server").filter(|s| s.texts("roles").contains(&role));
        let (Some(one), None) = (servers.next(), servers.next()) else { continue };
        let d = Diagnostic::warning("W0201", format!("server `{}` is the only one in role {role}", one.id.name))
            .label(one.span, "while it is down, nothing passes")
            .help("a range makes two: server \"NAME-[1:2]\"");
        out.push(Finding { on: one.id.clone(), diagnostic: d });
    }
}

/// A host that takes a domain's mail usually sends for it too: bounces and forwards from it fail SPF (RFC 7208) elsewhere.
pub(super) fn mx_outside_spf(t: &Topology, out: &mut Vec<Finding>) {
    for zone in t.all("zone") {
        let Some(spf) = t.get("mail-auth", zone.name()).and_then(|m| m.children("spf").next()) else { continue };
        let records = zone.children("record").filter(|r| r.text("type") == Some("MX") && r.name() == "@");
        for r in records {
            let Some(to) = r.value("to") else { continue };
            let Value::Ref(id) = &to.value else { continue };
            if id.kind == "server" && !spf.values("allow").any(|v| v.value == to.value) {
                let d = Diagnostic::warning(
                    "W0202",
                    format!("`{}` takes mail for {} but may not send for it", id.name, zone.name()),
                )
                .label(to.span, "MX host")
                .label(spf.span, "not allowed here")
                .help(format!("write spf {{ allow {}; }} if it sends bounces or forwards", id.name));
                out.push(Finding { on: zone.id.clone(), diagnostic: d });
            }
        }
    }
}
