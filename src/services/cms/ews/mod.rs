//! Exchange Web Services as a source and as a target: Exchange 2007 SP1 and later on premises.
//!
//! Operations and properties are those of Microsoft's reference ([MS-OXWSCORE], [MS-OXWSFOLD], [MS-OXWSSYNC], [MS-OXWSSRCH] and the pages of EWS). Messages are
//! named by their item ids, folders by their folder ids, which stay through a rename. A folder's sync state is kept in its mark, so that a pass asks for what has changed.
//!
//! Exchange takes messages apart and builds them anew. As a target it therefore gets, beside each message, a property of ours: the SHA-256 of the octets, their
//! number, and the canonical digest of what the message says ([`canonical`]). What is read back is named by the first when it still says the same; a lost answer is
//! resolved by it. As a source its octets are what it builds.
//!
//! No Exchange was there to prove this on: requests and answers are held against Microsoft's schema, and the server of the tests against other clients of EWS.

mod append;
mod body;
mod canonical;
mod codes;
pub mod contacts;
mod fetch;
mod folders;
mod header;
mod html;
pub mod inbox;
mod items;
mod properties;
mod soap;
mod xml;

use self::soap::{Soap, Version};
use super::config::{End, Profile};
use super::mailbox::{Access, Beside, Class, Fault, Mark};
use super::target::Abilities;

/// One session: a login and the folder that is open.
#[derive(Debug)]
pub struct Ews {
    soap: Soap,
    abilities: Abilities,
    writes: bool,
    folder: Option<String>,
    /// Sync state of the open folder after what was listed last.
    reached: Option<String>,
    /// Folders that hold something else than mail, of the last listing.
    beside: Vec<Beside>,
}

impl Ews {
    /// A login that succeeds and finds no mailbox is [`Class::Login`].
    pub async fn connect(end: &End, access: &Access, writes: bool) -> Result<Self, Fault> {
        if end.profile == Profile::Exchange2003 {
            return Err(Fault::new(
                Class::Unsupported,
                "ews: Exchange 2003 has no Exchange Web Services; use kind = \"imap\"",
            ));
        }
        let abilities = Abilities { batch: 25, batch_octets: 1 << 20, ..Abilities::default() };
        let mut ews =
            Self { soap: Soap::open(end, access)?, abilities, writes, folder: None, reached: None, beside: Vec::new() };
        let root = ews.distinguished("msgfolderroot");
        ews.soap
            .settle(&format!(
                "<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape><m:FolderIds>{root}</m:FolderIds></m:GetFolder>"
            ))
            .await
            .map_err(|mut fault| {
                // Of its own mailbox an account sees the root: who does not has none.
                if matches!(fault.class, Class::Vanished) {
                    fault.class = Class::Login;
                }
                fault
            })?;
        Ok(ews)
    }

    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Whether the server can be told to send no receipts.
    fn is_2013(&self) -> bool {
        self.soap.version >= Version::Exchange2013
    }

    fn opened(&self) -> Result<&str, Fault> {
        self.folder.as_deref().ok_or_else(|| Fault::new(Class::Local, "no folder is open"))
    }

    pub fn beside(&self) -> Vec<Beside> {
        self.beside.clone()
    }

    /// The mark, with how far the last listing came.
    pub fn reached(&self, mark: Mark) -> Mark {
        Mark { state: self.reached.clone(), ..mark }
    }

    pub async fn close(self) {}
}
