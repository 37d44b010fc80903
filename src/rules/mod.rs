//! Lint rules over a checked topology: one file an area, one function a rule, each with its code, severity and source.
//!
//! A rule speaks of what is legal in the language and yet goes wrong. What cannot be right is an error of `language`. Each rule
//! has two small topologies in `tests/cases/rules/NAME/`: `pass.kdl`, of which it says nothing, and `fail.kdl`, of which it and no
//! other rule speaks. `allow RULE reason=".."` silences one, on the nodes that it names or everywhere, until its date.

mod area;
mod certificates;
mod connectors;
mod dns;
mod exchange;
mod facts;
mod findings;
mod mailflow;
mod reach;
mod records;
mod sender;
mod transit;

use std::collections::BTreeMap;

use jiff::civil::Date;

pub use area::AREAS;
pub use facts::{Facts, Referrer};
pub use findings::Findings;

use crate::model::diagnostic::{Lint, Severity};
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Diagnostics};

/// What a rule is called and where it comes from.
pub struct Rule {
    /// Name for `allow`: lower case, words joined by `-`, what is wrong.
    pub name: &'static str,
    /// Stable code, `L` and four digits, the first two of them the area's.
    pub code: &'static str,
    /// `Error`: the product or the protocol refuses it. `Warning`: it works until it does not. `Advice`: better otherwise.
    pub severity: Severity,
    /// One sentence: what must hold, and why.
    pub about: &'static str,
    /// RFC section, vendor page, or the decision of ours that it follows from.
    pub source: &'static str,
    pub check: fn(&Facts, &mut Findings),
}

/// Rules on one subject.
pub struct Area {
    pub title: &'static str,
    pub rules: &'static [Rule],
}

/// All rules, in the order of the areas.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    AREAS.iter().flat_map(|a| a.rules)
}

/// Runs every rule. What an `allow` silences is left out; an `allow` of a rule that does not exist, or that expired before
/// `today`, is a finding itself.
pub fn check(topology: &Topology, today: Date) -> Diagnostics {
    run(topology, today, all())
}

/// As [`check`], by the rules given only.
pub fn run<'r>(topology: &Topology, today: Date, rules: impl Iterator<Item = &'r Rule>) -> Diagnostics {
    let allows = Allows::read(topology, today);
    let facts = Facts::new(topology, today);
    let mut out = Diagnostics::default();
    for rule in rules {
        let mut found = Findings::of(rule);
        (rule.check)(&facts, &mut found);
        for (on, d) in found.take() {
            if !allows.silence(rule.name, &on) {
                out.push(Diagnostic { lint: Some(Box::new(lint(rule, topology, &on))), ..d });
            }
        }
    }
    out.extend(allows.mistakes);
    out
}

fn lint(rule: &Rule, topology: &Topology, on: &NodeId) -> Lint {
    let layers = topology.nodes.get(on).into_iter().flat_map(|n| n.fields.values()).flat_map(|f| &f.layers);
    let mut made = layers.filter(|l| l.by != "name" && l.by != "default").map(|l| l.by.strip_prefix("environment "));
    // Made there: nothing of it was said elsewhere.
    let environment = made.next().flatten().filter(|_| made.all(|by| by.is_some())).map(str::to_owned);
    Lint { rule: rule.name, on: written(topology, on), environment }
}

/// The node as a file names it: a `domain-map` has renamed it since.
fn written(topology: &Topology, id: &NodeId) -> String {
    let before = topology.nodes.get(id).and_then(|n| n.fields.get("name")).and_then(|f| f.layers.first());
    let name = before.filter(|l| l.by == "name").map_or(id.plain(), |l| l.shown.as_str());
    match id.name.split_once('@') {
        Some((_, key)) if id.kind == "zone" => format!("{}:{name}@{key}", id.kind),
        _ if name.is_empty() => id.to_string(),
        _ => format!("{}:{name}", id.kind),
    }
}

/// The `allow` nodes in force, by rule.
#[derive(Default)]
struct Allows<'t> {
    by_rule: BTreeMap<&'t str, Vec<&'t Node>>,
    mistakes: Diagnostics,
}

impl<'t> Allows<'t> {
    fn read(topology: &'t Topology, today: Date) -> Self {
        let mut out = Self::default();
        for a in topology.all("allow") {
            if !all().any(|r| r.name == a.name()) {
                out.mistakes.push(unknown(a));
                continue;
            }
            match a.text("until").map(str::parse::<Date>) {
                Some(Ok(until)) if until < today => {
                    let d = Diagnostic::warning("L0002", format!("`allow {}` ended on {until}", a.name()))
                        .label(a.value("until").map_or(a.span, |v| v.span), "silences nothing any more")
                        .help("mend what it silenced, or decide anew and write a later date");
                    out.mistakes.push(d);
                }
                _ => out.by_rule.entry(a.name()).or_default().push(a),
            }
        }
        out
    }

    fn silence(&self, rule: &str, on: &NodeId) -> bool {
        self.by_rule.get(rule).is_some_and(|allows| {
            allows.iter().any(|a| {
                let mut values = a.values("on").peekable();
                values.peek().is_none() || values.any(|v| matches!(&v.value, Value::Ref(id) if id == on))
            })
        })
    }
}

fn unknown(allow: &Node) -> Diagnostic {
    let d = Diagnostic::warning("L0001", format!("no rule is called `{}`", allow.name()))
        .label(allow.span, "silences nothing");
    let near = all().map(|r| (strsim::damerau_levenshtein(r.name, allow.name()), r.name)).min();
    match near.filter(|(distance, _)| *distance <= 3) {
        Some((_, n)) => d.help(format!("did you mean `{n}`?")),
        None => d.help("cutover lint --list names all rules"),
    }
}
