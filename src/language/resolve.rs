//! References and selectors: names to identities, with did-you-mean.

use std::collections::{BTreeMap, HashMap};

use smol_str::{SmolStr, format_smolstr};

use super::draft::{DraftNode, DraftValue, Store};
use super::overlay::glob;
use super::schema::{FieldDef, KindDef, Schema};
use super::sink::Sink;
use super::suggest::{either, nearest};
use super::types::{Draft, Type, article};
use crate::model::topology::{NodeId, Value};
use crate::model::{Diagnostic, Span};

/// All identities of a topology, children included.
#[derive(Default)]
pub(super) struct Index {
    ids: BTreeMap<&'static str, BTreeMap<SmolStr, Span>>,
    /// Names without their key, for kinds that have one.
    plain: HashMap<(&'static str, SmolStr), Vec<SmolStr>>,
    roles: HashMap<SmolStr, Vec<SmolStr>>,
    labels: HashMap<SmolStr, Vec<SmolStr>>,
}

/// Where a reference stands.
pub(super) struct Asked<'a> {
    pub field: &'a str,
    pub ty: &'a Type,
    pub many: bool,
    /// `"*"` stays a text.
    pub rest: bool,
    /// For `roles mailbox baselines mbx`: the kind, and whether this is a later word of a line.
    pub kind: Option<&'static KindDef>,
    pub later: bool,
}

impl<'a> Asked<'a> {
    pub fn of(def: &'a FieldDef, kind: &'static KindDef, at: usize) -> Self {
        Self { field: &def.name, ty: &def.ty, many: def.many, rest: def.rest, kind: Some(kind), later: at > 0 }
    }
}

/// The names of children: `parent.child`, further ones of one name with `#2`.
pub(super) fn child_ids(parent: &str, children: &[DraftNode]) -> Vec<SmolStr> {
    let mut seen: HashMap<(&str, SmolStr), usize> = HashMap::new();
    children
        .iter()
        .map(|c| {
            let id = c.id();
            let n = seen.entry((&c.kind.name, id.clone())).or_insert(0);
            *n += 1;
            if *n == 1 { format_smolstr!("{parent}.{id}") } else { format_smolstr!("{parent}.{id}#{n}") }
        })
        .collect()
}

impl Index {
    pub fn new(store: &Store) -> Self {
        let mut index = Self::default();
        for (id, at) in store.living() {
            if let Some(node) = store.get(at) {
                index.add(&node.kind.name, id, node);
            }
        }
        for (role, servers) in &store.former_roles {
            let alive = servers.iter().filter(|s| index.ids.get("server").is_some_and(|m| m.contains_key(*s)));
            let list = index.roles.entry(role.clone()).or_default();
            list.extend(alive.cloned());
            list.sort();
            list.dedup();
        }
        index
    }

    fn add(&mut self, kind: &'static str, id: &SmolStr, node: &DraftNode) {
        self.ids.entry(kind).or_default().insert(id.clone(), node.span);
        if node.kind.key.is_some()
            && let Some((plain, _)) = id.rsplit_once('@')
        {
            self.plain.entry((kind, plain.into())).or_default().push(id.clone());
        }
        if kind == "server" {
            for (field, map) in [("roles", &mut self.roles), ("labels", &mut self.labels)] {
                for v in node.fields.get(field).iter().flat_map(|f| &f.values) {
                    if let Draft::Value(Value::Text(t)) = &v.draft {
                        map.entry(t.clone()).or_default().push(id.clone());
                    }
                }
            }
        }
        for (c, child) in node.children.iter().zip(child_ids(id, &node.children)) {
            self.add(&c.kind.name, &child, c);
        }
    }

    /// Where a node is defined, found by its full or its plain name.
    pub fn place(&self, id: &NodeId) -> Option<Span> {
        let hit = self.exact(&id.kind, &id.name);
        self.ids.get(id.kind.as_str())?.get(&hit.first()?.name).copied()
    }

