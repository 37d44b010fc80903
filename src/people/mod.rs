//! Who moves and who has a mailbox: people of cohorts and of accounts, from the topology and the lists that it names.
//!
//! A list is a file beside the topology; whoever reads it hands in the reader, so that nothing here touches a disk. Rows stay where
//! they are: plans and records hold the [`Chosen::digest`] and the count.

mod accounts;
mod cohort;
pub mod directory;
mod list;
mod select;
pub mod wave;

pub use accounts::{Accounts, Group, Mailbox, Password, accounts};
pub use cohort::{Chosen, LeftOut, Member, Twice, Unasked, cohorts_of, everybody, few, named_here, twice};
pub use list::{ADDRESS_HEADERS, is_address, plain_header};
pub use select::{Read, Unaddressed};
