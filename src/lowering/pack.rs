//! Role packs as checked data: platforms, parts and roles, read strictly from the KDL of `module.kdl`.
//!
//! ```text
//! platform postfix-dovecot { product postfix since="3.5" until="3.9"; .. }   products that the roles are written for
//! part tls { .. }                                                            resources that several roles share
//! role imap platform=postfix-dovecot { needs dovecot; include tls; package dovecot-imapd; .. }
//! ```
//!
//! Keys and string values are templates (`lowering::template`); which words a resource may have is the catalogue's.

use std::collections::BTreeMap;

use crate::catalog::{self, Compare};
use crate::model::pack::PackSource;
use crate::model::reader::{one_name, only_props, text_prop, texts, twice, unknown};
use crate::model::tree::{Entry, Scalar, Tree};
use crate::model::{Diagnostic, Diagnostics, Kind, SourceId, Span, Spanned};

/// One pack folder, checked.
#[derive(Debug, Clone)]
pub struct Pack {
    pub name: String,
    pub built_in: bool,
    pub platforms: Vec<PlatformDef>,
    pub roles: Vec<RoleDef>,
    pub templates: BTreeMap<String, SourceId>,
}

/// A combination of products that roles are written for.
#[derive(Debug, Clone)]
pub struct PlatformDef {
    pub name: Spanned<String>,
    pub products: Vec<ProductDef>,
}

/// A product with the versions that the pack's configuration fits, both ends included; `3.7` covers `3.7.11`.
#[derive(Debug, Clone)]
pub struct ProductDef {
    pub name: String,
    pub since: Option<String>,
    pub until: Option<String>,
}

/// What a role means on a platform.
#[derive(Debug, Clone)]
pub struct RoleDef {
    pub name: Spanned<String>,
    pub platform: Spanned<String>,
    /// Products of the platform that this role uses; empty: all of them.
    pub needs: Vec<String>,
    /// Roles that cannot be on the same server.
    pub conflicts: Vec<String>,
    /// Services of a `certificate` node that this role cannot do without.
    pub certificates: Vec<String>,
    pub resources: Vec<ResourceDef>,
    pub listens: Vec<ListenDef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenFrom {
    Any,
    /// Only the organisation's own servers.
    Servers,
}

/// Ports that the role's programs listen on; the firewall opens them.
#[derive(Debug, Clone)]
pub struct ListenDef {
    pub ports: Vec<(String, u16)>,
    pub udp: bool,
    pub from: ListenFrom,
    pub when: Option<Spanned<String>>,
    pub span: Span,
}

/// A value as the pack writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    Text(Spanned<String>),
    Int(i64),
    Bool(bool),
    List(Vec<Spanned<String>>),
}

/// Where the content of a resource comes from.
#[derive(Debug, Clone)]
pub enum ContentDef {
    /// File under `templates/`.
    Template(Spanned<String>),
    /// Text in the pack itself, a template too.
    Inline(Spanned<String>),
    /// Local file of bytes, relative to the root folder.
    Source(Spanned<String>),
    /// One of our own programs, as it stands beside the running one.
    Program(Spanned<String>),
}

/// A resource to wait for: an address or a group, a template.
#[derive(Debug, Clone)]
pub struct AfterDef {
    pub targets: Vec<Spanned<String>>,
    pub when: Option<Spanned<String>>,
    pub each: Option<Spanned<String>>,
}

/// One resource node of a role, before it is expanded for a server.
#[derive(Debug, Clone)]
pub struct ResourceDef {
    pub kind: Kind,
    pub keys: Vec<Spanned<String>>,
    pub attrs: BTreeMap<String, Written>,
    pub content: Option<ContentDef>,
    /// Product whose raw `setting`s replace values in the rendered content (`postfix`: main.cf form).
    pub overrides: Option<Spanned<String>>,
    pub reload: Vec<Spanned<String>>,
    pub restart: Vec<Spanned<String>>,
    pub when: Option<Spanned<String>>,
    pub each: Option<Spanned<String>>,
    pub stage: Option<u8>,
    pub after: Vec<AfterDef>,
    pub span: Span,
}

