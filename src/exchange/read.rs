//! The dialect's KDL, read strictly: every mistake has its place, and one run shows them all.

use std::collections::{BTreeMap, BTreeSet};

use super::dialect::{Cmdlet, Dialect, Kept, Object, Property, Shape};
use super::version::Releases;
use crate::model::reader::{one_name, only_props, text_prop, texts, twice, unknown};
use crate::model::tree::{Scalar, Tree};
use crate::model::{Diagnostic, Diagnostics, Span, Spanned};

const OBJECT: &[&str] = &["get", "new", "set", "remove", "on", "new-on", "set-on", "remove-on", "ask", "of", "each"];
const BODY: &[&str] = &["key", "by", "after", "kept", "property", "leave"];
const PROPERTY: &[&str] = &[
    "type", "list", "ordered", "on", "new", "once", "later", "required", "sets", "apart", "always", "additive",
    "blind", "unread", "pair", "read", "ignore",
];

/// Reads the nodes of all files as one dialect. What is wrong is left out.
pub fn read<'a>(nodes: impl IntoIterator<Item = &'a Tree>, diagnostics: &mut Diagnostics) -> Dialect {
    let mut dialect = Dialect::default();
    for node in nodes {
        if node.name.value != "object" {
            diagnostics.push(unknown("node of the dialect", &node.name.value, node.name.span, &["object"]));
            continue;
        }
        let Some(object) = object(node, diagnostics) else { continue };
        match dialect.objects.get(&object.name.value) {
            Some(first) => diagnostics.push(twice("object", &object.name, first.name.span)),
            None => {
                dialect.objects.insert(object.name.value.clone(), object);
            }
        }
    }
    let known: Vec<&str> = dialect.objects.keys().map(String::as_str).collect();
    for object in dialect.objects.values() {
        for other in object.after.iter().chain(object.ask.iter().map(|(_, of)| of)) {
            if !dialect.objects.contains_key(&other.value) {
                diagnostics.push(unknown("object", &other.value, other.span, &known));
            }
        }
    }
    if let Some(circle) = dialect.circle() {
        let object = &dialect.objects[circle[0]];
        let span = object.after.iter().find(|a| a.value == circle[1]).map_or(object.name.span, |a| a.span);
        diagnostics.push(
            Diagnostic::error("E1003", format!("objects wait for each other: {}", circle.join(" after ")))
                .label(span, "closes the circle")
                .help("take one `after` away"),
        );
    }
    dialect
}

fn object(node: &Tree, diagnostics: &mut Diagnostics) -> Option<Object> {
    let name = one_name(node, diagnostics)?;
    only_props(node, OBJECT, diagnostics);
    let on = releases(node, "on", diagnostics).unwrap_or(Releases::ALL);
    let mut cmdlet = |word: &str, on_word: &str| -> Option<Cmdlet> {
        let name = text_prop(node, word, diagnostics)?;
        if name.value.split_once('-').is_none_or(|(verb, noun)| verb.is_empty() || noun.is_empty()) {
            diagnostics.push(
                Diagnostic::error("E1003", format!("`{word}` takes a cmdlet"))
                    .label(name.span, "not VERB-NOUN")
                    .help("write get=Get-SendConnector"),
            );
        }
        let on = releases(node, on_word, diagnostics).unwrap_or(on);
        Some(Cmdlet { name: name.value, on })
    };
    let (new, set, remove) = (cmdlet("new", "new-on"), cmdlet("set", "set-on"), cmdlet("remove", "remove-on"));
    let Some(get) = cmdlet("get", "on") else {
        diagnostics.push(
            Diagnostic::error("E1002", format!("object `{}` cannot be seen", name.value))
                .label(name.span, "get=.. is missing")
                .help("name the cmdlet that lists what is there"),
        );
        return None;
    };
    let ask = match (text_prop(node, "ask", diagnostics), text_prop(node, "of", diagnostics)) {
        (Some(ask), Some(of)) => Some((ask.value, of)),
        (None, None) => None,
        (one, other) => {
            let span = one.or(other).map_or(name.span, |t| t.span);
            diagnostics.push(
                Diagnostic::error("E1002", "`ask` and `of` stand together")
                    .label(span, "the other one is missing")
                    .help("write ask=Server of=server: `get` is called with -Server for each server"),
            );
            None
        }
    };
    let mut object = Object {
        name,
        get,
        new,
        set,
        remove,
        key: Vec::new(),
        hosts: BTreeSet::new(),
        references: BTreeSet::new(),
        key_read: BTreeMap::new(),
        assigned: Vec::new(),
        by: Vec::new(),
        after: Vec::new(),
        ask,
        each: text_prop(node, "each", diagnostics).map(|t| t.value),
        kept: Vec::new(),
        properties: Vec::new(),
        left: BTreeMap::new(),
    };
    for child in &node.children {
        body(child, &mut object, diagnostics);
    }
    if object.by.is_empty() && !object.key.is_empty() {
        object.by.push("Identity".to_owned());
    }
    for by in object.by.iter().filter(|b| *b != "Identity" && !object.key.contains(b)) {
        diagnostics.push(
            Diagnostic::error("E1002", format!("nothing gives `{by}` a value"))
                .label(object.name.span, "`by` names it, `key` does not")
                .help("`by` takes Identity and words of the key"),
        );
    }
    Some(object)
}

