//! What the schema says of a kind's effect is shown: each field of each kind is changed, and an output changes with it.
//!
//! Outputs are the resources of the lowered site and the lab that runs it, the findings of rules, what a phase deploys, and other
//! nodes of the topology. The topologies that are changed stand in `tests/cases/effects` and beside the rules. Fields that nothing
//! acts on yet stand behind `waits` in the schema, with what they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutover::language::schema::{FieldDef, KindDef, schema};
use cutover::language::{self, Options, slice};
use cutover::model::Digest;
use cutover::model::topology::{Node, NodeId, Topology};
use cutover::model::tree::{Entry, Scalar, Tree};
use cutover::model::{Severity, Sources, Span};
use cutover::process::board::Course;
use cutover::process::gate::{Authors, Known};
use cutover::process::trust::Deciders;
use cutover::rules;

use super::language_layers::lowered;
use super::support::candidates::candidates;

/// All that a topology leads to.
#[derive(Default, PartialEq)]
struct Outputs {
    resources: BTreeSet<String>,
    findings: BTreeSet<String>,
    slices: BTreeMap<String, BTreeSet<NodeId>>,
    /// What is open when, and which change may use it.
    schedule: BTreeSet<String>,
    /// Who is told what and when.
    notices: BTreeSet<String>,
    /// Rules of Prometheus, who hears of them, and what cannot be watched.
    figures: BTreeSet<String>,
    /// What audits ask of which host, and what is accepted.
    audits: String,
    /// How available levels will be, and what costs most.
    forecast: String,
    /// What each phase and gate waits for while nothing is recorded.
    gates: Vec<String>,
    /// Nodes with their values, for what the language itself does.
    nodes: BTreeMap<NodeId, String>,
    environment: Option<String>,
    /// Mistakes of form. In a change of a field they show nothing but a wrong try, save where the field is there to refuse.
    form: BTreeSet<&'static str>,
}

/// Codes of form: a wrong type, a name that is not there. A change that leads to one shows nothing.
fn of_form(code: &str) -> bool {
    ["E00", "E01", "E02", "E03", "E04", "E05", "E07"].iter().any(|c| code.starts_with(c))
}

fn values(node: &Node, out: &mut String) {
    for (name, f) in node.fields.iter() {
        let _ = write!(out, "{name}=");
        f.values.iter().for_each(|v| out.push_str(&format!("{:?} ", v.value)));
    }
    for c in &node.children {
        let _ = write!(out, "[{} ", c.id);
        values(c, out);
    }
}

/// The board of phases with no record at all.
fn gates(topology: &Topology) -> Vec<String> {
    if cutover::model::course::gates(topology).is_empty() {
        return Vec::new();
    }
    let now = Deciders { topology: Arc::new(topology.clone()), keys: BTreeMap::new() };
    let at = "2026-11-22T12:00:00Z".parse().expect("time");
    let (files, authors) = (BTreeMap::new(), Authors::default());
    let known = Known { records: &[], broken: &[], trust: None, now: &now, files: &files, authors: &authors, at };
    let intents = topology.all("phase").map(|p| (p.id.name.to_string(), Digest::of(b""))).collect();
    let course = Course { topology, known: &known, intents: &intents };
    let urgent = topology.all("phase").map(|p| format!("{} {}", p.id, course.has_emergency(&p.id.name)));
    course.rows().iter().map(|r| format!("{r:?}")).chain(urgent).collect()
}

