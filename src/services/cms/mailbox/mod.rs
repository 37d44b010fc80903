//! What moves, as plain data: folders, messages, flags, dates, and what can go wrong. No sockets, no disk but the spool.

mod access;
mod content;
mod fault;
mod flags;
mod folder;
mod message;
mod space;

pub use access::Access;
pub use content::{Budget, Content, IN_MEMORY, Share, Spool};
pub use fault::{Class, Fault};
pub use flags::Flags;
pub use folder::{Beside, Folder, FolderPath, Mark, SpecialUse};
pub use message::{Changes, Date, Fetched, Id, Message, Seen, Sha256};
pub use space::Space;
