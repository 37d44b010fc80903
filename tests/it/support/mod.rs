//! What flow tests stand on.
#![allow(clippy::print_stderr)] // a test says why it does not run
#![allow(dead_code)] // each flow uses its own part of it

pub mod answers;
pub mod candidates;
pub mod cyrus;
pub mod directories;
pub mod dovecot;
pub mod editor;
pub mod ends;
pub mod exchange;
pub mod exchange_simulation;
pub mod fate;
pub mod gate;
pub mod json_schema;
pub mod lab;
pub mod life;
pub mod mover;
pub mod nameserver;
pub mod proxy;
pub mod radicale;
pub mod relay;
pub mod steps;
pub mod wire;
