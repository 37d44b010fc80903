//! The reference of the language, made from the schema, so that the two cannot differ: as text for a terminal, as Markdown
//! (`docs/reference.md`) and as one HTML page.

mod example;
mod html;
mod markdown;
mod terminal;

use super::schema::{FieldDef, KindDef, Limit, schema};
use super::suggest::nearest;
use super::types::Type;
use crate::model::tree::Scalar;

/// What a word of a type looks like.
pub(super) const WRITTEN: [(&str, &str, &str); 27] = [
    ("int", "whole number", "`64`"),
    ("number", "number", "`2.5`"),
    ("bool", "truth", "`#true`, `#false`"),
    ("string", "text", "`\"as it is\"`; a range in it expands"),
    ("text", "prose; never expanded as a range", "`\"one sentence\"`"),
    ("name", "letters, digits, `-` and `_`, in any script", "`dublin`"),
    ("ident", "`a` to `z`, `0` to `9`, `_`", "`pair_net`"),
    ("hostname", "host name, one label (RFC 1123)", "`mbx-01`, `\"mbx-[01:62]\"`"),
    ("fqdn", "domain name, without a dot at the end", "`mail.acme.example`"),
    ("host", "domain name, host name or address", "`old.acme.example`, `\"192.0.2.10\"`"),
    ("ip", "IPv4 or IPv6 address", "`\"192.0.2.10\"`, `\"192.0.2.[11:72]\"`"),
    ("cidr", "network", "`\"192.0.2.0/24\"`"),
    ("email", "mail address", "`ann@acme.example`"),
    ("url", "URL", "`\"https://mail.acme.example/ews\"`"),
    ("path", "path, relative to the folder of the root file", "`\"users/berlin.csv\"`"),
    ("duration", "time with its unit: ms, s, m, h, d, w", "`\"90s\"`, `\"1h30m\"`, `\"14d\"`"),
    ("size", "bytes with their unit: B, KiB to TiB (1024), KB to TB (1000)", "`\"64GiB\"`"),
    ("rate", "bits or bytes in a second", "`\"200Mbit/s\"`"),
    ("percent", "exact decimal", "`\"99.99%\"`"),
    ("offset", "time before or after an event", "`\"-14d\"`, `\"+1h\"`"),
    ("date", "day", "`\"2026-04-17\"`"),
    ("datetime", "day and time, in the organization's timezone", "`\"2026-04-17T21:00\"`"),
    ("time", "time of day", "`\"02:00\"`"),
    ("secret", "where a secret is: env, file, age, cmd, vault", "`(secret)\"env:NAME\"`"),
    ("counter", "counter of a monitor, by one of its names", "`submission-queue`, `custom:spool`"),
    ("any", "any value", "`8`, `\"text\"`, `#true`"),
    ("type", "name of a type of this table", "`duration`"),
];

/// The terminal form: one kind, or all kinds with a line each. The error says what there is instead.
pub fn text(kind: Option<&str>) -> Result<String, String> {
    match kind {
        None => Ok(terminal::all()),
        Some(name) => found(name).map(terminal::kind),
    }
}

/// Markdown: one kind, or the whole reference.
pub fn markdown(kind: Option<&str>) -> Result<String, String> {
    match kind {
        None => Ok(markdown::all()),
        Some(name) => found(name).map(markdown::kind),
    }
}

/// The whole reference as one page without anything from outside.
pub fn html() -> String {
    html::page()
}

fn found(name: &str) -> Result<&'static KindDef, String> {
    schema().kind(name).ok_or_else(|| {
        let names = schema().kinds.iter().map(|k| k.name.as_str());
        match nearest(name, names) {
            Some(near) => format!("there is no kind `{name}`; did you mean `{near}`?"),
            None => format!("there is no kind `{name}`; `cutover docs` lists them"),
        }
    })
}