fn body(node: &Tree, object: &mut Object, diagnostics: &mut Diagnostics) {
    match node.name.value.as_str() {
        "key" => {
            only_props(node, &["assigned", "host", "reference", "read"], diagnostics);
            object.key.extend(texts(node).into_iter().map(|t| t.value));
            object.assigned.extend(text_prop(node, "assigned", diagnostics).map(|t| t.value));
            named(node, object, diagnostics);
        }
        "by" => object.by.extend(texts(node).into_iter().map(|t| t.value)),
        "after" => object.after.extend(texts(node)),
        "kept" => object.kept.extend(kept(node, diagnostics)),
        "leave" => {
            only_props(node, &["because"], diagnostics);
            let Some(because) = because(node, diagnostics) else { return };
            for name in texts(node) {
                if object.left.insert(name.value.clone(), because.clone()).is_some() {
                    diagnostics.push(twice("parameter", &name, name.span));
                }
            }
        }
        "property" => {
            let Some(property) = property(node, object, diagnostics) else { return };
            match object.property(&property.name.value) {
                Some(first) => diagnostics.push(twice("property", &property.name, first.name.span)),
                None => object.properties.push(property),
            }
        }
        other => diagnostics.push(unknown("word of `object`", other, node.name.span, BODY)),
    }
}

/// What the words of a key are.
fn named(node: &Tree, object: &mut Object, diagnostics: &mut Diagnostics) {
    let mut words = |word: &str| -> Vec<(String, Span)> {
        let prop = text_prop(node, word, diagnostics);
        prop.map_or_else(Vec::new, |t| t.value.split_whitespace().map(|w| (w.to_owned(), t.span)).collect())
    };
    let (hosts, references, read) = (words("host"), words("reference"), words("read"));
    let read: Vec<_> =
        read.into_iter().map(|(w, s)| (w.split_once('=').map(|(k, r)| (k.to_owned(), r.to_owned())), s)).collect();
    let none = String::new();
    let spoken = hosts.iter().chain(&references).map(|(w, s)| (w, s));
    for (word, span) in spoken.chain(read.iter().map(|(r, s)| (r.as_ref().map_or(&none, |(k, _)| k), s))) {
        if !object.key.contains(word) {
            diagnostics.push(
                Diagnostic::error("E1003", format!("`{word}` is no word of the key"))
                    .label(*span, "names another")
                    .help("write host=Server, reference=\"Identity Member\" or read=\"Member=Name\""),
            );
        }
    }
    object.hosts.extend(hosts.into_iter().map(|(w, _)| w));
    object.references.extend(references.into_iter().map(|(w, _)| w));
    object.key_read.extend(read.into_iter().filter_map(|(r, _)| r));
}

fn because(node: &Tree, diagnostics: &mut Diagnostics) -> Option<String> {
    let because = text_prop(node, "because", diagnostics);
    if because.is_none() {
        diagnostics.push(
            Diagnostic::error("E1002", format!("`{}` has no reason", node.name.value))
                .label(node.name.span, "because=\"..\" is missing"),
        );
    }
    because.map(|b| b.value)
}

