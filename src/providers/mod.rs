//! Observes and applies resources on hosts; twins of `catalog`.
//!
//! The far side is a small library in POSIX sh (`sh/`), sent by standard input with each request. Here its scripts are put
//! together and its answers read.

pub mod agent;
mod answer;
mod inputs;
mod ledger;
mod observe;
mod record;
mod render;
mod script;
pub mod scripted;
pub mod shell;

pub use shell::{Settings, ShellAgent};
