//! Record sets: a zone has other owners beside us, so what stands there is ours only when the ledger says so.

use crate::catalog::record_set::{self, fingerprint};
use crate::model::attr::Attr;
use crate::model::observed::{Owned, Record};
use crate::model::resource::Resource;
use crate::model::step::Action;

use super::diff::Change;

/// What becomes of a wanted record set.
pub enum Ruling {
    /// As for everything else; `None`: nothing to do.
    Go(Option<Change>),
    /// Goes, and a reader should know this.
    Told(Change, String),
    /// Must not go; the text says why and what to do.
    Blocked(String),
}

/// `change` is what the comparison alone would do.
pub fn rule(r: &Resource, record: &Record, owned: Option<&Owned>, change: Option<Change>) -> Ruling {
    let noted = |reason: &str| Change { action: Action::Update, fields: Vec::new(), reason: reason.to_owned() };
    match (owned, change) {
        (Some(owned), None) if !written(owned, &r.attrs) => {
            Ruling::Go(Some(noted("stands there as wanted already; the ledger learns it")))
        }
        (None, None) if record.present => {
            Ruling::Go(Some(noted("stands there as wanted already; cutover takes it into its ledger")))
        }
        (None, Some(change)) if record.present => {
            let found = record.fingerprint.trim_start_matches("record-set ");
            match r.attrs.get("adopt").and_then(Attr::as_bool) == Some(true) {
                true => {
                    let text = format!("was not made by cutover and is taken over (adopt): it was {found}");
                    Ruling::Told(change, text)
                }
                false => Ruling::Blocked(format!(
                    "was not made by cutover, and differs: {found} stands there. Write adopt=#true on the record to take it over, write \
                     what stands there, or take the record out of the topology"
                )),
            }
        }
        (_, change) => Ruling::Go(change),
    }
}

/// Whether the ledger holds that we wrote just this.
fn written(owned: &Owned, attrs: &crate::model::attr::Attrs) -> bool {
    record_set::of_attrs(&owned.key, &owned.attrs) == record_set::of_attrs(&owned.key, attrs)
}

/// Why a set of ours may not be taken away: somebody else has written there since.
pub fn keeps(owned: &Owned, record: &Record) -> Option<String> {
    let wrote = fingerprint(record_set::of_attrs(&owned.key, &owned.attrs).as_ref());
    (record.present && record.fingerprint != wrote).then(|| {
        let (wrote, found) =
            (wrote.trim_start_matches("record-set "), record.fingerprint.trim_start_matches("record-set "));
        format!("stays: cutover wrote {wrote}, and somebody else made it {found}")
    })
}
