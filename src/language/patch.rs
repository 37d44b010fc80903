//! `(patch)`: fields and children of a node that is there, in an environment or in a `use`.

use std::sync::Arc;

use smol_str::SmolStr;

use super::claim::{Claim, Touched, two_verbs};
use super::compile::Build;
use super::decode::{Names, Place, Zip, layer};
use super::draft::{DraftField, DraftNode};
use super::overlay::{Step, VERBS, final_node, pattern};
use super::schema::KindDef;
use super::suggest::nearest;
use super::written::{Written, split};
use crate::model::tree::Tree;
use crate::model::{Diagnostic, Span};

impl Build<'_, '_> {
    pub(super) fn patch(&mut self, s: &Step, kind: &'static KindDef, touched: &mut Touched) {
        let Some(w) = split(s.tree, kind, self.dec.schema, self.dec.sink, true) else { return };
        let Some(targets) = self.targets(s, &w, kind, touched, "patch") else { return };
        let span = w.name.map_or(s.tree.name.span, |e| e.span);
        for (at, captures, zip) in targets {
            if !self.open_to_overlays(at, s) {
                return;
            }
            if !self.claim(touched, at, Claim { verb: "patch", span, named: !pattern(w.name) }) {
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
            if let Some(first) = touched.fields.insert((at, format!("{path}{}", f.def.name)), f.span) {
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
            let layer_of = layer(place, f, &values);
            let old = node.fields.remove(f.def.name.as_str());
            let (old_values, mut layers) = old.map_or((Vec::new(), Vec::new()), |o| {
                let o = Arc::unwrap_or_clone(o);
                (o.values, o.layers)
            });
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
            layers.push(layer_of);
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
                if !self.claim_child(touched, at, path, verb, (kind, &child.id()), child.span) {
                    return;
                }
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
                    if !self.claim_child(touched, at, path, verb, (kind, &wanted), span) {
                        return;
                    }
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
            if !self.claim_child(touched, at, path, verb, (kind, &wanted), span) {
                return;
            }
            match verb {
                _ if node.children[*hit].is_final.is_some() => {
                    let child = &node.children[*hit];
                    let mark = child.is_final.unwrap_or(child.span);
                    self.dec.sink.push(final_node(child, tree.name.span, mark));
                    return;
                }
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

    /// As `claim`, for a child. Several records of one name may be added.
    fn claim_child(
        &mut self,
        touched: &mut Touched,
        at: usize,
        path: &str,
        verb: &str,
        (kind, id): (&KindDef, &str),
        span: Span,
    ) -> bool {
        let verb = VERBS.into_iter().find(|v| *v == verb).unwrap_or("patch");
        let claim = Claim { verb, span, named: true };
        match touched.children.insert((at, format!("{path}{} {id}", kind.name)), claim) {
            Some(first) if first.clashes(&claim) && !(kind.repeat && first.verb == "add" && verb == "add") => {
                self.dec.sink.push(two_verbs(&kind.name, id, first, claim));
                false
            }
            _ => true,
        }
    }

    fn no_child(&mut self, node: &DraftNode, kind: &KindDef, name: &str, span: Span) {
        let names: Vec<SmolStr> =
            node.children.iter().filter(|c| c.kind.name == kind.name).map(DraftNode::id).collect();
        let create = format!("To create it only here, write (add){}", kind.name);
        let of = format!("{} `{}`", node.kind.name, node.id());
        let message = if name.is_empty() {
            format!("{of} has no `{}` to patch", kind.name)
        } else {
            format!("{of} has no {} `{name}` to patch", kind.name)
        };
        let help = match nearest(name, names.iter().map(SmolStr::as_str)) {
            Some(n) => format!("did you mean `{n}`? {create}"),
            None => create.replacen("To", "to", 1),
        };
        self.dec.sink.push(Diagnostic::error("E0403", message).label(span, "matches nothing").help(help));
    }
}
