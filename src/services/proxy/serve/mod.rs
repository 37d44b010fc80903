//! The proxy as a program that serves: sockets, TLS, threads, and how it starts, changes and ends without losing anybody.
//!
//! ```text
//! listen ──accept──▶ connection: header? ─▶ TLS? ─▶ front ─▶ router ─▶ servers/back ─▶ relay (both ways, until both have ended)
//!    ▲                                  └───────── wire ─────────┘                      └ end, end
//!   run: signals, reload, drain, hand-over                    end = socket + secure (TLS), buffers: scratch, one set a thread
//! ```

mod connection;
mod end;
pub mod handover;
mod header;
mod listen;
mod pipe;
mod relay;
mod run;
mod scratch;
mod secure;
mod servers;
pub mod setup;
pub mod tls;
mod wire;

pub use listen::Named;
pub use run::{Given, run};