const TOP: &[&str] = &["platform", "part", "role"];
const ROLE_WORDS: &[&str] = &["needs", "conflicts", "certificate", "include", "listen"];
/// Programs of ours that a host can be given.
const PROGRAMS: &[&str] = &["cutover-cms", "cutover-probe", "cutover-proxy"];
const COMMON: &[&str] = &["reload", "restart", "when", "each", "stage", "overrides"];

/// Reads one pack. What is wrong is reported, the rest is kept, so that one run shows every mistake.
pub fn read(source: &PackSource, diagnostics: &mut Diagnostics) -> Pack {
    let mut pack = Pack {
        name: source.name.clone(),
        built_in: source.built_in,
        platforms: Vec::new(),
        roles: Vec::new(),
        templates: source.templates.clone(),
    };
    let mut parts: BTreeMap<&str, &Tree> = BTreeMap::new();
    for node in source.nodes.iter().filter(|n| n.name.value == "part") {
        if let Some(name) = one_name(node, diagnostics) {
            if let Some(first) = parts.get(name.value.as_str()) {
                diagnostics.push(twice("part", &name, first.span));
            } else if let Some(arg) = node.args().next().and_then(|e| e.value.value.as_text()) {
                parts.insert(arg, node);
            }
        }
    }
    for node in &source.nodes {
        match node.name.value.as_str() {
            "part" => {}
            "platform" => pack.platforms.extend(platform(node, diagnostics)),
            "role" => pack.roles.extend(role(node, &parts, source, diagnostics)),
            other => diagnostics.push(unknown("pack node", other, node.name.span, TOP)),
        }
    }
    pack
}

fn platform(node: &Tree, diagnostics: &mut Diagnostics) -> Option<PlatformDef> {
    let name = one_name(node, diagnostics)?;
    only_props(node, &["doc"], diagnostics);
    let mut products = Vec::new();
    for child in &node.children {
        if child.name.value != "product" {
            diagnostics.push(unknown("word of `platform`", &child.name.value, child.name.span, &["product"]));
            continue;
        }
        let Some(product) = one_name(child, diagnostics) else { continue };
        only_props(child, &["since", "until"], diagnostics);
        products.push(ProductDef {
            name: product.value,
            since: text_prop(child, "since", diagnostics).map(|s| s.value),
            until: text_prop(child, "until", diagnostics).map(|s| s.value),
        });
    }
    Some(PlatformDef { name, products })
}

fn role(
    node: &Tree,
    parts: &BTreeMap<&str, &Tree>,
    source: &PackSource,
    diagnostics: &mut Diagnostics,
) -> Option<RoleDef> {
    let name = one_name(node, diagnostics)?;
    only_props(node, &["platform", "doc"], diagnostics);
    let Some(platform) = text_prop(node, "platform", diagnostics) else {
        diagnostics.push(
            Diagnostic::error("E1002", format!("role `{}` names no platform", name.value))
                .label(name.span, "platform=.. is missing")
                .help(format!("write role {} platform=NAME, where a pack declares `platform NAME`", name.value)),
        );
        return None;
    };
    let mut role = RoleDef {
        name,
        platform,
        needs: Vec::new(),
        conflicts: Vec::new(),
        certificates: Vec::new(),
        resources: Vec::new(),
        listens: Vec::new(),
    };
    let mut included = Vec::new();
    role_body(node, &mut role, parts, &mut included, source, diagnostics);
    Some(role)
}

fn role_body<'a>(
    node: &'a Tree,
    role: &mut RoleDef,
    parts: &BTreeMap<&'a str, &'a Tree>,
    included: &mut Vec<String>,
    source: &PackSource,
    diagnostics: &mut Diagnostics,
) {
    for child in &node.children {
        match child.name.value.as_str() {
            "needs" => role.needs.extend(names(child, diagnostics)),
            "conflicts" => role.conflicts.extend(names(child, diagnostics)),
            "certificate" => role.certificates.extend(names(child, diagnostics)),
            "listen" => role.listens.extend(listen(child, diagnostics)),
            "include" => {
                for entry in child.args() {
                    let Some(name) = entry.value.value.as_text() else { continue };
                    if included.iter().any(|i| i == name) {
                        continue;
                    }
                    included.push(name.to_owned());
                    match parts.get(name) {
                        Some(part) => role_body(part, role, parts, included, source, diagnostics),
                        None => {
                            let known: Vec<&str> = parts.keys().copied().collect();
                            diagnostics.push(unknown("part", name, entry.span, &known));
                        }
                    }
                }
            }
            word => match word.parse::<Kind>() {
                Ok(kind) => role.resources.extend(resource(kind, child, source, diagnostics)),
                Err(_) => {
                    let known: Vec<&str> =
                        ROLE_WORDS.iter().copied().chain(Kind::ALL.iter().map(|k| k.as_str())).collect();
                    diagnostics.push(unknown("resource kind", word, child.name.span, &known));
                }
            },
        }
    }
}

