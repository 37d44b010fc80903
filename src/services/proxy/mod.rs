//! The migration proxy for IMAP, POP3 and submission: takes the login, finds the user's side, passes everything through.
//!
//! ```text
//! client ──▶ front (session/) ──login──▶ rewrite ──▶ route ──▶ back (session/) ──▶ backend
//!               pure machines: octets in, octets and asks out            then both ways, unread
//! ```

pub mod aside;
pub mod config;
pub mod control;
pub mod directory;
pub mod handle;
pub mod hub;
pub mod limits;
pub mod meter;
pub mod proof;
pub mod record;
pub mod rewrite;
pub mod route;
pub mod router;
pub mod serve;
pub mod session;
pub mod socketmap;
mod source;
pub mod store;
pub mod trigger;
