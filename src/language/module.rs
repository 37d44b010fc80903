//! `use`: instances of modules, with typed parameters.

use std::collections::BTreeMap;
use std::ops::Range;

use super::compile::Build;
use super::decode::{Names, Place, Zip};
use super::draft::DraftValue;
use super::scope::{Declared, Given, bind, declared, entry_of, lets};
use super::suggest::nearest;
use super::text::{Bound, Scope};
use super::types::{Draft, Type};
use super::written::split;
use crate::model::topology::Layer;
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, Span};

/// Modules may use modules this deep.
const MAX_DEPTH: usize = 8;

/// A patch written in a `use`, with all that its texts can see; applied when every node exists.
pub(super) struct UsePatch {
    pub tree: Tree,
    pub scope: Scope,
    pub captures: Vec<String>,
    pub layer: String,
    /// The nodes that the instance made, by their places in the store.
    pub own: Range<usize>,
}

/// A reference that a module was given, checked when all nodes are known.
pub(super) struct GivenRef {
    pub ty: Type,
    pub value: DraftValue,
    pub param: String,
}

impl Build<'_, '_> {
    /// Expands one `use` of any depth.
    pub fn instantiate(&mut self, tree: &Tree, scope: &Scope, captures: &[String], stack: &mut Vec<String>) {
        let Some(kind) = self.dec.schema.kind("use") else { return };
        let Some(w) = split(tree, kind, self.dec.schema, self.dec.sink, false) else { return };
        let place = Place { scope, captures, zip: None, layer: &scope.layer };
        let Some(name_entry) = w.name else { return };
        let Some((Some(Names::One(module_name)), span)) = self.dec.names(&w, tree, kind, place) else {
            return;
        };
        if w.tainted || !self.wanted(tree, place) {
            return;
        }
        let from = entry_of(tree, "from").and_then(|e| e.value.value.as_text());
        let Some(module) = self.module(&module_name, from, name_entry.span) else { return };
        if stack.contains(&module_name) {
            let chain = stack.iter().map(String::as_str).chain([module_name.as_str()]).collect::<Vec<_>>().join(" -> ");
            return self.dec.sink.push(
                Diagnostic::error("E0504", format!("modules use each other: {chain}"))
                    .label(span, "used again here")
                    .help("a module cannot contain itself"),
            );
        }
        if stack.len() >= MAX_DEPTH {
            return self.dec.sink.push(
                Diagnostic::error("E0505", format!("modules use modules deeper than {MAX_DEPTH} levels"))
                    .label(span, "one too deep")
                    .help(stack.join(" -> ")),
            );
        }
        self.same_version(&module, tree);
        let params: BTreeMap<String, Declared> = module
            .children
            .iter()
            .filter(|c| c.name.value == "param")
            .filter_map(declared)
            .map(|d| (d.name.clone(), d))
            .collect();
        let Some(instance) = w.fields.iter().find(|f| f.def.name == "instance") else {
            return self.dec.sink.push(
                Diagnostic::error("E0106", format!("`use {module_name}` needs a name for the instance"))
                    .label(tree.name.span, "use MODULE INSTANCE")
                    .help(format!("write `use {module_name} NAME ..`; inside the module it is `$self`")),
            );
        };
        let Some(names) = self.instance_names(instance.entries[0], place) else { return };
        let given: Vec<&Entry> =
            tree.entries.iter().filter(|e| e.name.as_ref().is_some_and(|n| kind.field(&n.value).is_none())).collect();
        if !self.known_params(&given, &params, &module_name, &module, tree) {
            return;
        }
        stack.push(module_name.clone());
        for i in 0..names.len() {
            let (instance_name, own) = names.nth(i);
            let captures = own.as_deref().unwrap_or(captures);
            let zip = Zip { index: i, count: names.len(), names: instance.span };
            let here = Place { scope, captures, zip: Some(zip), layer: &scope.layer };
            let Some(inner) = self.bind_params(&given, &params, here, &module_name, &module, &instance_name) else {
                continue;
            };
            let before = self.store.nodes.len();
            self.instance(&module, &inner, stack);
            let own = before..self.store.nodes.len();
            for t in tree.children.iter().filter(|c| self.dec.schema.kind(&c.name.value).is_some_and(|k| k.top_level()))
            {
                if t.annotation.is_none() {
                    self.dec.sink.push(super::overlay::no_verb(t));
                    continue;
                }
                let mut patch_scope = scope.clone();
                patch_scope.names.insert("self".into(), text_bound(&instance_name, instance.span));
                let layer = format!("use {module_name} {instance_name}");
                let (tree, captures, own) = (t.clone(), captures.to_vec(), own.clone());
                self.patches.push(UsePatch { tree, scope: patch_scope, captures, layer, own });
            }
        }
        stack.pop();
    }