/// Areas in the order of the files, with their kinds.
fn areas() -> Vec<(&'static str, Vec<&'static KindDef>)> {
    let mut out: Vec<(&str, Vec<&KindDef>)> = Vec::new();
    for k in &schema().kinds {
        match out.last_mut() {
            Some((area, kinds)) if *area == k.area => kinds.push(k),
            _ => out.push((&k.area, vec![k])),
        }
    }
    out
}

fn title(area: &str) -> String {
    let name = area.split_once('-').map_or(area, |(_, n)| n);
    match name {
        "core" => "Files, variables, modules, environments".into(),
        "topology" => "Sites, servers, stores".into(),
        "mailflow" => "Mail flow, names and DNS".into(),
        "operations" => "People, service levels, operations, changes".into(),
        "migration" => "The move".into(),
        "process" => "The course of the project".into(),
        other => other.to_owned(),
    }
}

/// How the head of a node is written: `server HOSTNAME ..`.
fn head(k: &KindDef) -> String {
    let mut out = k.name.clone();
    if let Some(ty) = &k.name_type {
        let word = match ty {
            Type::Ref(kinds) | Type::Select(kinds) => kinds.join("|").to_uppercase(),
            Type::Enum(list) | Type::Open(list) => list.join("|"),
            _ => plain(ty).to_uppercase(),
        };
        out += &if k.name_optional { format!(" [{word}]") } else { format!(" {word}") };
    }
    for f in k.fields.iter().filter(|f| f.positional) {
        out += &format!(" {}{}", f.name.to_uppercase(), if f.many { ".." } else { "" });
    }
    out
}

/// Where the kind may stand.
fn stands(k: &KindDef) -> String {
    let inside: Vec<String> = k.parents.iter().filter(|p| *p != "root").map(|p| format!("`{p}`")).collect();
    let mut out = String::new();
    if k.top_level() {
        out += "at the top level";
    }
    if !inside.is_empty() {
        if !out.is_empty() {
            out += "; ";
        }
        out += &format!("in {}", inside.join(", "));
    }
    out
}

/// The simple name of a type.
fn plain(ty: &Type) -> String {
    Type::names().into_iter().find(|n| Type::parse(n).as_ref() == Some(ty)).unwrap_or("value").to_owned()
}

/// What a field takes, names of kinds and words in backticks.
fn takes(f: &FieldDef) -> String {
    let ticks = |list: &[String]| list.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    let mut out = match &f.ty {
        Type::Enum(list) => ticks(list),
        Type::Open(list) => format!("{} or what a role pack defines", ticks(list)),
        Type::Ref(kinds) => format!("name of a {}", ticks(kinds)),
        Type::Select(kinds) => format!("selector of {}", ticks(kinds)),
        ty => plain(ty),
    };
    if f.many {
        out += "; a list";
    }
    match (f.min, f.max, f.many) {
        (Some(a), Some(b), true) if a == b => out += &format!(" of {a}"),
        (Some(a), Some(b), true) => out += &format!(" of {a} to {b}"),
        (Some(a), None, true) => out += &format!(" of at least {a}"),
        (None, Some(b), true) => out += &format!(" of at most {b}"),
        (Some(a), Some(b), false) => out += &format!(", {a} to {b}"),
        (Some(a), None, false) => out += &format!(", at least {a}"),
        (None, Some(b), false) => out += &format!(", at most {b}"),
        (None, None, _) => {}
    }
    out
}

fn default(f: &FieldDef) -> String {
    match &f.default {
        _ if f.required => "required".into(),
        None => String::new(),
        Some(Scalar::Text(t) | Scalar::Raw(t)) => t.clone(),
        Some(Scalar::Int(i)) => i.to_string(),
        Some(Scalar::Float(x)) => x.to_string(),
        Some(Scalar::Bool(b)) => format!("#{b}"),
        Some(Scalar::Null) => String::new(),
    }
}

