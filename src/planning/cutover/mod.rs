//! The move of record sets from old to new so that no answer that anybody can still hold leads to a host that does not accept.
//!
//! ```text
//!        now                          start                              end
//!         │                             │          window                │
//!  publish│▒▒ N                         │                                │
//!    lower│████ all serve │ T old TTLs run out                           │
//!     flip│                             │██ all serve │ 2t old answers go│
//!   verify│                             │             ░░░░░░░░░░░░░░░░░░░│
//!    raise│                             │                                │██
//!    prune│                             │············ max(T, 5 days) ············▶
//! ```
//!
//! t: the short TTL. T: the longest TTL that a cache may hold of anything that leads to the old side. N: how long a cache remembers
//! that a name is not there (RFC 2308, section 5). L: how long the slowest secondary may take, its SOA refresh when it hears no
//! NOTIFY. Each wait is counted from the moment when the slowest name server was seen to serve the new state, never from when the
//! change was sent. No clock here: `now` is an input.

mod facts;
mod hold;
mod lane;
mod refusal;
mod rollback;
mod staged;
mod timeline;
mod union;

pub use facts::{Held, ZoneFacts};
pub use hold::{holds, keeps, narrows};
pub use refusal::Refusal;
pub use rollback::rollback;
pub use staged::{find, staged};
pub use timeline::{Part, Timeline, timeline};