    /// The nodes of one instance.
    fn instance(&mut self, module: &Tree, scope: &Scope, stack: &mut Vec<String>) {
        let mut scope = scope.clone();
        lets(&mut self.dec, &module.children, &mut scope);
        for t in &module.children {
            match t.name.value.as_str() {
                "param" | "let" | "version" => {}
                "use" => self.instantiate(t, &scope, &[], stack),
                "language" | "include" | "environment" | "module" | "variable" | "organization" => self.dec.sink.push(
                    Diagnostic::error("E0108", format!("`{}` cannot stand in a module", t.name.value))
                        .label(t.name.span, "not here")
                        .help("it stands at top level of the root"),
                ),
                _ => self.expand(t, &scope, &[]),
            }
        }
    }

    /// `when=$flag`: false leaves the whole `use` out.
    fn wanted(&mut self, tree: &Tree, place: Place) -> bool {
        let Some(e) = entry_of(tree, "when") else { return true };
        let scalar = match &e.value.value {
            Scalar::Text(t) => match self.dec.fill(t, place, e.span) {
                Some(f) => f.whole.unwrap_or(Scalar::Text(f.text)),
                None => return false,
            },
            s => s.clone(),
        };
        match Type::Bool.read(&scalar, None, true) {
            Ok(Draft::Value(crate::model::topology::Value::Bool(b))) => b,
            _ => {
                self.dec.sink.push(
                    Diagnostic::error("E0201", "`when` of `use` takes #true or #false")
                        .label(e.span, "not #true or #false")
                        .help("as in when=$flag, where `flag` is a variable of type bool"),
                );
                false
            }
        }
    }

    fn same_version(&mut self, module: &Tree, tree: &Tree) {
        let of =
            |t: &Tree| entry_of(t, "version").and_then(|e| e.value.value.as_text().map(|v| (v.to_owned(), e.span)));
        if let Some((wanted, span)) = of(tree) {
            let has = of(module).map_or("0.0.0".to_owned(), |(v, _)| v);
            if has != wanted {
                let name = module.args().next().map_or(module.name.span, |e| e.span);
                self.dec.sink.push(
                    Diagnostic::error("E0506", format!("the module has version {has}, not {wanted}"))
                        .label(span, "asked for here")
                        .label(name, format!("this is {has}"))
                        .help("take the other version of the module, or change the number after reading what changed"),
                );
            }
        }
    }

    fn instance_names(&mut self, e: &Entry, place: Place) -> Option<Names> {
        let text = match &e.value.value {
            Scalar::Text(t) => self.dec.fill(t, place, e.span)?.text,
            other => super::text::shown(other),
        };
        let names = match self.dec.pattern(&text, e.span)? {
            Some(p) => Names::Many(p),
            None => Names::One(text),
        };
        let (first, _) = names.nth(0);
        if !super::spelling::is_name(&first) {
            self.dec.sink.push(
                Diagnostic::error("E0201", "the name of an instance is a name")
                    .label(e.span, "not a name")
                    .help("a name holds letters, digits, `-` and `_`, in any script"),
            );
            return None;
        }
        Some(names)
    }

