//! `stand-in`: servers of a platform that a lab cannot run become servers of one that it can, and what was said of them follows:
//! roles, kinds of nodes, client services, probes and importers, word by word as `map` says.
//!
//! Works on drafts, after overlays and before references: what a node is "of the platform" for is the servers that it names, or
//! that the nodes it names name. A word that no `map` names stays; `none` leaves it out, with the node where nothing is left of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smol_str::format_smolstr;

use super::compile::Build;
use super::decode::{Place, show};
use super::draft::{DraftField, DraftNode, DraftValue, Store};
use super::resolve::{Asked, Index, Resolver};
use super::schema::{KindDef, Schema, schema};
use super::scope::entry_of;
use super::sink::Sink;
use super::suggest::{either, nearest};
use super::text::Scope;
use super::types::{Draft, Type};
use crate::model::fields::{Fields, Rewrite};
use crate::model::topology::{Layer, NodeId, Value};
use crate::model::tree::{Entry, Tree};
use crate::model::{Diagnostic, Span};

/// What a `map` can speak of, and where such words stand.
const SUBJECTS: [(&str, &[(&str, &str)]); 5] = [
    ("role", &[("server", "roles")]),
    ("kind", &[]),
    ("service", &[("namespace", "services"), ("certificate", "services")]),
    ("probe", &[("probe", "type")]),
    ("importer", &[("cms", "importer")]),
];

/// `map FROM TO..`
struct Map {
    subject: &'static str,
    word: String,
    /// Empty for `none`.
    to: Vec<String>,
    span: Span,
}

/// `stand-in PLATFORM with=OTHER { map .. }`
struct StandIn {
    platform: String,
    with: String,
    span: Span,
    maps: Vec<Map>,
}

impl StandIn {
    fn layer(&self) -> String {
        format!("stand-in {}", self.platform)
    }

    fn map(&self, subject: &str, word: &str) -> Option<&Map> {
        self.maps.iter().find(|m| m.subject == subject && m.word == word)
    }
}

impl Build<'_, '_> {
    /// Applies the stand-ins of the environments in force; one of a later environment replaces an earlier one whole.
    pub fn stand_ins(&mut self, chain: &[&Tree], scope: &Scope) {
        let mut all: BTreeMap<String, StandIn> = BTreeMap::new();
        for tree in chain.iter().flat_map(|env| &env.children).filter(|t| t.name.value == "stand-in") {
            if let Some(s) = self.stand_in(tree, scope) {
                all.insert(s.platform.clone(), s);
            }
        }
        for s in all.values() {
            // A platform that is not there is reported where references are resolved.
            if self.store.find("platform", &s.platform).is_empty() || self.store.find("platform", &s.with).is_empty() {
                continue;
            }
            let index = Index::new(&self.store);
            let mut work = Work { s, store: &mut self.store, sink: self.dec.sink, index, schema: self.dec.schema };
            work.run();
        }
    }

    fn stand_in(&mut self, tree: &Tree, scope: &Scope) -> Option<StandIn> {
        let name = tree.args().next()?;
        let platform = self.word(name, scope)?;
        let with = self.word(entry_of(tree, "with")?, scope)?;
        let mut maps: Vec<Map> = Vec::new();
        for t in tree.children.iter().filter(|c| c.name.value == "map") {
            let Some(m) = self.map(t, scope) else { continue };
            if let Some(first) = maps.iter().find(|x| x.subject == m.subject && x.word == m.word) {
                let text = format!("{}:{}", m.subject, m.word);
                self.dec.sink.push(super::decode::duplicate("map", &text, first.span, m.span));
                continue;
            }
            maps.push(m);
        }
        Some(StandIn { platform, with, span: tree.span, maps })
    }

    fn word(&mut self, e: &Entry, scope: &Scope) -> Option<String> {
        let place = Place { scope, captures: &[], zip: None, layer: "" };
        self.dec.fill(e.value.value.as_text()?, place, e.span).map(|f| f.text)
    }

