//! One role of one server, expanded into resources: `when`, `each`, keys, attributes, contents.

use serde_json::Value as Json;

use crate::catalog::{self, Compare};
use crate::model::resource::{Dependency, Notify, NotifyHow, Resource};
use crate::model::topology::{NodeId, Topology};
use crate::model::{
    Address, Attr, Attrs, Body, Diagnostic, Diagnostics, HostName, Kind, Segment, Sources, Span, Spanned,
};

use super::pack::{ContentDef, Pack, ResourceDef, RoleDef, Written};
use super::setting::{Settings, override_main_cf};
use super::template::{Data, Engine, has_secret, help_for, lookup, segments, truthy};

/// A resource with its contents, before it meets those of other roles.
#[derive(Debug)]
pub struct Wanted {
    pub resource: Resource,
    /// Contents by attribute; they become `Attr::Content` when the site is put together.
    pub bodies: Vec<(String, Body)>,
    pub role: String,
    /// Node in the pack.
    pub pack: Option<Span>,
    /// Where the topology asked for it.
    pub asked: Span,
}

/// A role on a server, with what stays the same while it is expanded.
pub struct Place<'a> {
    pub topology: &'a Topology,
    pub sources: &'a Sources,
    pub server: &'a str,
    pub pack: &'a Pack,
    pub role: &'a RoleDef,
    /// The word in the server's `roles`.
    pub asked: Span,
    pub protect: bool,
    pub settings: &'a Settings,
    /// Groups that every file, command and service of the role waits for.
    pub waits_for: Vec<Dependency>,
}

impl Place<'_> {
    pub fn group(&self) -> String {
        format!("server.{}/{}", self.server, self.role.name.value)
    }

    /// All resources of the role.
    pub fn expand(&self, data: &mut Data, engine: &mut Engine<'_>, diagnostics: &mut Diagnostics) -> Vec<Wanted> {
        let mut out = Vec::new();
        for def in &self.role.resources {
            if !holds(def.when.as_ref(), data.json(), diagnostics) {
                continue;
            }
            for item in items(def.each.as_ref(), data.json(), diagnostics) {
                let each = item.is_some();
                if let Some(item) = item {
                    data.set_item(item);
                }
                for key in &def.keys {
                    match self.resource(def, key, data, engine) {
                        Ok(wanted) => out.extend(wanted),
                        Err(d) => diagnostics.push(*d),
                    }
                }
                if each {
                    data.clear_item();
                }
            }
        }
        out
    }

    /// `Ok(None)` when its template is broken, which has been reported.
    fn resource(
        &self,
        def: &ResourceDef,
        key: &Spanned<String>,
        data: &mut Data,
        engine: &mut Engine<'_>,
    ) -> Result<Option<Wanted>, Box<Diagnostic>> {
        let spec = catalog::spec(def.kind);
        let plain = |text: &Spanned<String>, engine: &mut Engine<'_>, data: &Data| {
            let rendered = engine.text(text, data)?;
            if has_secret(&rendered) {
                return Err(Box::new(
                    Diagnostic::error("E1006", "a secret can only stand in content")
                        .label(text.span, "would be seen in plans and process lists"),
                ));
            }
            Ok(rendered)
        };
        let key_text = plain(key, engine, data)?;
        let host = HostName::from(self.server);
        let mut attrs = Attrs::new();
        let mut bodies = Vec::new();
        for (name, written) in &def.attrs {
            let content = spec.field(name).is_some_and(|f| f.compare == Compare::Content);
            let attr = match written {
                Written::Text(text) if content => {
                    bodies.push((name.clone(), Body { segments: segments(&engine.text(text, data)?) }));
                    continue;
                }
                Written::Text(text) => Attr::Text(plain(text, engine, data)?),
                Written::Int(i) => Attr::Int(*i),
                Written::Bool(b) => Attr::Bool(*b),
                Written::List(list) => {
                    let mut texts = Vec::new();
                    for t in list {
                        texts.push(plain(t, engine, data)?);
                    }
                    Attr::List(texts)
                }
            };
            attrs.insert(name.clone(), attr);
        }
        match &def.content {
            None => {}
            Some(ContentDef::Template(file)) => {
                let Some(id) = self.pack.templates.get(&file.value) else { return Ok(None) };
                let Some(rendered) = engine.file(*id, data) else { return Ok(None) };
                let rendered = self.overridden(def, rendered?)?;
                bodies.push(("content".into(), Body { segments: segments(&rendered) }));
            }
            Some(ContentDef::Inline(text)) => {
                let rendered = self.overridden(def, engine.text(text, data)?)?;
                bodies.push(("content".into(), Body { segments: segments(&rendered) }));
            }
            Some(ContentDef::Source(path)) => {
                let path = plain(path, engine, data)?;
                bodies.push(("content".into(), Body { segments: vec![Segment::LocalFile(path)] }));
            }
            Some(ContentDef::Program(name)) => {
                bodies.push(("content".into(), Body { segments: vec![Segment::Program(name.value.clone())] }));
            }
        }
        defaults(def.kind, &mut attrs);
        let mut notifies = Vec::new();
        for (list, how) in [(&def.reload, NotifyHow::Reload), (&def.restart, NotifyHow::Restart)] {
            for service in list {
                notifies.push(Notify { service: plain(service, engine, data)?, how });
            }
        }
        let mut after = if spec.stage >= 3 { self.waits_for.clone() } else { Vec::new() };
        after.extend(self.after(def, data, engine)?);
        let (owner, span) = self.owner(data.json());
        Ok(Some(Wanted {
            resource: Resource {
                address: Address::new(&host, def.kind, key_text),
                attrs,
                group: self.group(),
                stage: def.stage.unwrap_or(spec.stage),
                after,
                notifies,
                protect: self.protect,
                owner,
                origin: self.sources.origin(span),
            },
            bodies,
            role: self.role.name.value.clone(),
            pack: Some(def.span),
            asked: span,
        }))
    }

    fn overridden(&self, def: &ResourceDef, rendered: String) -> Result<String, Box<Diagnostic>> {
        match &def.overrides {
            None => Ok(rendered),
            Some(product) if product.value == "postfix" => Ok(override_main_cf(&rendered, self.settings.of("postfix"))),
            Some(product) => Err(Box::new(
                Diagnostic::error("E1003", format!("settings of `{}` cannot be merged into a file", product.value))
                    .label(product.span, "only postfix (main.cf) can")
                    .help(format!("loop over settings.{} in the template instead", product.value)),
            )),
        }
    }

    fn after(
        &self,
        def: &ResourceDef,
        data: &mut Data,
        engine: &mut Engine<'_>,
    ) -> Result<Vec<Dependency>, Box<Diagnostic>> {
        let mut out = Vec::new();
        for after in &def.after {
            let mut found = Diagnostics::default();
            if !holds(after.when.as_ref(), data.json(), &mut found) {
                if let Some(d) = found.iter().next() {
                    return Err(Box::new(d.clone()));
                }
                continue;
            }
            // An `each` here has its own item; the resource's own comes back after it.
            let outer = data.json().get("item").cloned();
            for item in items(after.each.as_ref(), data.json(), &mut found) {
                if let Some(item) = item {
                    data.set_item(item);
                }
                for target in &after.targets {
                    out.push(dependency(&engine.text(target, data)?));
                }
            }
            match outer {
                Some(item) => data.set_item(item),
                None => data.clear_item(),
            }
            if let Some(d) = found.iter().next() {
                return Err(Box::new(d.clone()));
            }
        }
        Ok(out)
    }

    /// Who asked: the node that an element of `each` names, else the server's role.
    fn owner(&self, data: &Json) -> (String, Span) {
        let of = |field: &str| data.get("item").and_then(|i| i.get(field)).and_then(Json::as_str);
        let owner = of("owner").map_or_else(|| format!("server:{}", self.server), str::to_owned);
        let node = of("node").and_then(|n| n.split_once(':')).map(|(kind, name)| NodeId::new(kind, name));
        let span = node.and_then(|id| self.topology.nodes.get(&id)).map_or(self.asked, |n| n.span);
        (owner, span)
    }
}