    fn known_params(
        &mut self,
        given: &[&Entry],
        params: &BTreeMap<String, Declared>,
        name: &str,
        module: &Tree,
        tree: &Tree,
    ) -> bool {
        let mut good = true;
        for (i, e) in given.iter().enumerate() {
            let Some(n) = &e.name else { continue };
            if let Some(first) = given[..i].iter().find(|x| x.name.as_ref().is_some_and(|x| x.value == n.value)) {
                self.dec.sink.push(
                    Diagnostic::error("E0104", format!("`{}` is set twice", n.value))
                        .label(e.span, "again here")
                        .label(first.span, "set here"),
                );
                good = false;
            }
            if !params.contains_key(&n.value) {
                let d = Diagnostic::error("E0502", format!("module `{name}` has no parameter `{}`", n.value))
                    .label(n.span, "unknown parameter");
                self.dec.sink.push(match nearest(&n.value, params.keys().map(String::as_str)) {
                    Some(near) => d.help(format!("did you mean `{near}`?")),
                    None if params.is_empty() => d.help("it has no parameters"),
                    None => {
                        d.help(format!("it has {}", params.keys().map(String::as_str).collect::<Vec<_>>().join(", ")))
                    }
                });
                good = false;
            }
        }
        // What is missing may be a consequence of what is misspelt.
        if good {
            for d in params.values().filter(|d| d.default.is_none()) {
                if !given.iter().any(|e| e.name.as_ref().is_some_and(|n| n.value == d.name)) {
                    good = false;
                    self.dec.sink.push(
                        Diagnostic::error("E0503", format!("module `{name}` needs `{}`", d.name))
                            .label(tree.name.span, "not given")
                            .label(d.span, "declared without a default")
                            .help(format!("write {}=.., which is {}", d.name, d.ty.noun())),
                    );
                }
            }
        }
        // Params that could not be read are reported once, at the module.
        let written = module.children.iter().filter(|c| c.name.value == "param").count();
        good && written == params.len()
    }

    fn bind_params(
        &mut self,
        given: &[&Entry],
        params: &BTreeMap<String, Declared>,
        place: Place,
        name: &str,
        module: &Tree,
        instance: &str,
    ) -> Option<Scope> {
        let layer = format!("module {name}");
        let mut scope = Scope { names: BTreeMap::new(), module: Some(name.to_owned()), layer, broken: Vec::new() };
        let at = module.name.span;
        scope.names.insert("self".into(), text_bound(instance, at));
        for d in params.values() {
            let hit = given.iter().find(|e| e.name.as_ref().is_some_and(|n| n.value == d.name));
            let Some(e) = hit.copied().or(d.default.as_ref()) else { continue };
            let annotation = e.annotation.as_ref().map(|a| a.value.as_str());
            let (scalar, derived, secret) = match (&e.value.value, hit) {
                (Scalar::Text(t), Some(_)) => {
                    let filled = self.dec.fill(t, place, e.span)?;
                    let secret = filled.secret && filled.whole.is_some();
                    let mut derived = t.contains('$');
                    let mut scalar = filled.whole.unwrap_or(Scalar::Text(filled.text));
                    if let Scalar::Text(t) = &scalar
                        && (d.ty.expands())
                        && let Some(p) = self.dec.pattern(t, e.span)?
                    {
                        let count = place.zip.map_or(1, |z| z.count);
                        if p.len() != count && p.len() != 1 {
                            self.zip_mismatch(&d.name, p.len(), count, e.span, place);
                            return None;
                        }
                        derived = true;
                        let i = if p.len() == 1 { 0 } else { place.zip.map_or(0, |z| z.index) };
                        scalar = Scalar::Text(p.nth(i).0);
                    }
                    (scalar, derived, secret)
                }
                (other, _) => (other.clone(), false, false),
            };
            let annotation = if secret { Some("secret") } else { annotation };
            let mut layers: Vec<Layer> = Vec::new();
            if let (Scalar::Text(t), Some(_)) = (&e.value.value, hit) {
                let used = super::text::names(t).filter_map(|n| place.scope.names.get(n));
                layers.extend(used.flat_map(|b| b.layers.iter().cloned()));
            }
            let by = if hit.is_some() { "param" } else { "default of param" };
            let by = format!("{by} {} of {name}", d.name);
            let given = Given { scalar, annotation, derived, span: e.span, value: e.value.span, layers, by };
            let bound = bind(&mut self.dec, d, "parameter", given)?;
            if let (Type::Ref(_) | Type::Select(_), Scalar::Text(t)) = (&d.ty, &bound.scalar) {
                let value = DraftValue { draft: Draft::Name(t.into()), span: e.span, raw: false, listed: false };
                self.given.push(GivenRef { ty: d.ty.clone(), value, param: d.name.clone() });
            }
            scope.names.insert(d.name.clone(), bound);
        }
        Some(scope)
    }

