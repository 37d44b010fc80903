//! One resource: what is wanted against what was found.

use crate::catalog::{self, Compare, FieldSpec};
use crate::model::attr::{Attr, Attrs};
use crate::model::observed::{Owned, Record};
use crate::model::resource::Resource;
use crate::model::step::{Action, FieldChange};
use crate::model::{Address, Kind};

use super::error::PlanError;

pub const SENSITIVE: &str = "(sensitive)";

/// What has to be done to one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub action: Action,
    pub fields: Vec<FieldChange>,
    pub reason: String,
}

impl Change {
    /// The step leaves the service freshly started.
    pub fn starts(&self) -> bool {
        self.fields.iter().any(|f| f.field == "running" && f.after.as_deref() == Some("true"))
    }

    /// The step stops the service.
    pub fn stops(&self) -> bool {
        self.fields.iter().any(|f| f.field == "running" && f.after.as_deref() == Some("false"))
    }
}

/// Compares a desired resource with its record. `owned` is the ledger's entry, when the host has one.
pub fn compare(r: &Resource, record: &Record, owned: Option<&Owned>) -> Result<Option<Change>, PlanError> {
    let kind = r.address.kind;
    if kind == Kind::Command {
        return Ok(command(r, record));
    }
    if kind == Kind::Wave {
        return Ok(super::waves::change(r, record));
    }
    let spec = catalog::spec(kind);
    let mut fields = Vec::new();
    for field in spec.fields {
        let desired = r.attrs.get(field.name).or(implied(kind, field.name));
        if let Some(Attr::Content(c)) = desired
            && c.digest.is_none()
        {
            return Err(PlanError::Unsealed(r.address.clone()));
        }
        let Some(desired) = desired else { continue };
        let found = if field.compare == Compare::Input {
            // Where it stands cannot be seen at the new place; the ledger knows the old one.
            match owned.and_then(|o| o.attrs.get(field.name)) {
                Some(found) if field.replaces => Some(found),
                _ => continue,
            }
        } else {
            record.attrs.get(field.name)
        };
        let input = field.compare == Compare::Input;
        if (record.present || input) && catalog::same(field.compare, desired, found) {
            continue;
        }
        fields.push(FieldChange {
            field: field.name.to_owned(),
            before: found.filter(|_| record.present || input).map(|a| shown(&r.address, field, Some(desired), a)),
            after: Some(shown(&r.address, field, Some(desired), desired)),
            forces_replacement: field.replaces && (record.present || input),
        });
    }
    let replaces = fields.iter().any(|f| f.forces_replacement);
    Ok(match (record.present, replaces) {
        (_, true) => {
            let why = names(fields.iter().filter(|f| f.forces_replacement));
            Some(Change { action: Action::Replace, reason: format!("{why} cannot change in place"), fields })
        }
        (false, false) => Some(Change { action: Action::Create, reason: format!("{kind} missing"), fields }),
        (true, false) if fields.is_empty() => None,
        (true, false) => {
            let reason = match fields.as_slice() {
                [f] if f.field == "running" && f.after.as_deref() == Some("true") => "not running".to_owned(),
                [f] if f.field == "loaded" => "not loaded".to_owned(),
                [f] => format!("{} differs", f.field),
                many => format!("{} differ", names(many)),
            };
            Some(Change { action: Action::Update, reason, fields })
        }
    })
}

/// The same resource under the key of a new name: the host's ledger learns it, and forgets the former one.
pub fn renamed(change: Option<Change>, former: &Owned, r: &Resource) -> Change {
    let key = FieldChange {
        field: "key".to_owned(),
        before: Some(former.key.clone()),
        after: Some(r.address.key.clone()),
        forces_replacement: false,
    };
    let reason = format!("renamed from {}:{}", former.kind, former.key);
    match change {
        Some(mut c) => {
            c.fields.insert(0, key);
            c.reason = format!("{reason}; {}", c.reason);
            c
        }
        None => Change { action: Action::Update, fields: vec![key], reason },
    }
}

fn names<'a>(fields: impl IntoIterator<Item = &'a FieldChange>) -> String {
    fields.into_iter().map(|f| f.field.as_str()).collect::<Vec<_>>().join(", ")
}

fn command(r: &Resource, record: &Record) -> Option<Change> {
    if record.attrs.get("satisfied").and_then(Attr::as_bool) == Some(true) {
        return None;
    }
    let text = |name: &str| r.attrs.get(name).map(Attr::to_string);
    let reason = match (text("creates"), text("unless"), text("once")) {
        (Some(path), _, _) => format!("{path} is not there"),
        (_, Some(line), _) => format!("`{line}` does not succeed"),
        _ => "has not run yet".to_owned(),
    };
    let run = FieldChange { field: "run".to_owned(), before: None, after: text("run"), forces_replacement: false };
    Some(Change { action: Action::Run, fields: vec![run], reason })
}

/// Wanted whether or not the pack says so (the catalog: "always wanted true").
fn implied(kind: Kind, field: &str) -> Option<&'static Attr> {
    static TRUE: Attr = Attr::Bool(true);
    (kind == Kind::Firewall && field == "loaded").then_some(&TRUE)
}

/// A value as people may see it.
fn shown(address: &Address, field: &FieldSpec, desired: Option<&Attr>, value: &Attr) -> String {
    let sensitive = matches!(desired, Some(Attr::Content(c)) if c.sensitive)
        // A password hash can be attacked offline: it is nobody's to read.
        || (address.kind == Kind::MailAccount && field.name == "password");
    match value {
        _ if sensitive => SENSITIVE.to_owned(),
        // Records hold blanks themselves.
        Attr::List(data) if address.kind == Kind::RecordSet => data.join(" | "),
        value => value.to_string(),
    }
}

/// Fields of a resource that goes: what was found last.
pub fn vanishing(address: &Address, record: &Record) -> Vec<FieldChange> {
    let spec = catalog::spec(address.kind);
    spec.fields
        .iter()
        .filter(|f| f.compare == Compare::Exact || (address.kind == Kind::RecordSet && f.compare == Compare::Set))
        .filter_map(|f| {
            let before = record.attrs.get(f.name)?;
            Some(FieldChange {
                field: f.name.to_owned(),
                before: Some(shown(address, f, None, before)),
                after: None,
                forces_replacement: false,
            })
        })
        .collect()
}

/// True when content of these attributes may not be shown.
pub fn hides_content(attrs: &Attrs) -> bool {
    attrs.values().any(|a| matches!(a, Attr::Content(c) if c.sensitive))
}
