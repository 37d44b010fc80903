//! Overlays: `(patch)`, `(add)`, `(remove)`, `(replace)`, `(take)` in an `environment`, and patches in a `use`.
//!
//! Verbs are applied by kind of verb, not by line: first what is added and replaced, then patches, then what is taken away.
//! Two verbs of one layer that touch one field are a mistake, so their order cannot matter.

use std::collections::HashMap;
use std::ops::Range;

use smol_str::{SmolStr, format_smolstr};

use super::claim::{Claim, Touched, two_verbs};
use super::compile::Build;
use super::decode::{Names, Place, Zip};
use super::draft::DraftNode;
use super::schema::KindDef;
use super::suggest::{counted, nearest};
use super::text::Scope;
use super::written::{Written, split};
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, Span};

pub(super) const VERBS: [&str; 5] = ["add", "replace", "patch", "remove", "take"];

/// One node of an overlay with what its texts can see.
pub(super) struct Step<'t> {
    pub tree: &'t Tree,
    pub scope: &'t Scope,
    pub captures: &'t [String],
    pub layer: &'t str,
    /// In a `use`: the nodes of its instance, by their places in the store. An environment reaches all.
    own: Option<&'t Range<usize>>,
}

impl Step<'_> {
    fn reaches(&self, at: usize) -> bool {
        self.own.is_none_or(|own| own.contains(&at))
    }
}

pub(super) fn no_verb(t: &Tree) -> Diagnostic {
    Diagnostic::error("E0401", format!("`{}` in an overlay needs a verb", t.name.value))
        .label(t.name.span, "no verb")
        .help("write (patch), (add), (remove), (replace) or (take) before the node name; nothing is merged silently")
}

impl Build<'_, '_> {
    pub fn use_patches(&mut self) {
        let patches = std::mem::take(&mut self.patches);
        let mut touched: HashMap<&str, Touched> = HashMap::new();
        for verb in VERBS {
            for p in &patches {
                let own = Some(&p.own);
                let step = Step { tree: &p.tree, scope: &p.scope, captures: &p.captures, layer: &p.layer, own };
                self.step(&step, verb, touched.entry(&p.layer).or_default());
            }
        }
    }

    pub fn overlays(&mut self, chain: &[&Tree], scope: &Scope) {
        for env in chain {
            let name = env.args().next().and_then(|e| e.value.value.as_text()).unwrap_or_default();
            let layer = format!("environment {name}");
            let mut touched = Touched::default();
            for verb in VERBS {
                for tree in env.children.iter().filter(|c| c.annotation.is_some()) {
                    self.step(&Step { tree, scope, captures: &[], layer: &layer, own: None }, verb, &mut touched);
                }
            }
        }
    }

    /// Applies a node of an overlay if it has this verb.
    fn step(&mut self, s: &Step, verb: &str, touched: &mut Touched) {
        let Some(v) = &s.tree.annotation else { return };
        if !VERBS.contains(&v.value.as_str()) {
            if verb == VERBS[0] {
                let d = Diagnostic::error("E0402", format!("`({})` is no verb of an overlay", v.value))
                    .label(v.span, "unknown verb");
                self.dec.sink.push(match nearest(&v.value, VERBS) {
                    Some(n) => d.help(format!("did you mean ({n})?")),
                    None => d.help("the verbs are (patch), (add), (remove), (replace) and (take)"),
                });
            }
            return;
        }
        if v.value != verb {
            return;
        }
        let word = s.tree.name.value.as_str();
        let Some(kind) = self
            .dec
            .schema
            .kind(word)
            .filter(|k| k.top_level() && !(k.open || matches!(word, "language" | "include" | "let" | "variable")))
        else {
            let d = Diagnostic::error("E0101", format!("`{word}` cannot stand in an overlay"))
                .label(s.tree.name.span, "not here");
            let kinds = self.dec.schema.kinds.iter().filter(|k| k.top_level()).map(|k| k.name.as_str());
            self.dec.sink.push(match (word, nearest(word, kinds)) {
                ("variable", _) => d.help("give a variable its value with `set NAME VALUE`"),
                (_, Some(n)) if !self.dec.schema.is_kind(word) => d.help(format!("did you mean `{n}`?")),
                _ => d.help("an overlay changes nodes of the base: (patch)server mail-1 memory=\"4GiB\""),
            });
            return;
        };
        match verb {
            "add" => self.add(s, kind, "add", touched),
            "replace" => self.replace(s, kind, touched),
            "patch" => self.patch(s, kind, touched),
            "remove" => self.remove(s, kind, touched),
            _ => self.take(s, kind, touched),
        }
    }