    fn zip_mismatch(&mut self, param: &str, values: usize, count: usize, span: Span, place: Place) {
        let text = super::suggest::counted(values, "value");
        let mut d = Diagnostic::error(
            "E0303",
            format!("`{param}` has {text} for {}", super::suggest::counted(count, "instance")),
        )
        .label(span, text);
        if let Some(z) = place.zip {
            d = d.label(z.names, super::suggest::counted(count, "name"));
        }
        self.dec.sink.push(d.help("a range in a parameter is zipped with the names of the instances"));
    }

    /// A module by name: inline, at `from`, or in `modules/<name>/module.kdl`.
    fn module(&mut self, name: &str, from: Option<&str>, asked: Span) -> Option<Tree> {
        if let Some(m) = self.modules.get(name) {
            return m.clone();
        }
        let folder = from.map_or_else(|| format!("modules/{name}"), |f| f.trim_end_matches('/').to_owned());
        let path = format!("{folder}/module.kdl");
        let found = self.loader.module(&path, asked, from.is_none(), self.dec.sink);
        let module = match found {
            Some(trees) => {
                let hit = trees.iter().find(|t| {
                    t.name.value == "module" && t.args().next().and_then(|e| e.value.value.as_text()) == Some(name)
                });
                if hit.is_none() {
                    self.dec.sink.push(
                        Diagnostic::error("E0501", format!("`{path}` holds no `module {name}`"))
                            .label(asked, "used here")
                            .help("the file holds one node: module NAME { .. }"),
                    );
                }
                hit.cloned()
            }
            None => {
                // A file that could not be read or parsed is reported already.
                if from.is_none() && !self.loader.files.exists(&path) {
                    let known = self.modules.keys().map(String::as_str);
                    let d =
                        Diagnostic::error("E0501", format!("no module named `{name}`")).label(asked, "no such module");
                    self.dec.sink.push(match nearest(name, known) {
                        Some(n) => d.help(format!("did you mean `{n}`?")),
                        None => d.help(format!("write `module {name} {{ .. }}`, a file {path}, or from=\"FOLDER\"")),
                    });
                }
                None
            }
        };
        if let Some(m) = &module {
            self.check_module(m);
        }
        self.modules.insert(name.to_owned(), module.clone());
        module
    }

    /// The module node itself: its fields and params.
    pub fn check_module(&mut self, tree: &Tree) {
        let Some(kind) = self.dec.schema.kind("module") else { return };
        let scope = Scope::default();
        let place = Place { scope: &scope, captures: &[], zip: None, layer: "base" };
        let shell = Tree { children: Vec::new(), ..tree.clone() };
        self.dec.nodes(&shell, kind, place);
        let Some(param) = self.dec.schema.kind("param") else { return };
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        for t in tree.children.iter().filter(|c| c.name.value == "param") {
            if let Some(d) = declared(t) {
                d.check_limits(&mut self.dec);
            }
            for n in self.dec.nodes(t, param, place) {
                if let Some(first) = seen.insert(n.name.to_string(), n.span) {
                    self.dec.sink.push(super::decode::duplicate("param", &n.name, first, n.span));
                }
            }
        }
    }
}

fn text_bound(text: &str, span: Span) -> Bound {
    Bound { scalar: Scalar::Text(text.to_owned()), secret: false, span: Some(span), layers: Vec::new() }
}
