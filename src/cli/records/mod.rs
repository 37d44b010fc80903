//! Records, the repository that they are in, and what both say of gates: the side of [`crate::process`] that reads and writes.
//!
//! ```text
//! records/ ──store──▶ signed by which key ─┐
//! git ──deciders──▶ who decided when ──────┼──process::trust──▶ whose signatures count ──process::board──▶ gates, phases
//! topology ──intent──▶ what is signed ─────┘
//! ```

mod deciders;
mod git;
pub mod intent;
pub mod signature;
mod signer;
mod standing;
mod store;

pub use git::Repository;
pub use intent::Intent;
pub use signer::{Signer, SignerArgs};
pub use standing::Standing;
pub use store::{Store, write};
