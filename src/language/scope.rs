//! Variables and lets of the root: default, then `set` along the environments, then `--set`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Options;
use super::decode::{Decoder, Place};
use super::suggest::nearest;
use super::text::{Bound, Missing, Scope, fill};
use super::types::{Draft, Type};
use crate::model::topology::{Layer, Value};
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, Span};

/// A declared variable or parameter.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub name: String,
    pub ty: Type,
    pub span: Span,
    pub default: Option<Entry>,
    pub min: Option<Entry>,
    pub max: Option<Entry>,
}

impl Declared {
    /// A limit as its type; `None` where there is none, or it is not of the type, which is told at its place.
    fn limit(&self, e: Option<&Entry>) -> Option<Value> {
        let e = e?;
        match self.ty.read(&e.value.value, e.annotation.as_ref().map(|a| a.value.as_str()), false) {
            Ok(Draft::Value(v)) => Some(v),
            _ => None,
        }
    }

    fn outside(&self, value: &Value) -> bool {
        let is = |e: Option<&Entry>, order| self.limit(e).and_then(|l| compare(value, &l)) == Some(order);
        is(self.min.as_ref(), Ordering::Less) || is(self.max.as_ref(), Ordering::Greater)
    }

    /// What `min` and `max` say must be of the type, of one that has an order, and the right way round.
    pub fn check_limits(&self, dec: &mut Decoder) {
        for (word, e) in [("min", &self.min), ("max", &self.max)] {
            let Some(e) = e else { continue };
            let noun = self.ty.noun();
            let ordered =
                matches!(self.ty, Type::Int | Type::Number | Type::Duration | Type::Size | Type::Rate | Type::Percent);
            if ordered && self.limit(Some(e)).is_some() {
                continue;
            }
            if !ordered {
                dec.sink.push(
                    Diagnostic::error("E0201", format!("`param {}` has no order that `{word}` could limit", self.name))
                        .label(e.span, format!("it takes {noun}"))
                        .help("limits are for numbers, durations, sizes, rates and percents"),
                );
                continue;
            }
            dec.sink.push(
                Diagnostic::error("E0201", format!("`{word}` of `param {}` takes {noun}", self.name))
                    .label(e.span, format!("not {noun}"))
                    .help(format!("write {word} as the values are written: {noun}")),
            );
        }
        if let (Some(low), Some(high)) = (&self.min, &self.max)
            && let (Some(a), Some(b)) = (self.limit(Some(low)), self.limit(Some(high)))
            && compare(&a, &b) == Some(Ordering::Greater)
        {
            dec.sink.push(
                Diagnostic::error("E0203", format!("`max` of `param {}` is below its `min`", self.name))
                    .label(high.span, "below")
                    .label(low.span, "above")
                    .help("no value could be given"),
            );
        }
    }
}

/// Two values of one type that has an order.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let number = |v: &Value| match v {
        Value::Int(i) => Some(*i as f64),
        Value::Text(t) => t.parse::<f64>().ok(),
        _ => None,
    };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Size(a), Value::Size(b)) | (Value::Rate(a), Value::Rate(b)) => Some(a.cmp(b)),
        (Value::Percent(a), Value::Percent(b)) => Some(a.cmp(b)),
        _ => number(a)?.partial_cmp(&number(b)?),
    }
}

/// Entry of a field, as a property or as a line.
pub(super) fn entry_of<'t>(tree: &'t Tree, field: &str) -> Option<&'t Entry> {
    tree.prop(field).or_else(|| tree.children.iter().find(|c| c.name.value == field)?.args().next())
}

/// `variable` or `param`. The mistakes of its form are the decoder's.
pub(super) fn declared(tree: &Tree) -> Option<Declared> {
    let name = tree.args().next()?;
    Some(Declared {
        name: name.value.value.as_text()?.to_owned(),
        ty: Type::parse(entry_of(tree, "type")?.value.value.as_text()?)?,
        span: name.span,
        default: entry_of(tree, "default").cloned(),
        min: entry_of(tree, "min").cloned(),
        max: entry_of(tree, "max").cloned(),
    })
}

/// A value as it was given.
pub(super) struct Given<'a> {
    pub scalar: Scalar,
    pub annotation: Option<&'a str>,
    /// Out of a range or an interpolation.
    pub derived: bool,
    pub span: Span,
    /// The value alone, which is masked when it is a literal secret.
    pub value: Span,
    /// What it had before, or was made of.
    pub layers: Vec<Layer>,
    /// Who gives it, as `explain` says it.
    pub by: String,
}

