//! Baselines held against hosts: what is to be asked, one script a host, and what the answers mean.
//!
//! ```text
//! topology ──wish──▶ questions ──script──▶ one round trip a host ──answers──▶ judge ──▶ items
//! ```
//!
//! What is wanted never goes to a host: it says what is there, and the decision is made here.

mod ask;
mod incident;
mod judge;
mod script;
mod wish;

pub use ask::{Course, ask};
pub use incident::{End, Event, Incident, Known, Place, alerts, ticket};
pub use judge::Found;
pub use script::{Answers, script};
pub use wish::{Question, Wanted, Wish, wish};