    fn map(&mut self, t: &Tree, scope: &Scope) -> Option<Map> {
        let entries: Vec<&Entry> = t.args().collect();
        let (from, to) = entries.split_first()?;
        let text = self.word(from, scope)?;
        let words: Vec<String> = to.iter().filter_map(|e| self.word(e, scope)).collect();
        let place = |d: Diagnostic| d.label(from.span, "what is mapped");
        let Some((subject, word)) = text.split_once(':') else {
            let help = "as in role:mailbox, kind:dag, service:owa, probe:owa or importer:ews";
            let d = Diagnostic::error("E0413", format!("`{text}` does not say what it is"));
            self.dec.sink.push(place(d).help(help));
            return None;
        };
        let Some((subject, fields)) = SUBJECTS.iter().find(|(s, _)| *s == subject) else {
            let d = Diagnostic::error("E0413", format!("`map` knows no `{subject}`"));
            let known = SUBJECTS.map(|(s, _)| s);
            self.dec.sink.push(place(d).help(match nearest(subject, known) {
                Some(n) => format!("did you mean `{n}:{word}`?"),
                None => format!("it maps {}", either(&known)),
            }));
            return None;
        };
        let none = words.iter().any(|w| w == "none");
        if none && words.len() > 1 || words.is_empty() {
            let d = Diagnostic::error("E0413", "`none` leaves it out and stands alone").label(t.span, "here");
            self.dec.sink.push(d.help("name what it becomes, or only none"));
            return None;
        }
        let to = if none { Vec::new() } else { words };
        for (i, w) in std::iter::once(&word.to_owned()).chain(&to).enumerate() {
            let at = entries.get(i).map_or(from.span, |e| e.span);
            self.known_word(subject, fields, w, i == 0, at)?;
        }
        if *subject == "kind" && to.len() > 1 || matches!(*subject, "probe" | "importer") && to.len() > 1 {
            let d = Diagnostic::error("E0413", format!("a {subject} becomes one other, not {}", to.len()));
            self.dec.sink.push(d.label(t.span, "too many").help("name one"));
            return None;
        }
        Some(Map { subject, word: word.to_owned(), to, span: t.span })
    }

    /// Whether a word of a `map` exists at all. `None`: reported.
    fn known_word(&mut self, subject: &str, fields: &[(&str, &str)], w: &str, from: bool, at: Span) -> Option<()> {
        let known: BTreeSet<String> = if subject == "kind" {
            self.dec.schema.kinds.iter().filter(|k| k.top_level()).map(|k| k.name.clone()).collect()
        } else {
            fields
                .iter()
                .filter_map(|(k, f)| self.dec.schema.kind(k)?.field(f))
                .flat_map(|f| match &f.ty {
                    Type::Enum(l) | Type::Open(l) => l.clone(),
                    _ => Vec::new(),
                })
                .chain(self.dec.roles.into_iter().flatten().filter(|_| subject == "role").cloned())
                .collect()
        };
        if known.contains(w) {
            return Some(());
        }
        let near = nearest(w, known.iter().map(String::as_str));
        // A pack may define a role that nobody named here.
        if subject == "role" && self.dec.roles.is_none() && near.is_none() {
            return Some(());
        }
        let d = Diagnostic::error("E0413", format!("there is no {subject} `{w}`"))
            .label(at, if from { "nothing to map" } else { "cannot become this" });
        self.dec.sink.push(match near {
            Some(n) => d.help(format!("did you mean `{n}`?")),
            None => d.help(format!("it is {}", either(&known.into_iter().collect::<Vec<_>>()))),
        });
        None
    }
}

struct Work<'a> {
    s: &'a StandIn,
    store: &'a mut Store,
    sink: &'a mut Sink,
    index: Index,
    schema: &'static Schema,
}