/// Binds one value to a declared name, typed. `None`: reported.
pub(super) fn bind(dec: &mut Decoder, d: &Declared, what: &str, given: Given) -> Option<Bound> {
    let Given { scalar, annotation, derived, span, value, mut layers, by } = given;
    let secret = annotation == Some("secret");
    let unit = annotation.filter(|a| *a != "secret");
    let check = |s: &Scalar| d.ty.read(s, unit, derived);
    // A text with a range is typed when it is expanded, not here.
    let ranged = matches!(&scalar, Scalar::Text(t) if d.ty == Type::String && t.contains('['));
    if d.ty == Type::Secret && (!secret || check(&scalar).is_err()) {
        dec.sink.push(
            Diagnostic::error("E0701", format!("`{}` must be a reference to a secret", d.name))
                .label(span, "literal value")
                .masked(value, "")
                .help("write (secret)\"env:NAME\", \"file:..\", \"age:..\", \"vault:..\" or \"cmd:..\""),
        );
        return None;
    }
    if !ranged && let Err(wrong) = check(&scalar) {
        let noun = match &d.ty {
            Type::Ref(_) | Type::Select(_) => format!("the name of {}", d.ty.noun()),
            t => t.noun(),
        };
        let mut x = Diagnostic::error(wrong.code, format!("{what} `{}` takes {noun}", d.name))
            .label(span, format!("not {noun}"));
        x.help = wrong.help;
        dec.sink.push(x);
        return None;
    }
    if !ranged
        && let Ok(Draft::Value(v)) = check(&scalar)
        && d.outside(&v)
    {
        out_of_limits(dec, d, what, &super::explain::value(&v), span);
        return None;
    }
    let scalar = match (unit, &scalar) {
        (Some(u), Scalar::Int(n)) => Scalar::Text(format!("{n}{u}")),
        _ => scalar,
    };
    let text = super::text::shown(&scalar);
    // `--set` stands in no file.
    let at = Some(span).filter(|_| !by.starts_with("--set"));
    layers.push(Layer::new(by, at, if secret { format!("(secret){text}") } else { text }));
    Some(Bound { scalar, secret, span: Some(span), layers })
}

fn out_of_limits(dec: &mut Decoder, d: &Declared, what: &str, given: &str, span: Span) {
    let shown = |e: &Option<Entry>| d.limit(e.as_ref()).map(|v| super::explain::value(&v));
    let range = match (shown(&d.min), shown(&d.max)) {
        (Some(a), Some(b)) => format!("{a} to {b}"),
        (Some(a), None) => format!("{a} or more"),
        (_, b) => format!("{} or less", b.unwrap_or_default()),
    };
    dec.sink.push(
        Diagnostic::error("E0203", format!("{what} `{}` is {range}, not {given}", d.name))
            .label(span, "out of limits")
            .label(d.span, "limits are set here")
            .help(format!("write {} of {range}", d.ty.noun())),
    );
}

/// The scope of the root. `chain`: the trees of the environments in force, base first.
pub(super) fn root(dec: &mut Decoder, trees: &[Tree], chain: &[&Tree], options: &Options) -> Scope {
    let mut scope = Scope { layer: "base".into(), ..Scope::default() };
    let mut known: BTreeMap<String, Declared> = BTreeMap::new();
    for t in trees.iter().filter(|t| t.name.value == "variable") {
        let Some(d) = declared(t) else {
            scope.broken.extend(t.args().next().and_then(|e| e.value.value.as_text()).map(str::to_owned));
            continue;
        };
        if let Some(first) = known.get(&d.name) {
            let again = super::decode::duplicate("variable", &d.name, first.span, d.span);
            dec.sink.push(again);
            continue;
        }
        if let Some(e) = &d.default {
            set(dec, &mut scope, &d, e, format!("default of variable {}", d.name));
        }
        known.insert(d.name.clone(), d);
    }
    for env in chain {
        for t in env.children.iter().filter(|c| c.name.value == "set") {
            let mut args = t.args();
            let (Some(name), Some(value)) = (args.next(), args.next()) else { continue };
            let text = name.value.value.as_text().unwrap_or_default();
            // An unknown name is reported where references are resolved.
            if let Some(d) = known.get(text) {
                let of = env.args().next().and_then(|e| e.value.value.as_text()).unwrap_or_default();
                set(dec, &mut scope, d, value, format!("set {text} in environment {of}"));
            }
        }
    }
    for (name, text) in &options.sets {
        let Some(d) = known.get(name) else {
            dec.sink.push(no_variable(name, &known));
            continue;
        };
        // `--set start=2026-03-07T22:00` needs no quotes, and a secret is a reference here too.
        let annotation = (d.ty == Type::Secret).then_some("secret");
        let layers = scope.names.get(name).map(|b| b.layers.clone()).unwrap_or_default();
        let scalar = Scalar::Text(text.clone());
        let by = format!("--set {name}");
        let given = Given { scalar, annotation, derived: true, span: d.span, value: d.span, layers, by };
        if let Some(b) = bind(dec, d, "--set: variable", given) {
            scope.names.insert(name.clone(), b);
        }
    }
    for (name, d) in &known {
        if scope.names.contains_key(name) || scope.broken.contains(name) {
            continue;
        }
        if options.allow_unset {
            let bound = Bound { scalar: d.ty.sample(), secret: d.ty == Type::Secret, span: None, layers: Vec::new() };
            scope.names.insert(name.clone(), bound);
        } else {
            dec.sink.push(
                Diagnostic::error("E0512", format!("variable `{name}` has no value"))
                    .label(d.span, "declared without a default")
                    .help(format!("give --set {name}=VALUE, `set {name} VALUE` in the environment, or a default")),
            );
            scope.broken.push(name.clone());
        }
    }
    lets(dec, trees, &mut scope);
    scope
}