fn listen(node: &Tree, diagnostics: &mut Diagnostics) -> Option<ListenDef> {
    only_props(node, &["proto", "from", "when"], diagnostics);
    let mut ports = Vec::new();
    let args: Vec<&Entry> = node.args().collect();
    for pair in args.chunks(2) {
        match pair {
            [name, port] => match (name.value.value.as_text(), &port.value.value) {
                (Some(name), Scalar::Int(port)) if (1..=65535).contains(port) => {
                    ports.push((name.to_owned(), *port as u16));
                }
                _ => diagnostics.push(
                    Diagnostic::error("E1003", "`listen` wants names and ports in turn")
                        .label(port.span, "not a port from 1 to 65535")
                        .help("write listen imap 143 imaps 993"),
                ),
            },
            [alone, ..] => diagnostics.push(
                Diagnostic::error("E1003", "`listen` wants a port after each name")
                    .label(alone.span, "no port follows"),
            ),
            [] => {}
        }
    }
    let udp = text_prop(node, "proto", diagnostics).is_some_and(|p| p.value.split_whitespace().any(|w| w == "udp"));
    let from = match text_prop(node, "from", diagnostics) {
        None => ListenFrom::Any,
        Some(f) if f.value == "any" => ListenFrom::Any,
        Some(f) if f.value == "servers" => ListenFrom::Servers,
        Some(f) => {
            diagnostics.push(unknown("value of `from`", &f.value, f.span, &["any", "servers"]));
            return None;
        }
    };
    Some(ListenDef { ports, udp, from, when: text_prop(node, "when", diagnostics), span: node.span })
}

