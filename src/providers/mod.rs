//! Observes and applies resources on hosts and in zones; twins of `catalog`.
//!
//! The far side is a small library in POSIX sh (`sh/`), sent by standard input with each request. Here its scripts are put
//! together and its answers read. Zones have no far side of ours: `zone` speaks DNS to their primary. People are moved by
//! whoever has gates and content service within reach (`people`).

pub mod agent;
mod agents;
mod answer;
pub mod exchange;
mod inputs;
mod ledger;
mod observe;
pub mod people;
mod record;
mod render;
mod script;
pub mod scripted;
pub mod shell;
mod zone;

pub use agents::Agents;
pub use shell::{Settings, ShellAgent};
pub use zone::delegated;