fn no_variable(name: &str, known: &BTreeMap<String, Declared>) -> Diagnostic {
    let d = Diagnostic::error("E0513", format!("no variable named `{name}`"));
    match nearest(name, known.keys().map(String::as_str)) {
        Some(n) => d.help(format!("did you mean `{n}`?")),
        None if known.is_empty() => d.help("the topology declares no variable"),
        None => d.help(format!("there are {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))),
    }
}

fn set(dec: &mut Decoder, scope: &mut Scope, d: &Declared, e: &Entry, by: String) {
    let annotation = e.annotation.as_ref().map(|a| a.value.as_str());
    let layers = scope.names.get(&d.name).map(|b| b.layers.clone()).unwrap_or_default();
    let (scalar, value) = (e.value.value.clone(), e.value.span);
    let given = Given { scalar, annotation, derived: false, span: e.span, value, layers, by };
    match bind(dec, d, "variable", given) {
        Some(b) => {
            scope.names.insert(d.name.clone(), b);
        }
        None => scope.broken.push(d.name.clone()),
    }
}

/// Lets may use variables and other lets, in any order of writing.
pub(super) fn lets(dec: &mut Decoder, trees: &[Tree], scope: &mut Scope) {
    let mut open: Vec<(&str, &Entry)> = Vec::new();
    for t in trees.iter().filter(|t| t.name.value == "let") {
        let mut args = t.args();
        let (Some(name), Some(value)) = (args.next(), args.next()) else { continue };
        let Some(text) = name.value.value.as_text() else { continue };
        if let Some(b) = scope.names.get(text) {
            let first = b.span.unwrap_or(name.span);
            dec.sink.push(super::decode::duplicate("let", text, first, name.span));
        } else if let Some((_, first)) = open.iter().find(|(n, _)| *n == text) {
            dec.sink.push(super::decode::duplicate("let", text, first.span, name.span));
        } else {
            open.push((text, value));
        }
    }
    loop {
        let before = open.len();
        let mut rest = Vec::new();
        for (name, e) in open {
            let secret = e.annotation.as_ref().is_some_and(|a| a.value == "secret");
            let filled = match &e.value.value {
                Scalar::Text(t) => match fill(t, scope, &[]) {
                    Ok(f) => f.whole.unwrap_or(Scalar::Text(f.text)),
                    Err(_) => {
                        rest.push((name, e));
                        continue;
                    }
                },
                other => other.clone(),
            };
            let mut layers: Vec<Layer> = Vec::new();
            if let Scalar::Text(t) = &e.value.value {
                let used = super::text::names(t).filter_map(|n| scope.names.get(n));
                layers.extend(used.flat_map(|b| b.layers.iter().cloned()));
            }
            layers.push(Layer::new(format!("let {name}"), Some(e.span), super::text::shown(&filled)));
            scope.names.insert(name.to_owned(), Bound { scalar: filled, secret, span: Some(e.span), layers });
        }
        open = rest;
        if open.is_empty() || open.len() == before {
            break;
        }
    }
    let names: Vec<&str> = open.iter().map(|(n, _)| *n).collect();
    let mut told = false;
    for (name, e) in &open {
        let Scalar::Text(t) = &e.value.value else { continue };
        match fill(t, scope, &[]) {
            // One circle, one message.
            Err(Missing::Name(n)) if names.contains(&n.as_str()) && std::mem::replace(&mut told, true) => {}
            Err(Missing::Name(n)) if names.contains(&n.as_str()) => dec.sink.push(
                Diagnostic::error("E0514", format!("`{name}` and `{n}` need each other"))
                    .label(e.span, "goes in a circle")
                    .help("a let can use variables and lets that do not use it"),
            ),
            _ => {
                let (empty, layer) = (scope.clone(), "base");
                dec.fill(t, Place { scope: &empty, captures: &[], zip: None, layer }, e.span);
            }
        }
        scope.broken.push((*name).to_owned());
    }
}