fn kept(node: &Tree, diagnostics: &mut Diagnostics) -> Option<Kept> {
    let because = because(node, diagnostics)?;
    let mut tests =
        node.entries.iter().filter_map(|e| Some((e.name.as_ref()?, e))).filter(|(n, _)| n.value != "because");
    let (Some((property, entry)), None) = (tests.next(), tests.next()) else {
        diagnostics.push(
            Diagnostic::error("E1002", "`kept` names one property and its value")
                .label(node.name.span, "which objects?")
                .help("write kept Default=#true because=\"..\""),
        );
        return None;
    };
    let value = match &entry.value.value {
        Scalar::Text(t) | Scalar::Raw(t) => t.clone(),
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(i) => i.to_string(),
        _ => {
            diagnostics.push(
                Diagnostic::error("E1003", "`kept` compares with text, a whole number or a bool")
                    .label(entry.value.span, "neither"),
            );
            return None;
        }
    };
    Some(Kept { property: property.value.clone(), value, because })
}

fn property(node: &Tree, object: &Object, diagnostics: &mut Diagnostics) -> Option<Property> {
    let name = one_name(node, diagnostics)?;
    only_props(node, PROPERTY, diagnostics);
    let Some(word) = text_prop(node, "type", diagnostics) else {
        diagnostics.push(
            Diagnostic::error("E1002", format!("property `{}` has no type", name.value))
                .label(name.span, "type=.. is missing"),
        );
        return None;
    };
    let Some((_, shape)) = Shape::ALL.into_iter().find(|(w, _)| *w == word.value) else {
        diagnostics.push(unknown("type", &word.value, word.span, &Shape::ALL.map(|(w, _)| w)));
        return None;
    };
    let on = releases(node, "on", diagnostics);
    let given = releases(node, "new", diagnostics);
    let mut flag = |word: &str| flag(node, word, diagnostics);
    let (once, later) = (flag("once"), flag("later"));
    let mut property = Property {
        shape,
        list: flag("list"),
        ordered: flag("ordered"),
        set: None,
        new: None,
        required: flag("required"),
        sets: BTreeSet::new(),
        apart: None,
        always: flag("always"),
        additive: flag("additive"),
        blind: flag("blind"),
        unread: flag("unread") || shape.unreadable(),
        pair: flag("pair"),
        read: name.value.clone(),
        ignore: Vec::new(),
        name,
    };
    let split = |t: Spanned<String>| t.value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    property.sets = text_prop(node, "sets", diagnostics).map(split).unwrap_or_default().into_iter().collect();
    property.ignore = text_prop(node, "ignore", diagnostics).map(split).unwrap_or_default();
    property.apart = text_prop(node, "apart", diagnostics).map(|t| t.value);
    if let Some(read) = text_prop(node, "read", diagnostics) {
        property.read = read.value;
    }
    let of = |cmdlet: &Option<Cmdlet>, on: Option<Releases>| {
        let has = cmdlet.as_ref()?.on;
        on.map_or(Some(has), |on| on.and(has))
    };
    property.set = if once { None } else { of(&object.set, on) };
    property.new = if later { None } else { of(&object.new, given.or(on)) };
    let wrong = match () {
        () if once && later => Some("`once` and `later` exclude each other"),
        () if property.set.is_none() && property.new.is_none() => {
            Some("no cmdlet of the object takes it in these releases")
        }
        () if property.required && property.new.is_none() => Some("`required` is said of the making"),
        () if property.ordered && !property.list => Some("only a list has an order"),
        () => None,
    };
    if let Some(wrong) = wrong {
        diagnostics.push(
            Diagnostic::error("E1003", format!("property `{}`: {wrong}", property.name.value))
                .label(node.span, "contradicts itself or its object"),
        );
        return None;
    }
    Some(property)
}

fn flag(node: &Tree, word: &str, diagnostics: &mut Diagnostics) -> bool {
    match node.prop(word).map(|e| (&e.value.value, e.value.span)) {
        None => false,
        Some((Scalar::Bool(b), _)) => *b,
        Some((_, span)) => {
            diagnostics.push(Diagnostic::error("E1003", format!("`{word}` is #true or #false")).label(span, "neither"));
            false
        }
    }
}

fn releases(node: &Tree, word: &str, diagnostics: &mut Diagnostics) -> Option<Releases> {
    let text = text_prop(node, word, diagnostics)?;
    let parsed = Releases::parse(&text.value);
    if parsed.is_none() {
        diagnostics.push(no_releases(word, &text.value, text.span));
    }
    parsed
}

fn no_releases(word: &str, text: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E1003", format!("`{word}` takes releases of Exchange, not `{text}`"))
        .label(span, "not a range of 2010, 2013, 2016, 2019, SE")
        .help("write \"2013..\", \"..2016\", \"2013..2016\" or \"2010\"")
}
