//! `cutover-cms`, the content migration service: moves mailboxes from legacy to new, resumable and provable.
//!
//! ```text
//! [`source`] ──[`mailbox`] types──▶ mover ──▶ [`target`]
//!                                    │
//!                                 ledger (intent before each append, record after it)
//! ```
//!
//! A source only reads; a target writes what the ledger has announced. Neither knows the ledger, and neither retries: a fault
//! says of which class it is ([`mailbox::Class`]), and the mover decides.

pub mod audit;
pub mod config;
pub mod contacts;
pub mod custom;
pub mod ews;
pub mod imap;
pub mod jmap;
pub mod ledger;
pub mod lmtp;
pub mod mailbox;
pub mod maildir;
pub mod managesieve;
pub mod mbox;
pub mod meter;
pub mod mover;
pub mod people;
pub mod personal;
pub mod pop3;
pub mod preflight;
pub mod queue;
pub mod report;
pub mod service;
pub mod source;
pub mod target;
pub mod wire;
