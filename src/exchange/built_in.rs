//! The dialect that the program brings: the files of `modules/exchange/`.

use super::dialect::Dialect;
use super::read::read;
use crate::language;
use crate::model::{Diagnostics, Sources};

macro_rules! files {
    ($($name:literal)*) => {
        &[$((concat!("modules/exchange/", $name, ".kdl"), include_str!(concat!("../../modules/exchange/", $name, ".kdl")))),*]
    };
}

/// A test holds this list against the folder.
pub static FILES: &[(&str, &str)] = files! {
    "addresses" "certificates" "client-access" "connectors" "dag" "databases" "domains" "edge" "federation" "migration"
    "organization" "policies" "rbac" "recipients" "servers" "transport" "um"
};

/// Reads it, with the places of its nodes in `sources`.
pub fn built_in(sources: &mut Sources, diagnostics: &mut Diagnostics) -> Dialect {
    let mut nodes = Vec::new();
    for (name, text) in FILES {
        let id = sources.add(format!("(built in) {name}"), *text);
        match language::parse(sources, id) {
            Ok(trees) => nodes.extend(trees),
            Err(errors) => errors.into_iter().for_each(|d| diagnostics.push(d)),
        }
    }
    read(&nodes, diagnostics)
}
