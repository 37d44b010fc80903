//! The way of the mail.

use super::{Facts, Findings, Rule};
use crate::model::diagnostic::Severity;
use crate::model::topology::Value;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "single-point-of-failure",
        code: "L0201",
        severity: Severity::Warning,
        about: "A role that all mail passes has two hosts: while its only one is down, nothing moves.",
        source: "RFC 5321, section 5 (several hosts behind one domain)",
        check: single_point_of_failure,
    },
    Rule {
        name: "mx-outside-spf",
        code: "L0202",
        severity: Severity::Warning,
        about: "A host that takes a domain's mail may also send for it: its bounces and forwards fail SPF elsewhere.",
        source: "RFC 7208, section 2.4",
        check: mx_outside_spf,
    },
];

fn single_point_of_failure(t: &Facts, out: &mut Findings) {
    if !t.real() {
        return;
    }
    for role in ["relay", "proxy", "edge", "dns"] {
        let [one] = t.with_role(role) else { continue };
        out.push(&one.id, format!("server `{}` is the only one in role {role}", one.id.name), |d| {
            d.label(one.span, "while it is down, nothing passes").help("a range makes two: server \"NAME-[1:2]\"")
        });
    }
}

fn mx_outside_spf(t: &Facts, out: &mut Findings) {
    for zone in t.all("zone") {
        let Some(spf) = t.get("mail-auth", zone.name()).and_then(|m| m.children("spf").next()) else { continue };
        let records = zone.children("record").filter(|r| r.text("type") == Some("MX") && r.name() == "@");
        for r in records {
            let Some(to) = r.value("to") else { continue };
            let Value::Ref(id) = &to.value else { continue };
            if id.kind == "server" && !spf.values("allow").any(|v| v.value == to.value) {
                let message = format!("`{}` takes mail for {} but may not send for it", id.name, zone.name());
                out.push(&zone.id, message, |d| {
                    d.label(to.span, "MX host")
                        .label(spf.span, "not allowed here")
                        .help(format!("write spf {{ allow {}; }} if it sends bounces or forwards", id.name))
                });
            }
        }
    }
}
