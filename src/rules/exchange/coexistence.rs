//! Versions of Exchange beside one another, and from one to the next.

use std::collections::BTreeMap;

use super::{Installed, installed, servers};
use crate::model::diagnostic::Severity;
use crate::model::topology::Node;
use crate::model::version::{Exchange, Update, year_name};
use crate::rules::{Facts, Findings, Rule};

pub(in crate::rules) const RULES: &[Rule] = &[
    Rule {
        name: "exchange-versions-exclude",
        code: "L3101",
        severity: Severity::Error,
        about: "Versions of Exchange in one organization can stand beside one another: setup of the newer one refuses a forest with too old a one.",
        source: "Microsoft Learn: Exchange Server system requirements (coexistence); Upgrade to Exchange Server SE",
        check: versions_exclude,
    },
    Rule {
        name: "exchange-update-blocks-coexistence",
        code: "L3102",
        severity: Severity::Error,
        about: "Before a newer Exchange joins, every older server, Edge included, has the update that knows it.",
        source: "Microsoft Learn: Exchange Server system requirements (coexistence), pages of 2013, 2016 and 2019",
        check: update_blocks_coexistence,
    },
    Rule {
        name: "se-cu2-beside-older",
        code: "L3103",
        severity: Severity::Error,
        about: "Exchange SE from CU2 on stands beside no version whose support has ended, 2016 and 2019 among them.",
        source: "Microsoft Learn: Upgrade to Exchange Server SE",
        check: se_cu2_beside_older,
    },
    Rule {
        name: "unsupported-version-hop",
        code: "L3104",
        severity: Severity::Error,
        about: "A native move goes from a version to one that can stand beside it: 2003 to 2010 at most, 2007 to 2013, 2010 to 2016.",
        source: "Microsoft Learn: Exchange Server system requirements (coexistence), pages of 2013, 2016 and 2019",
        check: unsupported_hop,
    },
];

/// The oldest year that may stand beside this one.
fn oldest_beside(year: u16) -> u16 {
    match year {
        Exchange::SE => 2016,
        2019.. => 2013,
        2016.. => 2010,
        2013.. => 2007,
        _ => 0,
    }
}

/// One platform for each year and update, with a server of it.
fn releases<'t>(t: &'t Facts) -> Vec<Installed<'t>> {
    let mut by_platform = BTreeMap::new();
    for i in servers(t) {
        by_platform.entry(&i.platform.id).or_insert(i);
    }
    by_platform.into_values().collect()
}

fn versions_exclude(t: &Facts, out: &mut Findings) {
    let all = releases(t);
    for newer in &all {
        let older =
            all.iter().filter(|o| o.version.year < oldest_beside(newer.version.year)).min_by_key(|o| o.version.year);
        let Some(older) = older else { continue };
        let (new, old) = (year_name(newer.version.year), year_name(older.version.year));
        out.push(&newer.platform.id, format!("Exchange {new} cannot join an organization with Exchange {old}"), |d| {
            d.label(newer.platform.span, format!("Exchange {new}, as on `{}`", newer.server.id.name))
                .label(older.platform.span, format!("Exchange {old}, as on `{}`", older.server.id.name))
                .help(format!(
                    "the oldest version beside {new} is {}; move in two hops and remove {old} before the second",
                    oldest_beside(newer.version.year)
                ))
        });
    }
}

/// Newer year, older year, what the older one needs.
const NEEDS: [(u16, u16, Update); 6] = [
    (2013, 2007, Update::sp(3, 10)),
    (2013, 2010, Update::sp(3, 0)),
    (2016, 2010, Update::sp(3, 11)),
    (2016, 2013, Update::cu(10)),
    (2019, 2013, Update::cu(21)),
    (2019, 2016, Update::cu(11)),
];

fn update_blocks_coexistence(t: &Facts, out: &mut Findings) {
    let all = releases(t);
    for older in &all {
        // The newest neighbour wants the most.
        let needs = NEEDS.iter().rev().filter(|n| n.1 == older.version.year);
        let pairs = needs.filter_map(|n| Some((n, all.iter().find(|i| i.version.year == n.0)?)));
        let Some((need, newer)) = pairs.max_by_key(|(n, _)| n.2) else { continue };
        if older.version.at_least(need.2) == Some(false) {
            let message = format!("Exchange {} joins only where {} has {}", need.0, need.1, need.2);
            out.push(&older.platform.id, message, |d| {
                d.label(older.platform.at("update"), format!("{}, as on `{}`", older.version, older.server.id.name))
                    .label(newer.platform.span, format!("Exchange {} joins", need.0))
                    .help(format!(
                        "bring every server of {} to {} first, and write update=\"{}\"",
                        need.1,
                        need.2,
                        need.2.to_string().to_lowercase()
                    ))
            });
        }
    }
}

fn se_cu2_beside_older(t: &Facts, out: &mut Findings) {
    let all = releases(t);
    let Some(older) = all.iter().find(|i| (2016..=2019).contains(&i.version.year)) else { return };
    for se in all.iter().filter(|i| i.version.year == Exchange::SE && i.version.at_least(Update::cu(2)) == Some(true)) {
        out.push(&se.platform.id, format!("{} is refused beside {}", se.version, older.version), |d| {
            d.label(se.platform.at("update"), "refused")
                .label(older.platform.span, format!("as on `{}`", older.server.id.name))
                .help("remove the last older server first, or stay with SE before CU2 until then")
        });
    }
}

fn unsupported_hop(t: &Facts, out: &mut Findings) {
    for m in t.all("migration").filter(|m| m.text("coexistence") == Some("native")) {
        let Some(from) = t.target(m, "from") else { continue };
        let year = from.text("product").and_then(|p| p.strip_prefix("exchange-")).and_then(Exchange::year);
        let Some((year, to)) = year.and_then(|y| Some((y, target(t, m)?))) else { continue };
        if year < oldest_beside(to.year) {
            let message = format!("there is no native move from Exchange {year} to {}", year_name(to.year));
            out.push(&m.id, message, |d| {
                d.label(m.at("to"), format!("`{}` is {to}", m.reference("to").map_or("", |id| &id.name)))
                    .label(from.at("product"), format!("Exchange {year}"))
                    .help(format!(
                        "two hops are needed, the first to {}; or copy between two organizations with a cms and coexistence=proxy",
                        between(year)
                    ))
            });
        }
    }
}

/// The newest version that a year can move to in one hop.
fn between(year: u16) -> u16 {
    match year {
        2003 => 2010,
        2007 => 2013,
        _ => 2016,
    }
}

/// Exchange where a migration goes.
pub(super) fn target(t: &Facts, migration: &Node) -> Option<Exchange> {
    let to = t.target(migration, "to")?;
    match to.id.kind.as_str() {
        "platform" => Exchange::of_platform(to),
        "server" => Some(installed(t, to)?.version),
        "dag" => t.targets(to, "members").find_map(|s| installed(t, s)).map(|i| i.version),
        _ => None,
    }
}
