//! Resources of all roles of all servers together: the same wish twice is one resource, two different wishes are an error.

use std::collections::BTreeMap;

use crate::model::resource::Resource;
use crate::model::{Address, Attr, Body, Content, Diagnostic, Diagnostics, Digest, Span};

use super::expand::Wanted;

/// A resource with all who asked for it.
pub struct Entry {
    pub resource: Resource,
    pub bodies: Vec<(String, Body)>,
    /// Further groups that share it.
    pub also: Vec<String>,
    role: String,
    pack: Option<Span>,
    asked: Span,
}

#[derive(Default)]
pub struct Merged {
    pub entries: BTreeMap<Address, Entry>,
}

impl Merged {
    pub fn add(&mut self, wanted: Wanted, diagnostics: &mut Diagnostics) {
        let Wanted { resource, bodies, role, pack, asked } = wanted;
        let Some(first) = self.entries.get_mut(&resource.address) else {
            let entry = Entry { bodies, also: Vec::new(), role, pack, asked, resource };
            self.entries.insert(entry.resource.address.clone(), entry);
            return;
        };
        if let Some(difference) = difference(first, &resource, &bodies) {
            let d = Diagnostic::error(
                "E1016",
                format!("roles {} and {role} want {} differently: {difference}", first.role, resource.address),
            )
            .label(asked, format!("{role} is asked for here"))
            .label(first.asked, format!("{} is asked for here", first.role));
            let d = match pack {
                Some(span) => d.label(span, format!("what {role} wants")),
                None => d,
            };
            let d = match first.pack {
                Some(span) => d.label(span, format!("what {} wants", first.role)),
                None => d,
            };
            diagnostics.push(d.help("put the roles on different servers, or write an own pack that serves both"));
            return;
        }
        for notify in resource.notifies {
            if !first.resource.notifies.contains(&notify) {
                first.resource.notifies.push(notify);
            }
        }
        for after in resource.after {
            if !first.resource.after.contains(&after) {
                first.resource.after.push(after);
            }
        }
        first.resource.protect |= resource.protect;
        if resource.group != first.resource.group && !first.also.contains(&resource.group) {
            first.also.push(resource.group);
        }
    }

    /// Resources with contents by digest, and the contents.
    pub fn finish(self) -> (Vec<Resource>, BTreeMap<Digest, Body>) {
        let mut contents = BTreeMap::new();
        let resources = self.entries.into_values().map(|entry| {
            let mut resource = entry.resource;
            for (name, body) in entry.bodies {
                let id = body.intent();
                let content = Content { id: id.clone(), digest: None, sensitive: body.sensitive() };
                resource.attrs.insert(name, Attr::Content(content));
                contents.insert(id, body);
            }
            resource.after.sort();
            resource.after.dedup();
            resource.notifies.sort();
            resource.notifies.dedup();
            resource
        });
        (resources.collect(), contents)
    }
}

/// What differs, in words; `None` when both wish the same.
fn difference(first: &Entry, second: &Resource, bodies: &[(String, Body)]) -> Option<String> {
    let names = first.resource.attrs.keys().chain(second.attrs.keys());
    for name in names {
        let (a, b) = (first.resource.attrs.get(name), second.attrs.get(name));
        if a != b {
            let shown = |v: Option<&Attr>| v.map_or("unset".to_owned(), |v| format!("`{v}`"));
            return Some(format!("{name} is {} and {}", shown(a), shown(b)));
        }
    }
    (first.bodies != bodies).then(|| "the contents are not the same".to_owned())
}