    pub fn names(&self, kind: &str) -> impl Iterator<Item = &SmolStr> {
        self.ids.get(kind).into_iter().flat_map(|m| m.keys())
    }

    fn exact(&self, kind: &str, name: &str) -> Vec<NodeId> {
        let Some((kind, map)) = self.ids.get_key_value(kind) else { return Vec::new() };
        if map.contains_key(name) {
            return vec![NodeId::new(*kind, name)];
        }
        let mut hits: Vec<NodeId> = self
            .plain
            .get(&(*kind, name.into()))
            .into_iter()
            .flatten()
            .map(|n| NodeId::new(*kind, n.clone()))
            .collect();
        hits.sort();
        hits
    }
}

pub(super) struct Resolver<'a> {
    pub sink: &'a mut Sink,
    pub store: &'a Store,
    pub index: &'a Index,
    pub schema: &'static Schema,
}

impl Resolver<'_> {
    /// What a name stands for. `None`: reported, or a consequence of what is reported.
    pub fn resolve(&mut self, a: &Asked, text: &str, v: &DraftValue) -> Option<Vec<Value>> {
        let kinds = a.ty.kinds().unwrap_or_default();
        let select = matches!(a.ty, Type::Select(_));
        if select && text == "*" {
            return Some(if a.rest { vec![Value::Text("*".into())] } else { self.all(kinds, |_| true) });
        }
        if select && text == "service" && kinds.iter().any(|k| k == "service") {
            return Some(vec![Value::Text("service".into())]);
        }
        let (wanted, name, explicit) = match text.split_once(':') {
            Some((word @ ("role" | "label"), what)) if select && kinds.iter().any(|k| k == "server") => {
                return self.by_word(word, what, v.span);
            }
            Some((kind, rest)) if self.schema.is_kind(kind) => {
                if !kinds.iter().any(|k| k == kind) {
                    self.wrong_kind(a, kind, rest, text, v.span);
                    return None;
                }
                (vec![kind.to_owned()], rest, true)
            }
            _ => (kinds.to_vec(), text, false),
        };
        if select && name.contains(['*', '?']) {
            let hits = self.all(&wanted, |n| glob(name, n));
            if hits.is_empty()
                && !self.store.dropped.keys().any(|(k, n)| wanted.iter().any(|w| w == k) && glob(name, n))
            {
                self.sink.push(
                    Diagnostic::error("E0308", format!("`{text}` matches no {}", either(&wanted)))
                        .label(v.span, "matches nothing")
                        .help("`*` stands for any text in a name"),
                );
                return None;
            }
            return Some(hits);
        }
        let hits: Vec<Vec<NodeId>> =
            wanted.iter().map(|k| self.index.exact(k, name)).filter(|h| !h.is_empty()).collect();
        match hits.as_slice() {
            [one] if one.len() == 1 || a.many => Some(one.iter().cloned().map(Value::Ref).collect()),
            [one] => {
                let names: Vec<String> = one.iter().map(|id| format!("`{}`", id.name)).collect();
                self.sink.push(
                    Diagnostic::error("E0305", format!("`{name}` could be {}", either(&names)))
                        .label(v.span, "which one?")
                        .help(format!("write one of them in full: {}", one.first().map_or("", |id| &id.name))),
                );
                None
            }
            [] if v.listed && self.dropped(&wanted, name).is_some() => Some(Vec::new()),
            [] => {
                self.unknown(a, &wanted, name, text, v, explicit);
                None
            }
            several => {
                let kinds: Vec<&str> = several.iter().flatten().map(|id| id.kind.as_str()).collect();
                let kinds: Vec<String> = kinds.iter().map(|k| article(k)).collect();
                let first = several.first().and_then(|h| h.first()).map_or("", |id| id.kind.as_str());
                self.sink.push(
                    Diagnostic::error("E0305", format!("`{name}` is {}", kinds.join(" and ")))
                        .label(v.span, "which one?")
                        .help(format!("name the kind too, as in {first}:{name}")),
                );
                None
            }
        }
    }

    fn all(&self, kinds: &[String], keep: impl Fn(&str) -> bool) -> Vec<Value> {
        let hit = |k: &String| {
            let kind = SmolStr::from(k);
            self.index
                .names(k)
                .filter(|n| keep(n))
                .map(move |n| Value::Ref(NodeId::new(kind.clone(), n.clone())))
                .collect::<Vec<_>>()
        };
        kinds.iter().flat_map(hit).collect()
    }

    fn by_word(&mut self, word: &str, what: &str, span: Span) -> Option<Vec<Value>> {
        let map = if word == "role" { &self.index.roles } else { &self.index.labels };
        if let Some(list) = map.get(what) {
            let mut list = list.clone();
            list.sort();
            return Some(list.into_iter().map(|n| Value::Ref(NodeId::new("server", n))).collect());
        }
        // Overlays may have taken the last one away.
        if self.store.dropped.keys().any(|(k, _)| *k == "server") {
            return Some(Vec::new());
        }
        let d = Diagnostic::error("E0308", format!("no server has the {word} `{what}`")).label(span, "matches nothing");
        self.sink.push(match nearest(what, map.keys().map(SmolStr::as_str)) {
            Some(n) => d.help(format!("did you mean `{word}:{n}`?")),
            None if map.is_empty() => d.help(format!("no server has a {word} at all")),
            None => {
                let known: Vec<&str> = map.keys().take(20).map(SmolStr::as_str).collect();
                d.help(format!("there are {}", known.join(", ")))
            }
        });
        None
    }

    /// A node of one of the kinds that an overlay took away, and where.
    fn dropped(&self, kinds: &[String], name: &str) -> Option<(&'static str, Span)> {
        kinds.iter().find_map(|k| {
            let kind = self.schema.kind(k)?.name.as_str();
            Some((kind, *self.store.dropped.get(&(kind, name.into()))?))
        })
    }

    fn unknown(&mut self, a: &Asked, kinds: &[String], name: &str, text: &str, v: &DraftValue, explicit: bool) {
        if let Some((kind, by)) = self.dropped(kinds, name) {
            self.sink.push(
                Diagnostic::error(
                    "E0309",
                    format!("{kind} `{name}` is taken away by an overlay, but still named here"),
                )
                .label(v.span, "refers to it")
                .label(by, "taken away here")
                .help(
                    "change the reference in the same overlay; ranges in lists, globs and roles shrink by themselves",
                ),
            );
            return;
        }
        if self.store.ghosts.contains(name) || self.sink.knows("E0301", v.span) || self.sink.knows("E0302", v.span) {
            return;
        }
        let bare = v.span.len == text.len();
        if a.later && bare && a.kind.is_some_and(|k| k.words().any(|w| w == text)) {
            return self.sink.push(super::decode::swallowed(a.field, text, v.span));
        }
        if !explicit {
            let other = self
                .schema
                .kinds
                .iter()
                // The node that asks is no answer: `mail-auth acme.exmaple` is not about itself.
                .find(|k| {
                    !kinds.contains(&k.name)
                        && !self.index.exact(&k.name, name).is_empty()
                        && self.index.ids.get(k.name.as_str()).and_then(|m| m.get(name)) != Some(&v.span)
                });
            if let Some(k) = other {
                return self.wrong_kind(a, &k.name, name, text, v.span);
            }
        }
        let mut d =
            Diagnostic::error("E0301", format!("no {} named `{name}`", either(kinds))).label(v.span, "no such name");
        let candidates = kinds.iter().flat_map(|k| self.index.names(k).map(SmolStr::as_str));
        let near = nearest(name, candidates).map(str::to_owned);
        d = match near {
            Some(n) => {
                let place = kinds.iter().find_map(|k| self.index.ids.get(k.as_str())?.get(n.as_str()).copied());
                if let Some(span) = place {
                    d = d.label(span, format!("`{n}` is defined here"));
                }
                d.help(format!("did you mean `{n}`?"))
            }
            None => match kinds.first() {
                _ if self.habit(a, kinds, name, explicit).is_some() => {
                    d.help(self.habit(a, kinds, name, explicit).unwrap_or_default())
                }
                Some(k)
                    if kinds.len() == 1
                        && super::spelling::is_name(name)
                        && self.schema.kind(k).is_some_and(KindDef::top_level) =>
                {
                    let inside = self.schema.kind(k).and_then(|k| k.parents.iter().find(|p| *p != "root"));
                    d.help(match inside.filter(|_| matches!(k.as_str(), "gate" | "evidence")) {
                        Some(p) => {
                            format!("declare it: {k} {name} ..; one inside a {p} is named {}.{name}", p.to_uppercase())
                        }
                        None => format!("declare it: {k} {name} .."),
                    })
                }
                _ => d.help(format!("it names {}", article(&either(kinds)))),
            },
        };
        self.sink.push(d);
    }

    /// What was meant by a name that is none.
    fn habit(&self, a: &Asked, kinds: &[String], name: &str, explicit: bool) -> Option<String> {
        if let Some(n) = name.strip_prefix("var.").or_else(|| name.strip_prefix("local.")) {
            return Some(format!("a variable is written ${n}"));
        }
        if name.contains(['*', '?']) {
            return Some(format!("a pattern cannot stand here: name {}", article(&either(kinds))));
        }
        if name.contains('[') || name.contains("..") {
            return Some("a range is written [1:9], [01:62] or [red,dub]".into());
        }
        if explicit {
            let other = a.ty.kinds().unwrap_or_default().iter().find(|k| !self.index.exact(k, name).is_empty())?;
            return Some(format!("`{name}` is {}: write {other}:{name}", article(other)));
        }
        if let Some((word, rest)) = name.split_once(':') {
            let kind = nearest(word, kinds.iter().map(String::as_str).chain(["role", "label"]))?;
            return Some(format!("did you mean `{kind}:{rest}`?"));
        }
        // A child is named with its parent: `mailbox.storport`.
        let tail = format!(".{name}");
        let child = kinds.iter().flat_map(|k| self.index.names(k)).find(|n| n.ends_with(&tail))?;
        Some(format!("did you mean `{child}`?"))
    }

    fn wrong_kind(&mut self, a: &Asked, found: &str, name: &str, text: &str, span: Span) {
        let kinds = a.ty.kinds().unwrap_or_default();
        let wants = if matches!(a.ty, Type::Select(_)) { "can name" } else { "wants" };
        let mut d = Diagnostic::error(
            "E0302",
            format!("`{}` {wants} {}, but `{name}` is {}", a.field, article(&either(kinds)), article(found)),
        )
        .label(span, "wrong kind of node");
        if let Some(at) = self.index.ids.get(found).and_then(|m| m.get(name)) {
            d = d.label(*at, format!("`{name}` is defined here"));
        }
        // `witness` wants a witness: say how one is made of what was named.
        let bridge = kinds.iter().find_map(|k| {
            let kind = self.schema.kind(k)?;
            let fits = |f: &&FieldDef| matches!(&f.ty, Type::Ref(t) if t.iter().any(|t| t == found));
            let on = |f: &&FieldDef| f.name == "host" && !f.many && fits(f);
            let field = kind.fields.iter().find(|f| f.required && fits(f)).or_else(|| kind.fields.iter().find(on))?;
            (!field.many).then(|| format!("declare `{k} NAME {}={name}` and refer to that name", field.name))
        });
        d = match bridge {
            Some(b) => d.help(b),
            None => d.help(format!("`{text}` cannot stand here; name {}", article(&either(kinds)))),
        };
        self.sink.push(d);
    }
}
