//! The schema of the language, read from `schemas/*.kdl`: kinds, their fields, children, types and limits. One source for
//! validation, suggestions, the reference and completion.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::syntax::parse;
use super::types::Type;
use crate::model::Sources;
use crate::model::tree::{Scalar, Tree};

const FILES: [(&str, &str); 6] = [
    ("schemas/1-core.kdl", include_str!("../../schemas/1-core.kdl")),
    ("schemas/2-topology.kdl", include_str!("../../schemas/2-topology.kdl")),
    ("schemas/3-mailflow.kdl", include_str!("../../schemas/3-mailflow.kdl")),
    ("schemas/4-operations.kdl", include_str!("../../schemas/4-operations.kdl")),
    ("schemas/5-migration.kdl", include_str!("../../schemas/5-migration.kdl")),
    ("schemas/6-process.kdl", include_str!("../../schemas/6-process.kdl")),
];

/// A field of a kind.
#[derive(Debug, Clone)]
pub struct FieldDef {
    pub name: String,
    pub ty: Type,
    /// Takes a list.
    pub many: bool,
    pub required: bool,
    /// Stands behind the name without a key.
    pub positional: bool,
    /// `"*"` is kept as a text: all that nobody else names.
    pub rest: bool,
    /// A timer of the process: `time-scale` of an environment shrinks it.
    pub scaled: bool,
    pub default: Option<Scalar>,
    /// Limits of the number, or of the count when `many`.
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub doc: String,
    pub limit: Limit,
}

/// From which to which version something exists, as in `exchange 2010`.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    pub since: Option<(String, String)>,
    pub until: Option<(String, String)>,
}

impl Limit {
    pub fn is_empty(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}

/// A kind of node.
#[derive(Debug, Clone)]
pub struct KindDef {
    pub name: String,
    pub doc: String,
    /// The file of the schema that it stands in, without folder and ending.
    pub area: String,
    /// Never a range.
    pub single: bool,
    /// Several nodes of one name are no mistake.
    pub repeat: bool,
    /// `root` or kinds.
    pub parents: Vec<String>,
    pub name_type: Option<Type>,
    pub name_optional: bool,
    /// Field that belongs to the identity, written `NAME@VALUE`.
    pub key: Option<String>,
    pub fields: Vec<FieldDef>,
    pub children: Vec<String>,
    /// Its children are top-level nodes (module, use, environment).
    pub open: bool,
    pub limit: Limit,
    /// What to use where a version limit forbids it.
    pub instead: Option<String>,
    /// What acts on it: `resource`, `rule`, `gate`, `report`, `forecast`, or `language` for kinds that are part of it.
    pub effects: Vec<String>,
    /// What will act on it and does not yet, with the fields that wait for it; no fields: the whole kind.
    pub waits: Vec<(String, Vec<String>)>,
}

impl KindDef {
    pub fn field(&self, name: &str) -> Option<&FieldDef> {
        self.fields.iter().find(|f| f.name == name)
    }

    pub fn has_child(&self, kind: &str) -> bool {
        self.children.iter().any(|c| c == kind)
    }

    /// What a field waits for before it has an effect; `None` when something acts on it.
    pub fn waiting(&self, field: &str) -> Option<&str> {
        let of = |(_, fields): &&(String, Vec<String>)| fields.is_empty() || fields.iter().any(|f| f == field);
        self.waits.iter().find(of).map(|(why, _)| why.as_str())
    }

    pub fn top_level(&self) -> bool {
        self.parents.iter().any(|p| p == "root")
    }

    /// Fields and child kinds, for suggestions.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|f| f.name.as_str()).chain(self.children.iter().map(String::as_str))
    }
}

/// Version limit of one value of a field, as of role `um`.
#[derive(Debug, Clone)]
pub struct ValueLimit {
    pub kind: String,
    pub field: String,
    pub value: String,
    pub limit: Limit,
}

