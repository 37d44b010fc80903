//! Rights of others in a mailbox.

use serde::Serialize;

/// What one name may do in one folder (RFC 4314).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// As [`crate::services::cms::mailbox::FolderPath::key`] gives it.
    pub folder: String,
    pub who: String,
    /// Letters of RFC 4314, sorted.
    pub rights: String,
}
