//! Lint rules over a checked topology: one file an area, one function a rule, each with its code, severity and source.
//!
//! A rule speaks of what is legal in the language and yet goes wrong. What cannot be right is an error of `language`. Each rule
//! has two small topologies in `tests/cases/rules/NAME/`: `pass.kdl`, of which it says nothing, and `fail.kdl`, of which it speaks
//! at a place where no other rule does. `allow RULE reason=".."` silences one, on the nodes that it names or everywhere, until its
//! date. What a rule finds in all nodes of one range or module is told once. A rule asks [`Facts`] for neighbours: going through
//! all nodes for each node would make 20,000 servers unbearable.

mod area;
mod care;
mod certificates;
mod connectors;
mod dns;
mod exchange;
mod facts;
mod findings;
mod hygiene;
mod levels;
mod lookalike;
mod mailflow;
mod migration;
mod monitoring;
mod network;
mod process;
mod promises;
mod reach;
mod records;
mod secrecy;
mod sender;
mod transit;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::civil::Date;

pub use area::AREAS;
pub use facts::{Facts, Referrer};
pub use findings::Findings;

use crate::model::diagnostic::{Lint, Severity};
use crate::model::topology::{Node, NodeId, Topology, Value};
use crate::model::{Diagnostic, Diagnostics, Span};

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
        let told = found.take().into_iter().filter(|(on, _)| !allows.silence(rule.name, on));
        for Told { nodes, diagnostic: d } in together(told) {
            let message = match nodes.len() {
                1 => d.message.clone(),
                n => format!("{} ({} more like it here)", d.message, n - 1),
            };
            out.push(Diagnostic { message, lint: Some(Box::new(lint(rule, topology, &nodes))), ..d });
        }
    }
    out.extend(allows.mistakes);
    out
}

/// One message, of one node or of all those that the same place makes.
struct Told {
    nodes: Vec<NodeId>,
    diagnostic: Diagnostic,
}

/// A range or a module makes many nodes in one place: what is wrong with all of them is said once.
fn together(found: impl Iterator<Item = (NodeId, Diagnostic)>) -> Vec<Told> {
    let mut list: Vec<Told> = Vec::new();
    let mut places: HashMap<(Span, String), usize> = HashMap::new();
    for (on, d) in found {
        let place = d.labels.first().map(|l| (l.span, l.text.clone()));
        // Two findings of one node at one place differ in what they say.
        let first = place.as_ref().and_then(|p| list.get_mut(*places.get(p)?)).filter(|t| t.nodes.last() != Some(&on));
        match first {
            Some(told) => told.nodes.push(on),
            None => {
                places.extend(place.map(|p| (p, list.len())));
                list.push(Told { nodes: vec![on], diagnostic: d });
            }
        }
    }
    list
}

fn lint(rule: &Rule, topology: &Topology, nodes: &[NodeId]) -> Lint {
    let made = nodes.first().and_then(|n| topology.nodes.get(n)).into_iter();
    let layers = made.flat_map(|n| n.fields.values()).flat_map(|f| &f.layers);
    let mut made = layers.filter(|l| l.by != "name" && l.by != "default").map(|l| l.by.strip_prefix("environment "));
    // Made there: nothing of it was said elsewhere.
    let environment = made.next().flatten().filter(|_| made.all(|by| by.is_some())).map(str::to_owned);
    Lint { rule: rule.name, on: nodes.iter().map(|n| written(topology, n)).collect(), environment }
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
    by_rule: BTreeMap<&'t str, Silent<'t>>,
    mistakes: Diagnostics,
}

/// Where a rule is silent.
#[derive(Default)]
struct Silent<'t> {
    everywhere: bool,
    on: HashSet<&'t NodeId>,
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
                        .label(a.at("until"), "silences nothing any more")
                        .help("mend what it silenced, or decide anew and write a later date");
                    out.mistakes.push(d);
                }
                _ => {
                    let silent = out.by_rule.entry(a.name()).or_default();
                    silent.everywhere |= a.value("on").is_none();
                    silent.on.extend(a.values("on").filter_map(|v| match &v.value {
                        Value::Ref(id) => Some(id),
                        _ => None,
                    }));
                }
            }
        }
        out
    }

    fn silence(&self, rule: &str, on: &NodeId) -> bool {
        self.by_rule.get(rule).is_some_and(|s| s.everywhere || s.on.contains(on))
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