#[derive(Debug, Default)]
pub struct Schema {
    /// In the order of the files.
    pub kinds: Vec<KindDef>,
    index: BTreeMap<String, usize>,
    pub limits: Vec<ValueLimit>,
    /// Names of fields that hold secrets, in any kind.
    pub secret_fields: BTreeSet<String>,
    /// What is wrong with the schema itself; a test holds it empty.
    pub problems: Vec<String>,
}

impl Schema {
    pub fn kind(&self, name: &str) -> Option<&KindDef> {
        self.index.get(name).map(|i| &self.kinds[*i])
    }

    /// True for names that no other kind of the topology could have: `nothing` of that name exists.
    pub fn is_kind(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }
}

/// The schema that is built into the program.
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| read(&FILES))
}

fn read(files: &[(&str, &str)]) -> Schema {
    let mut s = Schema::default();
    for (name, text) in files {
        let mut sources = Sources::default();
        let id = sources.add(*name, *text);
        match parse(&sources, id) {
            Ok(trees) => {
                let before = s.kinds.len();
                trees.iter().for_each(|t| s.add(t));
                let area = name.trim_start_matches("schemas/").trim_end_matches(".kdl");
                s.kinds[before..].iter_mut().for_each(|k| k.area = area.to_owned());
            }
            Err(errors) => s.problems.extend(errors.iter().map(|d| format!("{name}: {}", d.message))),
        }
    }
    s.check();
    s
}

impl Schema {
    fn add(&mut self, t: &Tree) {
        let first = arg(t, 0).unwrap_or_default();
        match t.name.value.as_str() {
            "kind" => {
                let mut kind = KindDef {
                    name: first.clone(),
                    doc: text(t, "doc").unwrap_or_default(),
                    area: String::new(),
                    single: flag(t, "single"),
                    repeat: flag(t, "repeat"),
                    parents: Vec::new(),
                    name_type: None,
                    name_optional: false,
                    key: None,
                    fields: Vec::new(),
                    children: Vec::new(),
                    open: false,
                    limit: self.limit(t),
                    instead: text(t, "instead"),
                    effects: Vec::new(),
                    waits: Vec::new(),
                };
                for c in &t.children {
                    self.line(&mut kind, c);
                }
                if self.index.insert(first.clone(), self.kinds.len()).is_some() {
                    self.problems.push(format!("kind {first} twice"));
                }
                self.kinds.push(kind);
            }
            "limit" => match first.split_once('.') {
                Some((kind, field)) => {
                    let limit = self.limit(t);
                    self.limits.push(ValueLimit {
                        kind: kind.into(),
                        field: field.into(),
                        value: arg(t, 1).unwrap_or_default(),
                        limit,
                    });
                }
                None => self.problems.push(format!("limit {first} is not KIND.FIELD")),
            },
            other => self.problems.push(format!("unknown schema node {other}")),
        }
    }

    fn line(&mut self, kind: &mut KindDef, t: &Tree) {
        let words = || t.args().filter_map(|e| e.value.value.as_text().map(str::to_owned));
        match t.name.value.as_str() {
            "in" => kind.parents = words().collect(),
            "child" => kind.children.extend(words()),
            "key" => kind.key = arg(t, 0),
            "effect" => kind.effects.extend(words()),
            "waits" => kind.waits.push((arg(t, 0).unwrap_or_default(), words().skip(1).collect())),
            "open" => kind.open = true,
            "name" => {
                kind.name_type = self.ty(&kind.name, t, 0);
                kind.name_optional = flag(t, "optional");
            }
            "field" => {
                let name = arg(t, 0).unwrap_or_default();
                let Some(ty) = self.ty(&kind.name, t, 1) else { return };
                if ty == Type::Secret {
                    self.secret_fields.insert(name.clone());
                }
                if kind.field(&name).is_some() {
                    self.problems.push(format!("field {}.{name} twice", kind.name));
                }
                kind.fields.push(FieldDef {
                    name,
                    ty,
                    many: flag(t, "many"),
                    required: flag(t, "required"),
                    positional: flag(t, "positional"),
                    rest: flag(t, "rest"),
                    scaled: flag(t, "scaled"),
                    default: t.prop("default").map(|e| e.value.value.clone()),
                    min: int(t, "min"),
                    max: int(t, "max"),
                    doc: text(t, "doc").unwrap_or_default(),
                    limit: self.limit(t),
                });
            }
            other => self.problems.push(format!("unknown word {other} in kind {}", kind.name)),
        }
    }

