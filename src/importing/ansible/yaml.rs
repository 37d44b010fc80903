//! The YAML form, and files of variables.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::inventory::{Inventory, Text, Var, Vars};
use super::{CODE, pattern};
use crate::importing::foreign::Foreign;
use crate::model::{SourceId, Span};

/// Groups in groups deeper than this are no inventory.
const MAX_DEPTH: usize = 64;

pub fn inventory(f: &mut Foreign, id: SourceId) -> Inventory {
    let mut out = Inventory::default();
    let text = f.text(id);
    let Some(top) = document(f, id, &text) else { return out };
    let Some(groups) = mapping(f, id, &top, "groups") else { return out };
    for (key, group) in groups {
        read_group(f, id, &mut out, &key.0, group, 0);
    }
    out
}

/// The variables of a `group_vars` or `host_vars` file.
pub fn variables(f: &mut Foreign, id: SourceId) -> Vars {
    let text = f.text(id);
    let Some(top) = document(f, id, &text) else { return Vars::new() };
    mapping(f, id, &top, "variables")
        .map(|m| m.into_iter().map(|((k, place), v)| (k, var(v, place))).collect())
        .unwrap_or_default()
}

fn document<'t>(f: &mut Foreign, id: SourceId, text: &'t str) -> Option<MarkedYaml<'t>> {
    match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents.into_iter().next(),
        Err(e) => {
            let place = f.line(id, e.marker().line().max(1));
            f.wrong(CODE, place, format!("this is no YAML: {}", e.info()), "mind indentation, colons and quotes");
            None
        }
    }
}

fn place(f: &Foreign, id: SourceId, node: &MarkedYaml) -> Span {
    f.line(id, node.span.start.line().max(1))
}

type Pairs<'a, 't> = Vec<((String, Span), &'a MarkedYaml<'t>)>;

/// A mapping with texts as keys; nothing counts as an empty one.
fn mapping<'a, 't>(f: &mut Foreign, id: SourceId, node: &'a MarkedYaml<'t>, of: &str) -> Option<Pairs<'a, 't>> {
    match &node.data {
        YamlData::Mapping(m) => {
            let mut out = Vec::new();
            for (k, v) in m {
                let at = place(f, id, k);
                match scalar(k) {
                    Some(key) => out.push(((key, at), v)),
                    None => f.wrong(CODE, at, "a name must be a text", "write NAME: in front"),
                }
            }
            Some(out)
        }
        YamlData::Value(Scalar::Null) | YamlData::BadValue => Some(Vec::new()),
        _ => {
            let at = place(f, id, node);
            f.wrong(CODE, at, format!("{of} are a mapping"), "write `NAME:` for each, a colon behind every host too");
            None
        }
    }
}

fn read_group(f: &mut Foreign, id: SourceId, out: &mut Inventory, name: &str, node: &MarkedYaml, depth: usize) {
    out.group(name);
    if depth > MAX_DEPTH {
        let at = place(f, id, node);
        return f.wrong(CODE, at, format!("groups deeper than {MAX_DEPTH} levels"), "name each group once, at the top");
    }
    let Some(parts) = mapping(f, id, node, "the parts of a group") else { return };
    for ((part, at), node) in parts {
        match part.as_str() {
            "hosts" => {
                for ((pattern, at), vars) in mapping(f, id, node, "hosts").unwrap_or_default() {
                    read_host(f, id, out, name, (&pattern, at), vars);
                }
            }
            "vars" => {
                for ((key, at), v) in mapping(f, id, node, "variables").unwrap_or_default() {
                    out.group(name).vars.insert(key, var(v, at));
                }
            }
            "children" => {
                for ((child, _), node) in mapping(f, id, node, "children").unwrap_or_default() {
                    out.group(name).children.insert(child.clone());
                    read_group(f, id, out, &child, node, depth + 1);
                }
            }
            other => {
                let help = "a group has hosts, vars and children; other names stand one level deeper";
                f.wrong(CODE, at, format!("group `{name}` cannot have `{other}`"), help);
            }
        }
    }
}

fn read_host(
    f: &mut Foreign,
    id: SourceId,
    out: &mut Inventory,
    group: &str,
    (text, at): (&str, Span),
    node: &MarkedYaml,
) {
    let (names, port) = pattern::port(text);
    let names = match pattern::expand(names) {
        Ok(names) => names,
        Err(why) => return f.wrong(CODE, at, why, "ranges are [01:62], [a:f] and [1:9:2]"),
    };
    let mut vars: Vars = mapping(f, id, node, "variables of a host")
        .unwrap_or_default()
        .into_iter()
        .map(|((k, place), v)| (k, var(v, place)))
        .collect();
    if let Some(port) = port {
        vars.insert("ansible_port".into(), Var { text: Text::plain(port), place: at });
    }
    for name in names {
        if group != "all" {
            out.group(group).hosts.insert(name.clone());
        }
        out.host(&name, at).vars.extend(vars.clone());
    }
}

fn var(node: &MarkedYaml, place: Span) -> Var {
    let text = match &node.data {
        YamlData::Tagged(tag, _) if tag.suffix.contains("vault") => Text::Vault,
        YamlData::Tagged(_, inner) => return var(inner, place),
        _ => scalar(node).map_or(Text::Structure, Text::plain),
    };
    Var { text, place }
}

fn scalar(node: &MarkedYaml) -> Option<String> {
    match &node.data {
        YamlData::Value(Scalar::String(s)) => Some(s.to_string()),
        YamlData::Value(Scalar::Integer(i)) => Some(i.to_string()),
        YamlData::Value(Scalar::Boolean(b)) => Some(b.to_string()),
        YamlData::Value(Scalar::FloatingPoint(x)) => Some(x.to_string()),
        YamlData::Value(Scalar::Null) => Some(String::new()),
        YamlData::Representation(text, ..) => Some(text.to_string()),
        _ => None,
    }
}
