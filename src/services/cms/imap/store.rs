//! Flags set and messages removed in the open folder.

use std::collections::BTreeMap;

use super::{Part, Session};
use crate::protocol::imap::sequence::Set;
use crate::services::cms::mailbox::{Class, Fault, Flags, Id};

/// UIDs of one command, so that its line stays short.
const EACH: usize = 500;

impl Session {
    pub async fn set_flags(&mut self, flags: &[(Id, Flags)]) -> Result<(), Fault> {
        self.opened()?;
        let mut by_flags: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (id, flags) in flags {
            if let Some(uid) = id.number() {
                by_flags.entry(flags.to_string()).or_default().push(uid);
            }
        }
        let mut commands = Vec::new();
        for (words, mut uids) in by_flags {
            uids.sort_unstable();
            for chunk in uids.chunks(EACH) {
                commands.push(format!("UID STORE {} FLAGS.SILENT ({words})", Set::of(chunk.iter().copied())));
            }
        }
        self.all(&commands, "UID STORE").await
    }

    pub async fn remove(&mut self, ids: &[Id]) -> Result<(), Fault> {
        self.opened()?;
        if !self.abilities.removes {
            return Err(self.says("single messages cannot be removed there (no UIDPLUS)", Class::Unsupported));
        }
        let mut uids: Vec<u32> = ids.iter().filter_map(Id::number).collect();
        uids.sort_unstable();
        let mut commands = Vec::new();
        for chunk in uids.chunks(EACH) {
            let set = Set::of(chunk.iter().copied());
            commands.push(format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"));
            commands.push(format!("UID EXPUNGE {set}"));
        }
        self.all(&commands, "UID EXPUNGE").await
    }

    /// Sends commands a few at a time; the first refusal is told after all are answered.
    async fn all(&mut self, commands: &[String], doing: &str) -> Result<(), Fault> {
        let mut refused = None;
        for some in commands.chunks(16) {
            let mut tags = Vec::new();
            for command in some {
                tags.push(self.begin(&[Part::Text(command)]).await?);
            }
            self.stream.flush().await?;
            for tag in tags {
                let done = self.finish(&tag, |_| {}).await?;
                if !done.is_ok() && refused.is_none() && !done.says("EXPUNGEISSUED") {
                    refused = Some(self.fault(&done, &format!("{doing} in {}", self.where_open()), Class::Busy));
                }
            }
            if let Some(fault) = refused.take() {
                return Err(fault);
            }
            self.opened()?;
        }
        Ok(())
    }
}
