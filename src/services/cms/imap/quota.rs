//! How much room a mailbox has.

use super::{Part, Session};
use crate::protocol::imap::answer::Answer;
use crate::services::cms::mailbox::{Class, Fault};

impl Session {
    /// Octets used and allowed, by the tightest quota root of the INBOX (RFC 9208). `None` where the server keeps none, or does not say.
    pub async fn quota(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        if !self.can("QUOTA") {
            return Ok(None);
        }
        let mut roots: Vec<(u64, u64)> = Vec::new();
        let done = self
            .ask(&[Part::Text("GETQUOTAROOT INBOX")], |answer| {
                if let Answer::Quota(resources) = answer {
                    let storage = resources.into_iter().filter(|(name, ..)| name == "STORAGE");
                    // In units of 1024 octets.
                    roots.extend(storage.map(|(_, used, all)| (used.saturating_mul(1024), all.saturating_mul(1024))));
                }
            })
            .await?;
        if !done.is_ok() {
            return Err(self.fault(&done, "GETQUOTAROOT", Class::Busy));
        }
        Ok(roots.into_iter().min_by_key(|(used, all)| all.saturating_sub(*used)))
    }
}
