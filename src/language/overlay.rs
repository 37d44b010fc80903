//! Overlays: `(patch)`, `(add)`, `(remove)`, `(replace)`, `(take)` in an `environment`, and patches in a `use`.
//!
//! Verbs are applied by kind of verb, not by line: first what is added and replaced, then patches, then what is taken away.
//! Two verbs of one layer that touch one field are a mistake, so their order cannot matter.

use std::collections::HashMap;

use super::compile::Build;
use super::decode::{Names, Place, Zip, layer};
use super::draft::{DraftField, DraftNode};
use super::schema::KindDef;
use super::suggest::{counted, nearest};
use super::text::Scope;
use super::written::{Written, split};
use crate::model::tree::{Scalar, Tree};
use crate::model::{Diagnostic, Span};

const VERBS: [&str; 5] = ["add", "replace", "patch", "remove", "take"];

/// Which field was touched where, within one layer.
type Touched = HashMap<(usize, String), Span>;

/// One node of an overlay with what its texts can see.
struct Step<'t> {
    tree: &'t Tree,
    scope: &'t Scope,
    captures: &'t [String],
    layer: &'t str,
    environment: bool,
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
                let step =
                    Step { tree: &p.tree, scope: &p.scope, captures: &p.captures, layer: &p.layer, environment: false };
                self.step(&step, verb, touched.entry(&p.layer).or_default());
            }
        }
    }

    pub fn overlays(&mut self, chain: &[&Tree], scope: &Scope) {
        for env in chain {
            let name = env.args().next().and_then(|e| e.value.value.as_text()).unwrap_or_default();
            let layer = format!("environment {name}");
            let mut touched = Touched::new();
            for verb in VERBS {
                for tree in env.children.iter().filter(|c| c.annotation.is_some()) {
                    self.step(
                        &Step { tree, scope, captures: &[], layer: &layer, environment: true },
                        verb,
                        &mut touched,
                    );
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
            "add" => self.add(s, kind),
            "replace" => self.replace(s, kind),
            "patch" => self.patch(s, kind, touched),
            "remove" => self.remove(s, kind),
            _ => self.take(s, kind),
        }
    }

    fn add(&mut self, s: &Step, kind: &'static KindDef) {
        let place = Place { scope: s.scope, captures: s.captures, zip: None, layer: s.layer };
        for node in self.dec.nodes(&Tree { annotation: None, ..s.tree.clone() }, kind, place) {
            let (id, span) = (node.id(), node.span);
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

    fn replace(&mut self, s: &Step, kind: &'static KindDef) {
        let Some(w) = split(s.tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let Some(targets) = self.targets(s, &w, kind) else { return };
        for (at, _, _) in targets {
            if self.open_to_overlays(at, s) {
                self.store.remove(at, s.tree.name.span);
            }
        }
        self.add(s, kind);
    }

    fn remove(&mut self, s: &Step, kind: &'static KindDef) {
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
        let Some(targets) = self.targets(s, &w, kind) else { return };
        for (at, _, _) in targets {
            if self.open_to_overlays(at, s) {
                self.store.remove(at, w.name.map_or(s.tree.name.span, |e| e.span));
            }
        }
    }

    /// `(take)server "cas-[01:12]" 2` keeps the first two.
    fn take(&mut self, s: &Step, kind: &'static KindDef) {
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
        let Some(targets) = self.targets(s, &w, kind) else { return };
        if keep > targets.len() {
            return self.dec.sink.push(
                Diagnostic::error("E0409", format!("`(take)` keeps {keep} of {}", counted(targets.len(), &kind.name)))
                    .label(count.map_or(name.span, |e| e.span), "more than there are")
                    .help("take fewer, or leave the line out"),
            );
        }
        for (at, _, _) in targets.into_iter().skip(keep) {
            if self.open_to_overlays(at, s) {
                self.store.remove(at, name.span);
            }
        }
    }

    /// `(final)` nodes are closed to overlays.
    fn open_to_overlays(&mut self, at: usize, s: &Step) -> bool {
        let Some(node) = self.store.get(at) else { return false };
        let Some(mark) = node.is_final else { return true };
        self.dec.sink.push(
            Diagnostic::error("E0406", format!("{} `{}` is final", node.kind.name, node.id()))
                .label(s.tree.name.span, "overlaid here")
                .label(mark, "forbids overlays")
                .help("change the base, or remove (final) there with the consent of who set it"),
        );
        false
    }

    /// The nodes that an overlay means, each with its captures and its place in the range. `None`: reported.
    fn targets(&mut self, s: &Step, w: &Written, kind: &'static KindDef) -> Option<Vec<(usize, Vec<String>, Zip)>> {
        let place = Place { scope: s.scope, captures: s.captures, zip: None, layer: s.layer };
        let (names, span) = self.dec.names(w, s.tree, kind, place)?;
        let Some(names) = names else { return Some(Vec::new()) };
        let mut out = Vec::new();
        let (first, _) = names.nth(0);
        let matching = first.contains('*') || first.starts_with("role:") || first.starts_with("label:");
        if matching && matches!(names, Names::One(_)) {
            let hits: Vec<usize> =
                self.store.of_kind(&kind.name).filter(|(_, n)| matches_text(n, &first)).map(|(i, _)| i).collect();
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
            let wanted = key.map_or(name.clone(), |k| format!("{name}@{k}"));
            let hits = self.store.find(&kind.name, &wanted);
            if hits.is_empty() {
                // A node that could not be made, or whose key is what the patch changes.
                if !self.store.ghosts.contains(&name) {
                    self.no_target(s, kind, &wanted, span);
                }
                return None;
            }
            let zip = Zip { index: i, count: names.len(), names: span };
            out.extend(hits.into_iter().map(|at| (at, captures.clone().unwrap_or_else(|| s.captures.to_vec()), zip)));
        }
        Some(out)
    }

    fn no_target(&mut self, s: &Step, kind: &KindDef, name: &str, span: Span) {
        if self.dec.sink.knows("E0403", span) {
            return;
        }
        let ids: Vec<String> = self.store.of_kind(&kind.name).map(|(_, n)| n.id()).collect();
        let create = format!("To create a node only here, write (add){}", kind.name);
        let message = if s.environment {
            format!("overlay target {} `{name}` does not exist in the base", kind.name)
        } else {
            format!("patch target {} `{name}` does not exist", kind.name)
        };
        let help = match nearest(name, ids.iter().map(String::as_str)) {
            Some(n) => format!("did you mean `{n}`? {create}"),
            None => create.replacen("To", "to", 1),
        };
        self.dec.sink.push(Diagnostic::error("E0403", message).label(span, "matches nothing").help(help));
    }

    fn patch(&mut self, s: &Step, kind: &'static KindDef, touched: &mut Touched) {
        let Some(w) = split(s.tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let Some(targets) = self.targets(s, &w, kind) else { return };
        for (at, captures, zip) in targets {
            if !self.open_to_overlays(at, s) {
                return;
            }
            let place = Place { scope: s.scope, captures: &captures, zip: Some(zip), layer: s.layer };
            let Some(mut node) = self.store.get(at).cloned() else { continue };
            let before = node.id();
            self.apply(&mut node, &w, place, touched, at, "");
            if node.id() != before {
                let key = kind.key.as_deref().unwrap_or_default();
                self.dec.sink.push(
                    Diagnostic::error(
                        "E0402",
                        format!("`{key}` belongs to the identity of {} and cannot be patched", kind.name),
                    )
                    .label(s.tree.name.span, "here")
                    .help("remove the node and add the other one"),
                );
                continue;
            }
            if let Some(n) = self.store.get_mut(at) {
                *n = node;
            }
        }
    }

    /// Writes the fields and children of a patch into a node. `path` names the node among what was touched.
    fn apply(&mut self, node: &mut DraftNode, w: &Written, place: Place, touched: &mut Touched, at: usize, path: &str) {
        node.tainted |= w.tainted;
        for f in &w.fields {
            if Some(f.def.name.as_str()) == node.kind.key.as_deref() && node.fields.contains_key(f.def.name.as_str()) {
                // It chose the target.
                continue;
            }
            if let Some(first) = touched.insert((at, format!("{path}{}", f.def.name)), f.span) {
                self.dec.sink.push(
                    Diagnostic::error(
                        "E0405",
                        format!("two overlays of one layer set `{}` of {} `{}`", f.def.name, node.kind.name, node.id()),
                    )
                    .label(f.span, "again here")
                    .label(first, "set here")
                    .help("keep one of them; the order of overlays has no meaning"),
                );
                continue;
            }
            let Some(mut values) = self.dec.values(f, node.kind, place) else {
                node.tainted = true;
                continue;
            };
            let old = node.fields.remove(f.def.name.as_str());
            let (old_values, mut layers) = old.map_or((Vec::new(), Vec::new()), |o| (o.values, o.layers));
            match f.verb.map(|v| v.value.as_str()) {
                Some("add") => {
                    let mut all = old_values;
                    values.retain(|v| all.iter().all(|o| o.draft != v.draft));
                    all.append(&mut values);
                    values = all;
                }
                Some("remove") => {
                    if let Some(v) = values.iter().find(|v| old_values.iter().all(|o| o.draft != v.draft)) {
                        let text = super::decode::show(&v.draft);
                        self.dec.sink.push(
                            Diagnostic::error(
                                "E0403",
                                format!(
                                    "`{}` of {} `{}` does not hold `{text}`",
                                    f.def.name,
                                    node.kind.name,
                                    node.id()
                                ),
                            )
                            .label(v.span, "nothing to remove")
                            .help("(remove) takes out values that the list has"),
                        );
                    }
                    let gone = values;
                    values = old_values.into_iter().filter(|o| gone.iter().all(|g| g.draft != o.draft)).collect();
                }
                _ => {}
            }
            layers.push(layer(place.layer, f.span, &values));
            node.fields.insert(&f.def.name, DraftField { values, layers, span: f.span });
        }
        for (tree, kind) in &w.children {
            self.apply_child(node, tree, kind, place, touched, at, path);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn apply_child(
        &mut self,
        node: &mut DraftNode,
        tree: &Tree,
        kind: &'static KindDef,
        place: Place,
        touched: &mut Touched,
        at: usize,
        path: &str,
    ) {
        let verb = tree.annotation.as_ref().map_or("patch", |v| v.value.as_str());
        if verb == "add" || verb == "replace" {
            let plain = Tree { annotation: None, ..tree.clone() };
            for child in self.dec.nodes(&plain, kind, place) {
                let same = node.children.iter().position(|c| c.kind.name == kind.name && c.id() == child.id());
                match (verb, same) {
                    ("add", None) => node.children.push(child),
                    ("add", Some(_)) if kind.repeat => node.children.push(child),
                    ("replace", Some(i)) => node.children[i] = child,
                    ("add", Some(i)) => self.dec.sink.push(
                        Diagnostic::error("E0404", format!("{} `{}` exists already", kind.name, child.id()))
                            .label(child.span, "added here")
                            .label(node.children[i].span, "defined here")
                            .help("change it with (patch)"),
                    ),
                    _ => self.no_child(node, kind, &child.id(), child.span),
                }
            }
            return;
        }
        let Some(w) = split(tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let Some((names, span)) = self.dec.names(&w, tree, kind, place) else { return };
        let count = names.as_ref().map_or(1, Names::len);
        let key = kind
            .key
            .as_deref()
            .and_then(|k| w.fields.iter().find(|f| f.def.name == k))
            .and_then(|f| f.entries.first()?.value.value.as_text());
        for i in 0..count {
            let (name, captures) = names.as_ref().map_or((String::new(), None), |n| n.nth(i));
            let wanted = match key {
                Some(k) => format!("{name}@{k}"),
                None => name.clone(),
            };
            let fits =
                |c: &DraftNode| c.kind.name == kind.name && (c.name == name && key.is_none() || c.id() == wanted);
            let hits: Vec<usize> = node.children.iter().enumerate().filter(|(_, c)| fits(c)).map(|(i, _)| i).collect();
            let [hit] = hits.as_slice() else {
                if hits.is_empty() {
                    self.no_child(node, kind, &wanted, span);
                } else {
                    self.dec.sink.push(
                        Diagnostic::error("E0403", format!("{} `{wanted}` is there {} times", kind.name, hits.len()))
                            .label(span, "which one?")
                            .help("name its key, or write the parent anew with (replace)"),
                    );
                }
                return;
            };
            match verb {
                "patch" => {
                    let zip = if count > 1 { Some(Zip { index: i, count, names: span }) } else { place.zip };
                    let here = Place { captures: captures.as_deref().unwrap_or(place.captures), zip, ..place };
                    let path = format!("{path}{} {wanted}/", kind.name);
                    let mut child = node.children[*hit].clone();
                    self.apply(&mut child, &w, here, touched, at, &path);
                    node.children[*hit] = child;
                }
                "remove" => {
                    node.children.remove(*hit);
                }
                other => self.dec.sink.push(
                    Diagnostic::error("E0402", format!("`({other})` cannot stand before a child"))
                        .label(tree.name.span, "here")
                        .help("children take (patch), (add), (remove) and (replace)"),
                ),
            }
        }
    }

    fn no_child(&mut self, node: &DraftNode, kind: &KindDef, name: &str, span: Span) {
        let names: Vec<String> = node.children.iter().filter(|c| c.kind.name == kind.name).map(DraftNode::id).collect();
        let create = format!("To create it only here, write (add){}", kind.name);
        let of = format!("{} `{}`", node.kind.name, node.id());
        let message = if name.is_empty() {
            format!("{of} has no `{}` to patch", kind.name)
        } else {
            format!("{of} has no {} `{name}` to patch", kind.name)
        };
        let help = match nearest(name, names.iter().map(String::as_str)) {
            Some(n) => format!("did you mean `{n}`? {create}"),
            None => create.replacen("To", "to", 1),
        };
        self.dec.sink.push(Diagnostic::error("E0403", message).label(span, "matches nothing").help(help));
    }
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
pub(super) fn glob(pattern: &str, text: &str) -> bool {
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