/// What a topology of one text leads to.
fn outputs(text: &str) -> Outputs {
    let mut environment =
        text.lines().filter_map(|l| l.strip_prefix("environment ")).filter_map(|l| l.split(' ').next());
    let environment = environment.next_back().map(str::to_owned);
    let files: BTreeMap<String, Vec<u8>> = [
        ("t.kdl".to_owned(), text.as_bytes().to_vec()),
        ("more.kdl".to_owned(), b"site other".to_vec()),
        ("far/module.kdl".to_owned(), b"module far version=\"2.0.0\" { site \"$self\"; }".to_vec()),
    ]
    .into();
    let c = language::compile_files(&files, "t.kdl", &Options { environment, allow_unset: true, ..Options::default() });
    let mut out = Outputs { environment: c.topology.environment.clone(), ..Outputs::default() };
    let errors = c.diagnostics.iter().filter(|d| d.severity == Severity::Error && of_form(d.code));
    out.form = errors.map(|d| d.code).collect();
    if !out.form.is_empty() {
        return out;
    }
    out.findings.extend(c.diagnostics.iter().map(|d| format!("{} {}", d.code, d.message)));
    for d in rules::check(&c.topology, "2026-11-22".parse().expect("date")).iter() {
        let place = d.labels.first().map(|l| l.text.clone());
        out.findings.insert(format!("{} {} {place:?}", d.code, d.message));
    }
    for node in c.topology.nodes.values() {
        let mut text = String::new();
        values(node, &mut text);
        out.nodes.insert(node.id.clone(), text);
    }
    out.nodes.extend(c.topology.moved.iter().map(|(a, b)| (a.clone(), b.to_string())));
    out.gates = gates(&c.topology);
    for phase in c.topology.all("phase") {
        out.slices.insert(phase.id.name.to_string(), slice::deployed(&c.topology, &phase.id.name).unwrap_or_default());
    }
    schedule(&c.topology, &mut out);
    let day = "2026-11-22".parse().expect("date");
    out.audits = format!("{:?} {:?}", cutover::auditing::wish(&c.topology, day), due(&c.topology));
    out.forecast = format!("{:?}", cutover::availability::forecast(&c.topology));
    let watched = cutover::monitoring::compose(
        &c.topology,
        &cutover::monitoring::Options { smarthost: Some("mail:25".into()), ..Default::default() },
    );
    out.figures.extend(watched.files.into_iter().map(|(name, text)| format!("{name} {text}")));
    out.figures.extend(cutover::monitoring::scorecard::cards(&c.topology).iter().map(|card| format!("{card:?}")));
    out.figures.extend(watched.gaps.iter().map(|g| format!("{} {}", g.of, g.why)));
    if !c.diagnostics.has_errors() && c.topology.organization().is_some() {
        resources(&c, &mut out);
    }
    out
}

/// What is audited again an hour after the last audit, and what a deviation opens.
fn due(topology: &Topology) -> (BTreeSet<&str>, Vec<String>) {
    use cutover::auditing::{Event, Known, ticket};
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("time");
    let names: Vec<String> = topology.all("baseline").map(|b| b.id.name.to_string()).collect();
    let audited = |baseline: &String| Event::Audited {
        at: at("2026-11-22T11:00:00Z"),
        baseline: baseline.clone(),
        checks: 1,
        deviates: 0,
    };
    let known = Known::of(names.iter().map(audited));
    (known.due(topology, at("2026-11-22T12:00:00Z")), names.iter().map(|n| ticket(topology, n)).collect())
}