    /// Notes that a verb touches a node; false when an earlier one of this layer stands against it.
    pub(super) fn claim(&mut self, touched: &mut Touched, at: usize, claim: Claim) -> bool {
        let Some(node) = self.store.get(at) else { return false };
        let (kind, id) = (node.kind.name.as_str(), node.id());
        match touched.nodes.get(&(kind, id.clone())) {
            Some(first) if first.clashes(&claim) => {
                self.dec.sink.push(two_verbs(kind, &id, *first, claim));
                false
            }
            _ => {
                touched.nodes.insert((kind, id), claim);
                true
            }
        }
    }

    fn add(&mut self, s: &Step, kind: &'static KindDef, verb: &'static str, touched: &mut Touched) {
        let place = Place { scope: s.scope, captures: s.captures, zip: None, layer: s.layer };
        for node in self.dec.nodes(&Tree { annotation: None, ..s.tree.clone() }, kind, place) {
            let (id, span) = (node.id(), node.span);
            let claim = Claim { verb, span, named: true };
            // Written anew twice: the second time it is there again.
            if verb == "replace"
                && let Some(first) = touched.nodes.insert((kind.name.as_str(), id.clone()), claim)
            {
                self.dec.sink.push(two_verbs(&kind.name, &id, first, claim));
                continue;
            }
            match touched.nodes.get(&(kind.name.as_str(), id.clone())) {
                Some(first) if verb == "add" && first.verb == "add" => {
                    self.dec.sink.push(two_verbs(&kind.name, &id, *first, claim));
                    continue;
                }
                _ => touched.nodes.insert((kind.name.as_str(), id.clone()), claim),
            };
            if let Err(first) = self.store.insert(node) {
                self.dec.sink.push(
                    Diagnostic::error("E0404", format!("{} `{id}` exists already", kind.name))
                        .label(span, "added here")
                        .label(first, "defined here")
                        .help(format!(
                            "change it with (patch){}, or write it anew with (replace){}",
                            kind.name, kind.name
                        )),
                );
            }
        }
    }