/// What every resource of a kind has, whether the pack says it or not.
fn defaults(kind: Kind, attrs: &mut Attrs) {
    let mut set = |name: &str, value: Attr| {
        attrs.set_default(name, value);
    };
    match kind {
        Kind::File | Kind::Directory | Kind::Binary | Kind::DnsZone => {
            set("owner", Attr::text("root"));
            set("group", Attr::text("root"));
            let executable = matches!(kind, Kind::Directory | Kind::Binary);
            set("mode", Attr::text(if executable { "0755" } else { "0644" }));
        }
        Kind::Unit => set("mode", Attr::text("0644")),
        Kind::Command => set("satisfied", Attr::Bool(true)),
        Kind::Firewall => set("loaded", Attr::Bool(true)),
        Kind::Timer => {
            set("enabled", Attr::Bool(true));
            set("running", Attr::Bool(true));
        }
        _ => {}
    }
}

fn dependency(text: &str) -> Dependency {
    match text.parse::<Address>() {
        Ok(address) => Dependency::Resource(address),
        Err(_) => Dependency::Group(text.to_owned()),
    }
}

/// `when=path` or `when="!path"`.
pub fn holds(when: Option<&Spanned<String>>, data: &Json, diagnostics: &mut Diagnostics) -> bool {
    let Some(when) = when else { return true };
    let (path, negated) = when.value.strip_prefix('!').map_or((when.value.as_str(), false), |p| (p, true));
    match lookup(data, path) {
        Some(value) => truthy(value) != negated,
        None => {
            diagnostics.push(unknown_path(path, when.span, data));
            false
        }
    }
}

/// The elements of `each=path`; without one, a single round with no item.
fn items(each: Option<&Spanned<String>>, data: &Json, diagnostics: &mut Diagnostics) -> Vec<Option<Json>> {
    let Some(each) = each else { return vec![None] };
    match lookup(data, &each.value) {
        Some(Json::Array(list)) => list.iter().cloned().map(Some).collect(),
        Some(Json::Null) => Vec::new(),
        Some(_) => {
            diagnostics.push(
                Diagnostic::error("E1005", format!("`{}` is no list", each.value))
                    .label(each.span, "each= takes a list"),
            );
            Vec::new()
        }
        None => {
            diagnostics.push(unknown_path(&each.value, each.span, data));
            Vec::new()
        }
    }
}

fn unknown_path(path: &str, span: Span, data: &Json) -> Diagnostic {
    let d = Diagnostic::error("E1005", format!("no variable `{path}`")).label(span, "unknown");
    match help_for(data, path) {
        Some(help) => d.help(help),
        None => d,
    }
}