    fn ty(&mut self, kind: &str, t: &Tree, at: usize) -> Option<Type> {
        let word = arg(t, at).unwrap_or_default();
        let ty = Type::parse(&word);
        if ty.is_none() {
            self.problems.push(format!("{kind}: no type `{word}`"));
        }
        ty
    }

    fn limit(&mut self, t: &Tree) -> Limit {
        let mut side = |name: &str| {
            let words = text(t, name)?;
            let pair = words.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
            if pair.is_none() {
                self.problems.push(format!("`{words}` is not PRODUCT VERSION"));
            }
            pair
        };
        Limit { since: side("since"), until: side("until") }
    }

    /// The schema against itself: every name that it uses exists, parents and children agree, defaults have their type.
    fn check(&mut self) {
        let mut problems = Vec::new();
        for k in &self.kinds {
            for f in &k.fields {
                for target in f.ty.kinds().unwrap_or_default() {
                    if !self.index.contains_key(target) && target != "service" {
                        problems.push(format!("{}.{} refers to unknown kind {target}", k.name, f.name));
                    }
                }
                if let Some(d) = &f.default
                    && f.ty.read(d, None, false).is_err()
                {
                    problems.push(format!("{}.{}: its default is no {}", k.name, f.name, f.ty.noun()));
                }
            }
            for c in &k.children {
                match self.kind(c) {
                    Some(child) if child.parents.contains(&k.name) => {}
                    Some(_) => problems.push(format!("{c} does not name its parent {}", k.name)),
                    None => problems.push(format!("{} has unknown child {c}", k.name)),
                }
                if k.field(c).is_some_and(|f| f.ty.kinds().is_none_or(|kinds| !kinds.contains(c))) {
                    problems.push(format!("{}.{c} is field and child", k.name));
                }
            }
            for p in k.parents.iter().filter(|p| *p != "root") {
                if !self.kind(p).is_some_and(|parent| parent.has_child(&k.name)) {
                    problems.push(format!("{} is in {p}, which does not have it", k.name));
                }
            }
            if k.key.as_ref().is_some_and(|key| k.field(key).is_none()) {
                problems.push(format!("the key of {} is no field", k.name));
            }
        }
        for l in &self.limits {
            if self.kind(&l.kind).and_then(|k| k.field(&l.field)).is_none() {
                problems.push(format!("limit of unknown {}.{}", l.kind, l.field));
            }
        }
        self.problems.extend(problems);
    }
}

fn arg(t: &Tree, at: usize) -> Option<String> {
    t.args().nth(at)?.value.value.as_text().map(str::to_owned)
}

fn text(t: &Tree, name: &str) -> Option<String> {
    t.prop(name)?.value.value.as_text().map(str::to_owned)
}

fn flag(t: &Tree, name: &str) -> bool {
    t.prop(name).is_some_and(|e| e.value.value == Scalar::Bool(true))
}

fn int(t: &Tree, name: &str) -> Option<i64> {
    match t.prop(name)?.value.value {
        Scalar::Int(i) => i64::try_from(i).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_agrees_with_itself() {
        assert_eq!(schema().problems, Vec::<String>::new());
        assert!(schema().kinds.len() > 100, "{}", schema().kinds.len());
    }

    #[test]
    fn mistakes_in_a_schema_are_found() {
        let s = read(&[(
            "t",
            "kind a { in root b; name nme; field x \"ref(zzz)\"; field y int default=x; child c; key q; }\nlimit a.z v since=x",
        )]);
        assert!(s.problems.len() >= 6, "{:?}", s.problems);
    }
}
