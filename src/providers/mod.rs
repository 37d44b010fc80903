//! Observes and applies resources on hosts; twins of `catalog`.

pub mod agent;