    fn replace(&mut self, s: &Step, kind: &'static KindDef, touched: &mut Touched) {
        let Some(w) = split(s.tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let Some(targets) = self.targets(s, &w, kind, touched, "replace") else { return };
        for (at, _, _) in targets {
            if !self.open_to_overlays(at, s) {
                return;
            }
            // An (add) of this layer made it.
            let key = self.store.get(at).map(|n| (n.kind.name.as_str(), n.id()));
            if let Some(first) = key.as_ref().and_then(|k| touched.nodes.get(k)).filter(|c| c.verb == "add")
                && let Some((kind, id)) = &key
            {
                let claim = Claim { verb: "replace", span: s.tree.name.span, named: true };
                self.dec.sink.push(two_verbs(kind, id, *first, claim));
                return;
            }
            self.store.remove(at, s.tree.name.span);
        }
        self.add(s, kind, "replace", touched);
    }

    fn remove(&mut self, s: &Step, kind: &'static KindDef, touched: &mut Touched) {
        let Some(w) = split(s.tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let extra = w
            .fields
            .iter()
            .find(|f| Some(f.def.name.as_str()) != kind.key.as_deref())
            .map(|f| f.span)
            .or(w.children.first().map(|(t, _)| t.span));
        if let Some(span) = extra {
            return self.dec.sink.push(
                Diagnostic::error("E0402", "`(remove)` takes the whole node away")
                    .label(span, "has no use here")
                    .help("to change one field write (patch)"),
            );
        }
        let Some(targets) = self.targets(s, &w, kind, touched, "remove") else { return };
        let span = w.name.map_or(s.tree.name.span, |e| e.span);
        for (at, _, _) in targets {
            let claim = Claim { verb: "remove", span, named: !pattern(w.name) };
            if self.open_to_overlays(at, s) && self.claim(touched, at, claim) {
                self.store.remove(at, span);
            }
        }
    }

    /// `(take)server "cas-[01:12]" 2` keeps the first two.
    fn take(&mut self, s: &Step, kind: &'static KindDef, touched: &mut Touched) {
        let mut args = s.tree.args();
        let (name, count) = (args.next(), args.next());
        let keep = match count.map(|e| &e.value.value) {
            Some(Scalar::Int(n)) => usize::try_from(*n).ok().filter(|n| *n > 0),
            _ => None,
        };
        let (Some(name), Some(keep), None, true) =
            (name, keep, args.next(), s.tree.children.is_empty() && s.tree.entries.len() == 2)
        else {
            return self.dec.sink.push(
                Diagnostic::error("E0409", "`(take)` is written (take)KIND \"RANGE\" COUNT")
                    .label(s.tree.span, "here")
                    .help(format!("as in (take){} \"{}-[01:12]\" 2, which keeps the first two", kind.name, kind.name)),
            );
        };
        let w = Written { name: Some(name), fields: Vec::new(), children: Vec::new(), tainted: false };
        // What a pattern no longer finds, because another line removed it, would change which are the first.
        if pattern(Some(name))
            && let Some(text) = name.value.value.as_text()
            && let Some(((_, id), first)) = touched
                .nodes
                .iter()
                .filter(|((k, id), c)| *k == kind.name && c.verb == "remove" && glob(text, id))
                .min_by_key(|(_, c)| c.span)
        {
            let claim = Claim { verb: "take", span: name.span, named: false };
            return self.dec.sink.push(two_verbs(&kind.name, id, *first, claim));
        }
        let Some(targets) = self.targets(s, &w, kind, touched, "take") else { return };
        if keep > targets.len() {
            return self.dec.sink.push(
                Diagnostic::error("E0409", format!("`(take)` keeps {keep} of {}", counted(targets.len(), &kind.name)))
                    .label(count.map_or(name.span, |e| e.span), "more than there are")
                    .help("take fewer, or leave the line out"),
            );
        }
        for (i, (at, _, _)) in targets.into_iter().enumerate() {
            let claim = Claim { verb: "take", span: name.span, named: !pattern(Some(name)) };
            if !self.claim(touched, at, claim) {
                return;
            }
            if i >= keep && self.open_to_overlays(at, s) {
                self.store.remove(at, name.span);
            }
        }
    }

    /// `(final)` nodes are closed to overlays.
    pub(super) fn open_to_overlays(&mut self, at: usize, s: &Step) -> bool {
        let Some(node) = self.store.get(at) else { return false };
        let Some(mark) = node.is_final else { return true };
        self.dec.sink.push(final_node(node, s.tree.name.span, mark));
        false
    }

    /// The nodes that an overlay means, each with its captures and its place in the range. `None`: reported.
    pub(super) fn targets(
        &mut self,
        s: &Step,
        w: &Written,
        kind: &'static KindDef,
        touched: &Touched,
        verb: &'static str,
    ) -> Option<Vec<(usize, Vec<String>, Zip)>> {
        let place = Place { scope: s.scope, captures: s.captures, zip: None, layer: s.layer };
        let (names, span) = self.dec.names(w, s.tree, kind, place)?;
        let Some(names) = names else { return Some(Vec::new()) };
        let mut out = Vec::new();
        let (first, _) = names.nth(0);
        if pattern(w.name) && matches!(names, Names::One(_)) {
            let hits: Vec<usize> = self
                .store
                .of_kind(&kind.name)
                .filter(|(at, n)| s.reaches(*at) && matches_text(n, &first))
                .map(|(i, _)| i)
                .collect();
            if hits.is_empty() {
                self.no_target(s, kind, &first, span);
                return None;
            }
            let count = hits.len();
            return Some(
                hits.into_iter()
                    .enumerate()
                    .map(|(index, at)| (at, s.captures.to_vec(), Zip { index, count, names: span }))
                    .collect(),
            );
        }
        let key = kind
            .key
            .as_deref()
            .and_then(|k| w.fields.iter().find(|f| f.def.name == k))
            .and_then(|f| f.entries.first()?.value.value.as_text());
        for i in 0..names.len() {
            let (name, captures) = names.nth(i);
            let wanted = key.map_or_else(|| SmolStr::from(&name), |k| format_smolstr!("{name}@{k}"));
            let hits = self.store.find(&kind.name, &wanted);
            if hits.is_empty() {
                // Another line of this layer took it away.
                if let Some(first) = touched.nodes.get(&(kind.name.as_str(), wanted.clone())) {
                    self.dec.sink.push(two_verbs(&kind.name, &wanted, *first, Claim { verb, span, named: true }));
                    return None;
                }
                // A node that could not be made, or whose key is what the patch changes.
                if !self.store.ghosts.contains(name.as_str()) {
                    self.no_target(s, kind, &wanted, span);
                }
                return None;
            }
            if let Some(at) = hits.iter().find(|at| !s.reaches(**at)) {
                self.outside(s, kind, *at, span);
                return None;
            }
            let zip = Zip { index: i, count: names.len(), names: span };
            out.extend(hits.into_iter().map(|at| (at, captures.clone().unwrap_or_else(|| s.captures.to_vec()), zip)));
        }
        Some(out)
    }

    /// An instance patches what it made: what others made would be patched by whoever uses the module.
    fn outside(&mut self, s: &Step, kind: &KindDef, at: usize, span: Span) {
        let Some(node) = self.store.get(at) else { return };
        self.dec.sink.push(
            Diagnostic::error("E0418", format!("{} `{}` is not made by this `use`", kind.name, node.id()))
                .label(span, format!("{} reaches outside", s.layer))
                .label(node.span, "made here")
                .help("change it where it is written, or with this verb in an `environment`"),
        );
    }

    fn no_target(&mut self, s: &Step, kind: &KindDef, name: &str, span: Span) {
        if self.dec.sink.knows("E0403", span) {
            return;
        }
        let near = self.store.of_kind(&kind.name).filter(|(at, _)| s.reaches(*at));
        let ids: Vec<SmolStr> = near.map(|(_, n)| n.id()).collect();
        let create = format!("To create a node only here, write (add){}", kind.name);
        let message = if s.own.is_none() {
            format!("overlay target {} `{name}` does not exist in the base", kind.name)
        } else {
            format!("patch target {} `{name}` does not exist", kind.name)
        };
        let help = match nearest(name, ids.iter().map(SmolStr::as_str)) {
            Some(n) => format!("did you mean `{n}`? {create}"),
            None => create.replacen("To", "to", 1),
        };
        self.dec.sink.push(Diagnostic::error("E0403", message).label(span, "matches nothing").help(help));
    }
}

pub(super) fn final_node(node: &DraftNode, overlaid: Span, mark: Span) -> Diagnostic {
    Diagnostic::error("E0406", format!("{} `{}` is final", node.kind.name, node.id()))
        .label(overlaid, "overlaid here")
        .label(mark, "forbids overlays")
        .help("change the base, or remove (final) there with the consent of who set it")
}

/// True for targets that are found by a glob, a role or a label.
pub(super) fn pattern(name: Option<&Entry>) -> bool {
    let text = name.and_then(|e| e.value.value.as_text()).unwrap_or_default();
    text.contains('*') || text.starts_with("role:") || text.starts_with("label:")
}

/// A glob, `role:x` or `label:x` on a draft node.
fn matches_text(n: &DraftNode, text: &str) -> bool {
    let has = |field: &str, word: &str| {
        n.fields.get(field).is_some_and(|f| f.values.iter().any(|v| super::decode::show(&v.draft) == word))
    };
    match text.split_once(':') {
        Some(("role", r)) => has("roles", r),
        Some(("label", l)) => has("labels", l),
        _ => glob(text, &n.name),
    }
}

/// `*` stands for any text, `?` for one character. Linear in both texts.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut pi, mut ti, mut star, mut mark) = (0, 0, None, 0);
    while ti < t.len() {
        if pi < p.len() && (p[pi] == '?' || p[pi] == t[ti]) {
            pi += 1;
            ti += 1;
        } else if pi < p.len() && p[pi] == '*' {
            star = Some(pi);
            mark = ti;
            pi += 1;
        } else if let Some(s) = star {
            pi = s + 1;
            mark += 1;
            ti = mark;
        } else {
            return false;
        }
    }
    p[pi..].iter().all(|c| *c == '*')
}