fn schedule(topology: &Topology, out: &mut Outputs) {
    use cutover::people::named_here;
    use cutover::process::{calendar::Calendar, change, forward, survey::Survey};
    let any = topology.all("communication").next().is_some();
    if !change::controlled(topology) && !any {
        return;
    }
    let Ok(calendar) = Calendar::of(topology) else { return };
    let at = |text: &str| text.parse::<jiff::Timestamp>().expect("time");
    let within = cutover::process::calendar::Span { from: at("2026-11-22T00:00:00Z"), to: at("2027-03-01T00:00:00Z") };
    let said = forward::schedule(topology, &calendar, &[], within, within.from);
    out.schedule.extend(said.items.iter().map(|i| format!("{i:?}")));
    out.schedule.extend(said.conflicts.into_iter().chain(said.undated));
    let people = topology.all("cohort").map(|c| (c.id.name.to_string(), named_here(topology, c))).collect();
    let told = cutover::process::notice::notices(topology, &calendar, &people);
    out.notices.extend(topology.all("survey").map(|n| format!("{:?}", Survey::of(topology, n, &people))));
    out.notices.extend(told.all.iter().map(|n| format!("{n:?}")).chain(told.nobody));
    for c in topology.all("change") {
        let wish = change::wish(topology, &calendar, c);
        out.schedule.insert(format!("{} {:?}", c.id, calendar.decide(&wish, within.from)));
        let covered = change::covered(topology, c, slice::deployed, slice::closure);
        out.schedule.insert(format!("{} covers {covered:?}", c.id));
    }
    for phase in topology.all("phase") {
        let early = change::early(topology, Some(&phase.id.name), None).map(|c| &c.id);
        out.schedule.insert(format!("{} {early:?}", phase.id));
    }
}

fn resources(c: &language::Compiled, out: &mut Outputs) {
    let (site, found) = lowered(c, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/effects"));
    out.findings.extend(found.iter().map(|d| format!("{} {}", d.code, d.message)));
    for r in &site.resources {
        out.resources.insert(format!(
            "{} {:?} {} {} {:?} {:?} {} {}",
            r.address, r.attrs, r.group, r.stage, r.after, r.notifies, r.protect, r.owner
        ));
    }
    out.resources.extend(site.hosts.values().map(|h| format!("{h:?}")));
    out.resources.extend(site.windows.iter().map(|w| format!("{w:?}")));
    out.resources.insert(format!("{:?} {} {:?} {:?}", site.anchor, site.organization, site.environment, site.gone));
    out.resources.extend(site.retirements.iter().map(|(host, r)| format!("{host} {r:?}")));
    let needs = cutover::lowering::needs(&c.topology);
    out.resources
        .extend(needs.signing.iter().map(|k| format!("{} {} {} {} {}", k.node, k.ed25519, k.bits, k.generate, k.key)));
    for r in needs.certificates {
        let (what, who) =
            (format!("{:?} {:?}", r.issuer, r.renew_before), format!("{} {:?} {:?}", r.name, r.names, r.addresses));
        out.resources.insert(format!("{what} {who} {:?} {:?} {:?}", r.key, r.chain, r.next));
    }
    lab(&c.topology, &site, out);
}

/// The lab that runs the topology, and where its secrets are read.
fn lab(topology: &Topology, site: &cutover::model::site::Site, out: &mut Outputs) {
    if let Ok(spec) = cutover::cli::lab_spec::spec(topology, site, PathBuf::new(), Vec::new()) {
        out.resources.extend(spec.hosts.iter().map(|h| format!("lab {h:?}")));
        out.resources.extend(spec.networks.iter().map(|n| format!("lab {n:?}")));
    }
    out.resources.extend(cutover::cli::secrets::vaults(topology).iter().map(|v| format!("{v:?}")));
}

/// A place in a text where a field of a kind stands: its whole node or entry, and its first value.
#[derive(Clone)]
struct Place {
    base: usize,
    value: Span,
    /// The property, or the line, which can be left out.
    whole: Span,
    scalar: Scalar,
}

type Places = BTreeMap<(String, String), Vec<Place>>;

fn places(base: usize, trees: &[Tree], out: &mut Places) {
    for t in trees {
        if let Some(kind) = schema().kind(&t.name.value) {
            of_node(base, t, kind, out);
        }
    }
}

fn of_node(base: usize, t: &Tree, kind: &KindDef, out: &mut Places) {
    let put = |out: &mut Places, field: &str, e: &Entry, whole: Span| {
        let place = Place { base, value: e.value.span, whole, scalar: e.value.value.clone() };
        out.entry((kind.name.clone(), field.to_owned())).or_default().push(place);
    };
    let mut args = t.args().skip(usize::from(kind.name_type.is_some()));
    for f in kind.fields.iter().filter(|f| f.positional) {
        if let Some(e) = args.next() {
            put(out, &f.name, e, e.span);
        }
    }
    for e in &t.entries {
        if let Some(n) = e.name.as_ref().filter(|n| kind.field(&n.value).is_some()) {
            put(out, &n.value, e, e.span);
        }
    }
    for c in &t.children {
        let plain = c.children.is_empty() && c.entries.iter().all(|e| e.name.is_none());
        match kind.field(&c.name.value) {
            Some(f) if plain => {
                c.args().for_each(|e| put(out, &f.name, e, if c.entries.len() == 1 { c.span } else { e.span }))
            }
            _ => {
                if let Some(k) = schema().kind(&c.name.value) {
                    of_node(base, c, k, out);
                }
            }
        }
    }
}

struct Bases {
    texts: Vec<(String, String)>,
    places: Places,
    names: Vec<BTreeMap<String, Vec<String>>>,
    before: Vec<Option<Outputs>>,
}

fn bases() -> Bases {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut open = vec![root.join("effects"), root.join("rules")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("cases") {
            let path = entry.expect("entry").path();
            match path.is_dir() {
                true => open.push(path),
                // A pack, no topology.
                false if path.ends_with("module.kdl") => {}
                false if path.extension().is_some_and(|x| x == "kdl") => paths.push(path),
                false => {}
            }
        }
    }
    paths.sort();
    let mut out = Bases { texts: Vec::new(), places: Places::new(), names: Vec::new(), before: Vec::new() };
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("text");
        let mut sources = Sources::default();
        let id = sources.add("t.kdl", text.as_str());
        let Ok(trees) = language::parse(&sources, id) else { continue };
        places(out.texts.len(), &trees, &mut out.places);
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let files = [("t.kdl".to_owned(), text.clone().into_bytes())].into();
        let c = language::compile_files(&files, "t.kdl", &Options { allow_unset: true, ..Options::default() });
        for id in c.topology.nodes.keys() {
            names.entry(id.kind.to_string()).or_default().push(id.name.to_string());
        }
        out.names.push(names);
        out.before.push(None);
        out.texts.push((path.strip_prefix(&root).expect("below").display().to_string(), text));
    }
    out
}

