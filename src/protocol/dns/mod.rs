//! DNS on the wire: questions to one server, zone transfers (RFC 5936), updates (RFC 2136), both signed with TSIG (RFC 8945).
//!
//! The only module that names `hickory_proto`. Its messages are used, its network layer is not: its transfer was seen to lose
//! records that a slow reader had not taken, and to say that all was well. Here a transfer is read message by message from a
//! stream of our own and is whole (opened and closed by the same SOA, every message signed) or an error.

pub mod data;
mod failure;
mod key;
mod question;
mod stream;
mod transfer;
mod update;

pub use failure::{DnsError, TsigTrouble};
pub use key::TsigKey;
pub use question::{Answer, Link, ask, ask_whole, resolve};
pub use transfer::{Transferred, newer, transfer};
pub use update::{Batch, ROOM, batches, size, update};