fn limit(l: &Limit) -> String {
    match (&l.since, &l.until) {
        (Some((p, v)), Some((q, w))) if p == q && v == w => format!("only {p} {v}"),
        (Some((p, v)), Some((q, w))) if p == q => format!("{p} {v} to {w}"),
        (Some((p, v)), Some((q, w))) => format!("since {p} {v}, until {q} {w}"),
        (Some((p, v)), None) => format!("since {p} {v}"),
        (None, Some((p, v))) => format!("until {p} {v}"),
        (None, None) => String::new(),
    }
}

/// What a field means, with everything that limits it.
fn meaning(k: &KindDef, f: &FieldDef) -> String {
    let mut parts: Vec<String> = vec![f.doc.clone()];
    parts.push(limit(&f.limit));
    for l in schema().limits.iter().filter(|l| l.kind == k.name && l.field == f.name) {
        parts.push(format!("`{}` {}", l.value, limit(&l.limit)));
    }
    if f.rest {
        parts.push("`\"*\"`: all that nobody else names".into());
    }
    if f.scaled {
        parts.push("shrunk by `time-scale`".into());
    }
    if k.waits.iter().any(|(_, fields)| fields.contains(&f.name)) {
        parts.push("nothing acts on it yet".into());
    }
    parts.retain(|p| !p.is_empty());
    parts.join("; ")
}

/// Sentences on the kind as a whole.
fn notes(k: &KindDef) -> Vec<String> {
    let mut out = Vec::new();
    if !k.limit.is_empty() {
        let instead = k.instead.as_ref().map(|i| format!("; elsewhere use {i}")).unwrap_or_default();
        out.push(format!("Version: {}{instead}.", limit(&k.limit)));
    }
    if let Some(key) = &k.key {
        out.push(format!("`{key}` belongs to the identity: the node is addressed NAME@{}.", key.to_uppercase()));
    }
    if k.name_type.is_some() && !k.single {
        out.push("The name may be a range.".into());
    }
    let acts: Vec<&str> = k.effects.iter().map(|e| effect(e)).collect();
    if !acts.is_empty() {
        out.push(format!("What it does: {}.", acts.join(", ")));
    }
    for (why, _) in k.waits.iter().filter(|(_, fields)| fields.is_empty()) {
        out.push(format!("Nothing acts on it yet; it waits for: {why}."));
    }
    if k.repeat {
        out.push("Several nodes of one name are no mistake.".into());
    }
    out
}

/// What acts on a kind, in words.
fn effect(word: &str) -> &str {
    match word {
        "resource" => "makes things on hosts",
        "rule" => "lint rules judge it",
        "gate" => "holds what may be applied, and when",
        "report" => "stands in reports",
        "forecast" => "feeds the forecast",
        "language" => "part of the language",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_field_is_in_each_form() {
        let (md, page) = (markdown(None).expect("whole"), html());
        for k in &schema().kinds {
            assert!(
                md.contains(&format!("### {}\n", k.name)) && page.contains(&format!("id=\"{}\"", k.name)),
                "{}",
                k.name
            );
            let one = text(Some(&k.name)).expect("kind");
            for f in &k.fields {
                let anchor = format!("{}.{}", k.name, f.name);
                assert!(
                    md.contains(&format!("id=\"{anchor}\"")) && page.contains(&format!("id=\"{anchor}\"")),
                    "{anchor}"
                );
                assert!(one.contains(&format!("  {}", f.name)), "{anchor}");
            }
            assert!(!k.doc.is_empty(), "{} has no doc", k.name);
        }
        assert!(
            !page.contains("http://") && !page.contains("<script") && !page.contains("<link"),
            "nothing from outside"
        );
        assert_eq!(text(Some("servr")), Err("there is no kind `servr`; did you mean `server`?".into()));
    }

    #[test]
    fn every_kind_has_an_example() {
        for k in &schema().kinds {
            assert!(example::of(k).is_some(), "schemas/examples.kdl shows no `{}`: add one", k.name);
        }
    }

    #[test]
    fn the_types_of_the_table_are_those_of_the_language() {
        let ours: Vec<&str> = WRITTEN.iter().map(|(n, _, _)| *n).collect();
        assert_eq!(ours, Type::names());
    }
}
