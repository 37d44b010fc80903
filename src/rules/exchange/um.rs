//! Unified messaging, 2007 to 2016.

use std::collections::BTreeSet;

use super::{has_role, installed, role_at, servers};
use crate::model::diagnostic::Severity;
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "um-server-without-plan",
        code: "L3901",
        severity: Severity::Warning,
        about: "A unified messaging server belongs to a dial plan: without one it answers no call.",
        source: "Microsoft PowerShell reference: Set-UMServer, DialPlans",
        check: without_plan,
    },
    Rule {
        name: "dial-plan-on-other-role",
        code: "L3902",
        severity: Severity::Error,
        about: "Until Exchange 2010 the servers of a dial plan hold the role um.",
        source: "Microsoft PowerShell reference: Set-UMServer",
        check: on_other_role,
    },
    Rule {
        name: "dial-plan-without-gateway",
        code: "L3903",
        severity: Severity::Warning,
        about: "A dial plan has a gateway: hunt groups join a gateway to a plan, and no call comes in without them.",
        source: "Microsoft PowerShell reference: New-UMHuntGroup",
        check: without_gateway,
    },
    Rule {
        name: "attendant-language",
        code: "L3904",
        severity: Severity::Error,
        about: "An automatic attendant speaks a language that its dial plan has.",
        source: "Microsoft PowerShell reference: Set-UMAutoAttendant, Language",
        check: attendant_language,
    },
];

fn without_plan(t: &Facts, out: &mut Findings) {
    let planned: BTreeSet<_> = t.all("um-dial-plan").flat_map(|p| p.refs("servers")).map(|(id, _)| id).collect();
    for i in servers(t).filter(|i| has_role(i.server, "um") && !planned.contains(&i.server.id)) {
        out.push(&i.server.id, format!("`{}` is in no dial plan", i.server.id.name), |d| {
            d.label(role_at(i.server, "um"), "answers no call").help("name it in the `servers` of a um-dial-plan")
        });
    }
}

fn on_other_role(t: &Facts, out: &mut Findings) {
    for plan in t.all("um-dial-plan") {
        for (id, at) in plan.refs("servers") {
            let Some(i) = t.nodes.get(id).and_then(|s| installed(t, s)) else { continue };
            if i.version.year <= 2010 && !has_role(i.server, "um") {
                out.push(&plan.id, format!("`{}` of dial plan `{}` has no role um", id.name, plan.id.name), |d| {
                    d.label(at, "named here")
                        .label(i.server.at("roles"), "its roles")
                        .help("name servers with `roles um`")
                });
            }
        }
    }
}

fn without_gateway(t: &Facts, out: &mut Findings) {
    for plan in t.all("um-dial-plan").filter(|p| p.children("gateway").next().is_none()) {
        out.push(&plan.id, format!("dial plan `{}` has no gateway", plan.id.name), |d| {
            d.label(plan.span, "no call comes in").help("write gateway NAME address=.. in it")
        });
    }
}

fn attendant_language(t: &Facts, out: &mut Findings) {
    for plan in t.all("um-dial-plan").filter(|p| p.value("languages").is_some()) {
        let languages = plan.texts("languages");
        for a in plan.children("auto-attendant") {
            let Some(language) =
                a.text("language").filter(|l| !languages.iter().any(|has| has.eq_ignore_ascii_case(l)))
            else {
                continue;
            };
            out.push(&plan.id, format!("attendant `{}` speaks {language}, its dial plan does not", a.name()), |d| {
                d.label(a.at("language"), "not there")
                    .label(plan.at("languages"), "the languages of the plan")
                    .help(format!("add {language} to `languages`, after its language pack is installed"))
            });
        }
    }
}
