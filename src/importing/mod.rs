//! What others wrote down about an organisation, as KDL: an Ansible inventory, a CSV of servers, a BIND zone file, a CSV or LDIF of
//! users. Each importer reads all of its input before it answers, tells every mistake with its line, and says in comments what it
//! left out. Secrets in the input are neither copied nor shown.

mod ansible;
mod codes;
mod foreign;
mod ldif;
mod quoting;
mod server;
mod table;
mod users;
mod zone;

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::{Diagnostics, Sources};

pub use codes::CHAPTERS;
pub use server::ServerOptions;
pub use users::UserOptions;
pub use zone::ZoneOptions;

/// KDL that is not laid out yet, and the files that go with it.
#[derive(Debug, Default, PartialEq)]
pub struct Imported {
    pub kdl: String,
    /// Path relative to the topology's folder, content.
    pub files: BTreeMap<String, String>,
    /// What was found, in a line.
    pub summary: String,
}

/// What reading came to: mistakes mean that there is nothing to write.
#[derive(Debug)]
pub struct Outcome {
    pub sources: Sources,
    pub diagnostics: Diagnostics,
    pub imported: Option<Imported>,
}

/// An Ansible inventory, INI or YAML, with the `group_vars` and `host_vars` beside it.
pub fn ansible(path: &Path, options: &ServerOptions) -> Outcome {
    foreign::read(path, |f, id| ansible::import(f, id, path, options))
}

/// A CSV with one server a line and a header.
pub fn servers(path: &Path, options: &ServerOptions) -> Outcome {
    foreign::read(path, |f, id| table::import(f, id, options))
}

/// A zone in the master file format (RFC 1035, section 5; RFC 2308, section 4 for `$TTL`), as BIND, NSD and Knot read it.
pub fn zone(path: &Path, options: &ZoneOptions) -> Outcome {
    foreign::read(path, |f, id| zone::import(f, id, path, options))
}

/// A zone that a name server transferred, written out as a zone file; `server` stands where a file would be named.
pub fn transferred(server: &str, text: &str, options: &ZoneOptions) -> Outcome {
    foreign::given(server, text, |f, id| zone::import(f, id, Path::new(server), options))
}

/// Users, of a CSV with a header or of an LDIF (RFC 2849) when the file's name ends in `.ldif`.
pub fn users(path: &Path, options: &UserOptions) -> Outcome {
    let ldif = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("ldif"));
    foreign::read(path, |f, id| users::import(f, id, ldif, options))
}