/// Which outputs a change of this field changes, in the first topology where it changes one of those wanted.
fn acts(bases: &mut Bases, kind: &KindDef, field: &FieldDef, wanted: &[&'static str]) -> BTreeSet<&'static str> {
    acts_in(bases, kind, field, wanted, usize::MAX)
}

/// As [`acts`], in so many topologies at most, spread over all that have the field.
fn acts_in(
    bases: &mut Bases,
    kind: &KindDef,
    field: &FieldDef,
    wanted: &[&'static str],
    most: usize,
) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let places = bases.places.get(&(kind.name.clone(), field.name.clone())).cloned().unwrap_or_default();
    let apart = places.len().div_ceil(most.max(1)).max(1);
    for p in places.into_iter().step_by(apart) {
        if bases.before[p.base].is_none() {
            bases.before[p.base] = Some(outputs(&bases.texts[p.base].1));
        }
        let Some(before) = &bases.before[p.base] else { continue };
        let text = &bases.texts[p.base].1;
        let mut changed: Vec<String> =
            candidates(field, &p.scalar, &bases.names[p.base]).into_iter().map(|c| splice(text, p.value, &c)).collect();
        if !field.positional {
            changed.push(splice(text, p.whole, ""));
        }
        for text in changed {
            let after = outputs(&text);
            if after.form != before.form && kind.effects.iter().any(|e| e == "language") {
                found.insert("language");
            }
            if !after.form.is_empty() {
                continue;
            }
            if after.resources != before.resources && !after.resources.is_empty() {
                found.insert("resource");
            }
            if after.findings != before.findings {
                found.insert("rule");
            }
            if (&after.slices, &after.schedule, &after.gates) != (&before.slices, &before.schedule, &before.gates) {
                found.insert("gate");
            }
            let told = |o: &Outputs| (o.notices.clone(), o.figures.clone(), o.audits.clone());
            if told(&after) != told(before) {
                found.insert("report");
            }
            if after.forecast != before.forecast {
                found.insert("forecast");
            }
            if others(before, &after, &kind.name) {
                found.insert("language");
            }
            if wanted.iter().any(|w| found.contains(w)) {
                return found;
            }
        }
    }
    found
}

/// Whether nodes of another kind have changed.
fn others(before: &Outputs, after: &Outputs, kind: &str) -> bool {
    let of = |o: &Outputs| -> BTreeMap<NodeId, String> {
        o.nodes
            .iter()
            .filter(|(id, _)| id.kind != kind && id.kind != "environment")
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    };
    of(before) != of(after)
}

fn splice(text: &str, span: Span, with: &str) -> String {
    format!("{}{with}{}", &text[..span.offset], &text[span.offset + span.len..])
}

/// Every kind says what acts on it or what it waits for, and says it of fields that it has.
#[test]
fn each_kind_says_what_acts_on_it() {
    const EFFECTS: [&str; 6] = ["language", "resource", "rule", "gate", "report", "forecast"];
    let mut wrong = Vec::new();
    for kind in &schema().kinds {
        let name = &kind.name;
        if kind.effects.is_empty() && kind.waits.is_empty() {
            wrong.push(format!("{name} has neither effect nor waits"));
        }
        wrong.extend(
            kind.effects.iter().filter(|e| !EFFECTS.contains(&e.as_str())).map(|e| format!("{name}: effect {e}?")),
        );
        for (why, fields) in &kind.waits {
            if why.is_empty() {
                wrong.push(format!("{name} waits for nothing"));
            }
            if fields.is_empty() != kind.effects.is_empty() {
                wrong.push(format!("{name}: a kind that acts names the fields that wait, another one none"));
            }
            wrong.extend(fields.iter().filter(|f| kind.field(f).is_none()).map(|f| format!("{name} has no {f}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Fields whose effect is outside these topologies, with the test that shows it.
const ELSEWHERE: [(&str, &str, &str); 1] =
    [("environment", "protected", "a_protected_environment_takes_saved_plans_only")];

#[test]
fn each_field_that_does_not_wait_changes_an_output() {
    let mut bases = bases();
    let mut silent = Vec::new();
    for kind in &schema().kinds {
        let wanted: Vec<&'static str> = ["resource", "rule", "gate", "language", "report", "forecast"]
            .into_iter()
            .filter(|w| kind.effects.iter().any(|e| e == w))
            .collect();
        for f in kind.fields.iter().filter(|f| kind.waiting(&f.name).is_none()) {
            if ELSEWHERE.iter().any(|(k, n, _)| *k == kind.name && *n == f.name) {
                continue;
            }
            if acts(&mut bases, kind, f, &wanted).is_disjoint(&wanted.iter().copied().collect()) {
                let known = bases.places.contains_key(&(kind.name.clone(), f.name.clone()));
                let why =
                    if known { "changes nothing" } else { "stands in no topology of tests/cases/effects or rules" };
                silent.push(format!("{}.{} {why} of {wanted:?}", kind.name, f.name));
            }
        }
    }
    assert!(silent.is_empty(), "say `waits` of it in the schema, or let something act on it:\n{}", silent.join("\n"));
}

/// Topologies in which a field that waits is changed: enough to meet the rule that judges it, few enough for a test.
const TRIES: usize = 12;

/// `waits` is a promise that nothing acts yet. One that was forgotten hides an effect from the reference and from the table.
#[test]
fn a_field_that_waits_changes_no_output() {
    let mut bases = bases();
    let mut stale = Vec::new();
    for kind in &schema().kinds {
        let wanted = ["resource", "rule", "gate", "forecast"];
        for f in kind.fields.iter().filter(|f| kind.waiting(&f.name).is_some()) {
            let found = acts_in(&mut bases, kind, f, &wanted, TRIES);
            let by: Vec<&str> = wanted.into_iter().filter(|w| found.contains(w)).collect();
            if !by.is_empty() {
                stale.push(format!("{}.{} acts: {}", kind.name, f.name, by.join(" ")));
            }
        }
    }
    assert!(stale.is_empty(), "take these out of `waits` in the schema:\n{}", stale.join("\n"));
}

#[test]
fn tests_of_effects_elsewhere_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let texts: Vec<String> = std::fs::read_dir(folder)
        .expect("tests")
        .filter_map(|e| std::fs::read_to_string(e.expect("entry").path()).ok())
        .collect();
    for (kind, field, test) in ELSEWHERE {
        let line = format!("fn {test}(");
        assert!(texts.iter().any(|t| t.contains(&line)), "{kind}.{field}: no test is called {test}");
    }
}

/// `docs/coverage-language.md`, from the schema. `UPDATE_DOCS=1` writes it.
#[test]
fn the_table_of_effects_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coverage-language.md");
    let made = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "docs/coverage-language.md is old: run this test with UPDATE_DOCS=1");
}

fn table() -> String {
    let kinds = &schema().kinds;
    let fields: usize = kinds.iter().map(|k| k.fields.len()).sum();
    let waiting = |k: &KindDef| k.fields.iter().filter(|f| k.waiting(&f.name).is_some()).count();
    let waits: usize = kinds.iter().map(waiting).sum();
    let acting = kinds.iter().filter(|k| !k.effects.is_empty()).count();
    let mut out = format!(
        "# What acts on what the language says\n\n\
         Written from the schema; a test changes each field that acts and sees an output change.\n\n\
         {acting} of {} kinds act, and {} of {fields} fields. The other {waits} are checked, resolved and explained, and wait for what \
         will act on them. Where `rule` stands alone, lint rules judge what is said, and nothing is made of it on hosts.\n\n\
         | kind | effect | fields that act | fields that wait | they wait for |\n|---|---|---|---|---|\n",
        kinds.len(),
        fields - waits,
    );
    for k in kinds {
        let effects = if k.effects.is_empty() { "none yet".to_owned() } else { k.effects.join(", ") };
        let why: Vec<&str> = k.waits.iter().map(|(w, _)| w.as_str()).collect();
        let count = waiting(k);
        let _ =
            writeln!(out, "| `{}` | {effects} | {} | {count} | {} |", k.name, k.fields.len() - count, why.join("; "));
    }
    out
}

/// Prints what acts in the topologies at hand: for who extends the schema. Run with `--run-ignored all --no-capture`.
#[test]
#[ignore = "prints a list; judges nothing"]
#[allow(clippy::print_stderr)]
fn discover() {
    let mut bases = bases();
    for kind in &schema().kinds {
        let mut line = String::new();
        for f in &kind.fields {
            let gate = matches!(kind.name.as_str(), "phase" | "gate");
            let wanted: &[&str] = if gate { &["gate", "rule"] } else { &["resource", "rule"] };
            let found = acts(&mut bases, kind, f, wanted);
            let there = bases.places.contains_key(&(kind.name.clone(), f.name.clone()));
            let _ = write!(
                line,
                " {}={}",
                f.name,
                if there { found.into_iter().collect::<Vec<_>>().join("+") } else { "-".into() }
            );
        }
        eprintln!("{}:{line}", kind.name);
    }
}
/// A base with a mistake of form would show nothing at all.
#[test]
fn the_topologies_that_are_changed_have_no_mistake_of_form() {
    for (name, text) in bases().texts {
        let form = outputs(&text).form;
        assert!(form.is_empty(), "{name}: {form:?}");
    }
}