fn resource(kind: Kind, node: &Tree, source: &PackSource, diagnostics: &mut Diagnostics) -> Option<ResourceDef> {
    let spec = catalog::spec(kind);
    let has_content = spec.field("content").is_some();
    let mut def = ResourceDef {
        kind,
        keys: Vec::new(),
        attrs: BTreeMap::new(),
        content: None,
        overrides: None,
        reload: Vec::new(),
        restart: Vec::new(),
        when: None,
        each: None,
        stage: None,
        after: Vec::new(),
        span: node.span,
    };
    for entry in node.args() {
        match entry.value.value.as_text() {
            Some(key) => def.keys.push(Spanned::new(key.to_owned(), entry.value.span)),
            None => diagnostics.push(
                Diagnostic::error("E1003", format!("the name of a {kind} is text")).label(entry.span, "not text"),
            ),
        }
    }
    if def.keys.is_empty() {
        diagnostics.push(
            Diagnostic::error("E1002", format!("`{kind}` names nothing"))
                .label(node.name.span, "a name is missing")
                .help(format!("write {kind} NAME ..; {}", spec.doc)),
        );
        return None;
    }
    let mut seen: Vec<&str> = Vec::new();
    for entry in &node.entries {
        let Some(name) = &entry.name else { continue };
        let word = name.value.as_str();
        if seen.contains(&word) {
            diagnostics
                .push(Diagnostic::error("E1004", format!("`{word}` is set twice")).label(entry.span, "again here"));
            continue;
        }
        seen.push(word);
        let text = || entry.value.value.as_text().map(|t| Spanned::new(t.to_owned(), entry.value.span));
        let split = || {
            let words = entry.value.value.as_text().unwrap_or_default().split_whitespace();
            words.map(|w| Spanned::new(w.to_owned(), entry.value.span)).collect::<Vec<_>>()
        };
        match word {
            // A zone's own `reload` is a command.
            "reload" if spec.field("reload").is_none() => def.reload = split(),
            "restart" => def.restart = split(),
            "when" => def.when = text(),
            "each" => def.each = text(),
            "overrides" if has_content => def.overrides = text(),
            "stage" => match entry.value.value {
                Scalar::Int(i) if (0..=9).contains(&i) => def.stage = Some(i as u8),
                _ => diagnostics.push(
                    Diagnostic::error("E1003", "`stage` is a number from 0 to 9").label(entry.span, "not a stage"),
                ),
            },
            "template" if has_content => {
                let Some(file) = text() else { continue };
                if !source.templates.contains_key(&file.value) {
                    let known: Vec<&str> = source.templates.keys().map(String::as_str).collect();
                    diagnostics.push(unknown("template", &file.value, file.span, &known));
                }
                def.content = Some(ContentDef::Template(file));
            }
            "content" if has_content => def.content = text().map(ContentDef::Inline),
            "source" if has_content => def.content = text().map(ContentDef::Source),
            "program" if kind == Kind::Binary => {
                let Some(name) = text() else { continue };
                if !PROGRAMS.contains(&name.value.as_str()) {
                    diagnostics.push(unknown("program", &name.value, name.span, PROGRAMS));
                }
                def.content = Some(ContentDef::Program(name));
            }
            _ => match spec.field(word) {
                Some(field) => {
                    let value = match &entry.value.value {
                        Scalar::Text(t) | Scalar::Raw(t) if field.compare == Compare::Set => {
                            Written::List(vec![Spanned::new(t.clone(), entry.value.span)])
                        }
                        Scalar::Text(t) | Scalar::Raw(t) => Written::Text(Spanned::new(t.clone(), entry.value.span)),
                        Scalar::Bool(b) => Written::Bool(*b),
                        Scalar::Int(i) if i64::try_from(*i).is_ok() => Written::Int(*i as i64),
                        _ => {
                            diagnostics.push(
                                Diagnostic::error("E1003", format!("`{word}` takes text, a whole number or a bool"))
                                    .label(entry.value.span, "neither"),
                            );
                            continue;
                        }
                    };
                    def.attrs.insert(word.to_owned(), value);
                }
                None => diagnostics.push(unknown(&format!("word of `{kind}`"), word, name.span, &words_of(kind))),
            },
        }
    }
    for child in &node.children {
        let word = child.name.value.as_str();
        if word == "after" {
            only_props(child, &["when", "each"], diagnostics);
            def.after.push(AfterDef {
                targets: texts(child),
                when: text_prop(child, "when", diagnostics),
                each: text_prop(child, "each", diagnostics),
            });
        } else if spec.field(word).is_some_and(|f| f.compare == Compare::Set) {
            def.attrs.insert(word.to_owned(), Written::List(texts(child)));
        } else {
            let lists = spec.fields.iter().filter(|f| f.compare == Compare::Set).map(|f| f.name);
            let known: Vec<&str> = lists.chain(["after"]).collect();
            diagnostics.push(unknown(&format!("child of `{kind}`"), word, child.name.span, &known));
        }
    }
    let wants_content =
        matches!(kind, Kind::File | Kind::Unit | Kind::Binary | Kind::Firewall | Kind::DnsZone | Kind::Timer);
    if wants_content && def.content.is_none() {
        diagnostics.push(
            Diagnostic::error("E1002", format!("`{kind}` has no content"))
                .label(node.name.span, "template=, content= or source= is missing"),
        );
        return None;
    }
    Some(def)
}

fn words_of(kind: Kind) -> Vec<&'static str> {
    let spec = catalog::spec(kind);
    let content: &[&str] = match kind {
        Kind::Binary => &["template", "source", "program"],
        _ if spec.field("content").is_some() => &["template", "source"],
        _ => &[],
    };
    COMMON.iter().copied().chain(spec.fields.iter().map(|f| f.name)).chain(content.iter().copied()).collect()
}

fn names(node: &Tree, diagnostics: &mut Diagnostics) -> Vec<String> {
    only_props(node, &[], diagnostics);
    texts(node).into_iter().map(|s| s.value).collect()
}
