//! The host's ledger of what cutover made there: one small file a resource, read by the scripts and by us.
//!
//! ```text
//! O <tab> kind <tab> key <tab> inputs of the look …
//! J <tab> {"kind": …, "key": …, "owner": …}
//! ```

use crate::model::Digest;
use crate::model::observed::Owned;
use crate::model::step::Step;

use super::inputs::Inputs;

/// Name of a resource's file.
pub fn id(kind: &str, key: &str) -> String {
    Digest::of(format!("{kind}:{key}").as_bytes()).0[..32].to_owned()
}

/// Text of the entry that a step leaves.
pub fn entry(step: &Step) -> String {
    let owned = Owned {
        kind: step.address.kind,
        key: step.address.key.clone(),
        owner: step.owner.clone(),
        attrs: step.attrs.clone(),
        notifies: step.notifies.clone(),
        protect: step.protect,
    };
    let inputs = Inputs::of(owned.kind, &owned.key, &owned.attrs);
    let json = serde_json::to_string(&owned).unwrap_or_default();
    format!("O\t{}\nJ\t{json}", inputs.row(false))
}

/// Reads the JSON of an entry.
pub fn read(json: &str) -> Result<Owned, String> {
    serde_json::from_str(json).map_err(|e| format!("an entry of the host's ledger cannot be read: {e}"))
}