impl Work<'_> {
    fn run(&mut self) {
        let concerned = self.concerned();
        let (mut gone, mut converted) = (Vec::new(), Vec::new());
        for at in concerned {
            let Some(mut node) = self.store.get(at).cloned() else { continue };
            match node.kind.name.as_str() {
                "server" => {
                    for v in node.fields.get("roles").iter().flat_map(|f| &f.values) {
                        let role = show(&v.draft);
                        if self.s.map("role", &role).is_some() {
                            self.store.former_roles.entry(role.into()).or_default().push(node.id());
                        }
                    }
                    if let Some(span) = self.words(&mut node, "role", "roles") {
                        gone.push((at, span));
                        continue;
                    }
                }
                "namespace" | "certificate" => {
                    if let Some(span) = self.words(&mut node, "service", "services") {
                        gone.push((at, span));
                        continue;
                    }
                    self.virtual_directories(&mut node);
                }
                "probe" => {
                    if let Some(span) = self.words(&mut node, "probe", "type") {
                        gone.push((at, span));
                        continue;
                    }
                }
                "cms" => {
                    self.words(&mut node, "importer", "importer");
                }
                _ => {}
            }
            match self.s.map("kind", &node.kind.name) {
                Some(m) if m.to.is_empty() => gone.push((at, m.span)),
                Some(m) => converted.push((at, m.span)),
                None => {}
            }
            if let Some(slot) = self.store.get_mut(at) {
                *slot = node;
            }
        }
        self.platform();
        for (at, span) in gone {
            self.store.remove(at, span);
        }
        self.convert(converted);
    }

    /// Nodes of the platform: its servers, and all that name one of them, directly or through others.
    fn concerned(&mut self) -> Vec<usize> {
        let living: Vec<(NodeId, usize)> = self
            .store
            .living()
            .filter_map(|(id, at)| Some((NodeId::new(self.store.get(at)?.kind.name.as_str(), id.clone()), at)))
            .collect();
        let of_platform = |n: &DraftNode| {
            let names = |f: &DraftField| f.values.iter().any(|v| names_platform(&v.draft, &self.s.platform));
            n.kind
                .fields
                .iter()
                .any(|d| refers_to(&d.ty, "platform") && n.fields.get(d.name.as_str()).is_some_and(names))
        };
        let mut hit: BTreeSet<NodeId> = BTreeSet::new();
        for (id, at) in &living {
            if self.store.get(*at).is_some_and(of_platform) {
                hit.insert(id.clone());
            }
        }
        // Only nodes whose words can change, and those that lead from them to servers.
        const LEADS: [&str; 9] =
            ["dag", "ccr", "pair", "load-balancer", "namespace", "certificate", "probe", "cms", "database"];
        let mapped: BTreeSet<&str> =
            self.s.maps.iter().filter(|m| m.subject == "kind").map(|m| m.word.as_str()).collect();
        let mut refs: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for (id, at) in &living {
            if LEADS.contains(&id.kind.as_str()) || mapped.contains(id.kind.as_str()) {
                refs.insert(id.clone(), self.refs(*at));
            }
        }
        loop {
            let before = hit.len();
            for (id, targets) in &refs {
                if targets.iter().any(|t| hit.contains(t)) {
                    hit.insert(id.clone());
                }
            }
            if hit.len() == before {
                break;
            }
        }
        living.into_iter().filter(|(id, _)| hit.contains(id)).map(|(_, at)| at).collect()
    }

    /// What a node refers to; what cannot be resolved is reported later.
    fn refs(&self, at: usize) -> Vec<NodeId> {
        let Some(node) = self.store.get(at) else { return Vec::new() };
        let mut quiet = Sink::default();
        let mut r = Resolver { sink: &mut quiet, store: self.store, index: &self.index, schema: self.schema };
        let mut out = Vec::new();
        for def in &node.kind.fields {
            for v in node.fields.get(def.name.as_str()).iter().flat_map(|f| &f.values) {
                let Draft::Name(text) = &v.draft else { continue };
                for value in r.resolve(&Asked::of(def, node.kind, 0), text, v).unwrap_or_default() {
                    if let Value::Ref(id) = value {
                        out.push(id);
                    }
                }
            }
        }
        out
    }

    /// Every field that names the platform names the other one; an installer stays what it is.
    fn platform(&mut self) {
        let s = self.s;
        let mut rewrite = Rewrite::new(|f: &DraftField| {
            let named = |v: &DraftValue| names_platform(&v.draft, &s.platform);
            let mut f = f.values.iter().any(named).then(|| f.clone())?;
            for v in f.values.iter_mut().filter(|v| named(v)) {
                v.draft = Draft::Name(s.with.as_str().into());
            }
            layer(&mut f, s, s.span);
            Some(f)
        });
        let all: Vec<usize> = self.store.living().map(|(_, at)| at).collect();
        for at in all {
            let Some(node) = self.store.get_mut(at).filter(|n| n.kind.name != "artifact") else { continue };
            for def in node.kind.fields.iter().filter(|d| refers_to(&d.ty, "platform")) {
                rewrite.apply_to(&mut node.fields, &def.name);
            }
        }
    }

    /// Maps the words of one field. `Some`: nothing is left of them, by this map.
    fn words(&mut self, node: &mut DraftNode, subject: &str, field: &str) -> Option<Span> {
        let def = node.kind.field(field)?;
        let f = node.fields.get(field)?;
        let (mut values, mut by): (Vec<DraftValue>, Option<Span>) = (Vec::new(), None);
        for v in &f.values {
            let word = show(&v.draft);
            let Some(m) = self.s.map(subject, &word) else {
                values.push(v.clone());
                continue;
            };
            by = Some(m.span);
            for to in &m.to {
                let draft = Draft::Value(Value::Text(to.into()));
                // `imap` is a service of a namespace, and of a certificate; `um` is not.
                if let Type::Enum(list) = &def.ty
                    && !list.contains(to)
                {
                    if subject == "service" && node.kind.name == "certificate" {
                        continue;
                    }
                    let d = Diagnostic::error("E0413", format!("`{field}` of `{}` cannot be `{to}`", node.kind.name))
                        .label(m.span, "mapped here")
                        .label(v.span, format!("stands here as `{word}`"));
                    self.sink.push(d.help(format!("it is {}", either(list))));
                    continue;
                }
                if values.iter().all(|x| x.draft != draft) {
                    values.push(DraftValue { draft, span: v.span, raw: v.raw, listed: v.listed });
                }
            }
        }
        let by = by?;
        // Two words that become one are one.
        let mut seen: Vec<Draft> = Vec::new();
        values.retain(|v| {
            let new = !seen.contains(&v.draft);
            seen.push(v.draft.clone());
            new
        });
        let f = node.fields.get_mut(field)?;
        f.values = values;
        layer(f, self.s, by);
        f.values.is_empty().then_some(by)
    }

    /// Per-service settings of a namespace: those of a service that became another one say nothing of that.
    fn virtual_directories(&mut self, node: &mut DraftNode) {
        node.children.retain(|c| c.kind.name != "virtual-directory" || self.s.map("service", &c.name).is_none());
    }

    /// Nodes of one kind become nodes of another, with the fields that both have.
    fn convert(&mut self, nodes: Vec<(usize, Span)>) {
        let mut renamed: BTreeSet<(String, String)> = BTreeSet::new();
        for (at, span) in nodes {
            let Some(old) = self.store.get(at).cloned() else { continue };
            let Some(kind) = self.s.map("kind", &old.kind.name).and_then(|m| schema().kind(m.to.first()?)) else {
                continue;
            };
            self.store.remove(at, span);
            renamed.insert((old.kind.name.clone(), old.id().to_string()));
            let mut node = DraftNode { kind, fields: Fields::default(), ..old.clone() };
            for (name, f) in old.fields.iter() {
                if let Some(def) = kind.field(name).filter(|d| fits(d.many, &d.ty, old.kind, name)) {
                    let mut f = f.clone();
                    layer(&mut f, self.s, span);
                    node.fields.insert(&def.name, f);
                }
            }
            node.children.retain(|c| kind.has_child(&c.kind.name));
            let (id, place) = (node.id(), node.span);
            if let Err(first) = self.store.insert(node) {
                let d = Diagnostic::error("E0413", format!("{} `{id}` would be a second {}", old.kind.name, kind.name))
                    .label(place, "becomes one here")
                    .label(first, "this is one already")
                    .label(span, "mapped here");
                self.sink.push(d.help("change one name"));
            }
        }
        if !renamed.is_empty() {
            self.rename(&renamed);
        }
    }

    /// `dag:dag1` names the node under its new kind.
    fn rename(&mut self, renamed: &BTreeSet<(String, String)>) {
        let s = self.s;
        let new = |draft: &Draft| {
            let Draft::Name(text) = draft else { return None };
            let (kind, name) = text.split_once(':')?;
            let to = s.map("kind", kind)?.to.first()?;
            renamed.contains(&(kind.to_owned(), name.to_owned())).then(|| Draft::Name(format_smolstr!("{to}:{name}")))
        };
        let mut rewrite = Rewrite::new(|f: &DraftField| {
            let mut f = f.values.iter().any(|v| new(&v.draft).is_some()).then(|| f.clone())?;
            for v in &mut f.values {
                v.draft = new(&v.draft).unwrap_or_else(|| v.draft.clone());
            }
            Some(f)
        });
        let all: Vec<usize> = self.store.living().map(|(_, at)| at).collect();
        for at in all {
            if let Some(node) = self.store.get_mut(at) {
                rename_in(node, &mut rewrite);
            }
        }
    }
}

fn rename_in(node: &mut DraftNode, rewrite: &mut Rewrite<DraftField, impl FnMut(&DraftField) -> Option<DraftField>>) {
    rewrite.apply(&mut node.fields);
    node.children.iter_mut().for_each(|c| rename_in(c, rewrite));
}

fn names_platform(draft: &Draft, platform: &str) -> bool {
    matches!(draft, Draft::Name(n) if n == platform || n.strip_prefix("platform:") == Some(platform))
}

fn refers_to(ty: &Type, kind: &str) -> bool {
    ty.kinds().is_some_and(|k| k.iter().any(|k| k == kind))
}

/// Whether a field of the old kind means the same in the new one.
fn fits(many: bool, ty: &Type, old: &KindDef, name: &str) -> bool {
    old.field(name).is_some_and(|o| o.many == many && (o.ty == *ty || o.ty.kinds().is_some() && ty.kinds().is_some()))
}

fn layer(f: &mut DraftField, s: &StandIn, span: Span) {
    let shown: Vec<String> = f.values.iter().take(8).map(|v| show(&v.draft)).collect();
    f.layers.push(Layer::new(s.layer(), Some(span), shown.join(" ")));
}
