//! Address books that a product exported as LDIF or CSV: one file, or a folder of them. Read only. The book is [`super::BOOK`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files::{content, of};
use super::{BOOK, Gathering, attributes, table};
use crate::services::cms::config::{End, Kind};
use crate::services::cms::mailbox::{Access, Class, Fault};
use crate::services::cms::personal::Listing;

#[derive(Debug)]
pub struct Exports {
    path: PathBuf,
    kind: Kind,
    columns: BTreeMap<String, String>,
}

impl Exports {
    pub fn open(end: &End, access: &Access) -> Result<Self, Fault> {
        let path = end.path_of(&access.user).map_err(|e| Fault::new(Class::Local, e))?;
        Ok(Self { path, kind: end.kind, columns: end.columns.clone() })
    }

    /// A file that is not there holds none.
    pub async fn list(&mut self) -> Result<Listing, Fault> {
        let mut gathering = Gathering::default();
        let endings: &[&str] = match self.kind {
            Kind::Ldif => &["ldif", "ldi"],
            _ => &["csv", "abook", "txt", "tsv"],
        };
        for file in of(&self.path, endings)? {
            let place = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let octets = content(&file)?;
            match self.kind {
                Kind::Ldif => attributes::gather(&octets, &place, BOOK, &mut gathering)?,
                _ => table::gather(&octets, &place, BOOK, &self.columns, &mut gathering)?,
            }
        }
        Ok(gathering.end())
    }
}
