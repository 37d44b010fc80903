//! The move of people: the routes of the gates and the mailboxes of the content service, held together.
//!
//! ```text
//! who ──▶ Standing (route on each gate + phase of the mailbox) ──▶ what is to be done ──▶ hold ─ final ─ release
//! ```
//!
//! Nothing is remembered here: where somebody stands is asked, so that a move that was cut off at any point goes on from what is true.
//! How gates and the service are reached is the caller's ([`gates::Gates`], [`content::Content`]).

pub mod content;
pub mod gates;
pub mod standing;
pub mod transfer;
pub mod wave;
