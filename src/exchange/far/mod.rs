//! What is asked of servers and told to them, and what they answer: built from the dialect, read strictly, sent by somebody else.
//!
//! ```text
//! wishes ──questions──▶ one request for the organisation, one a host ──observe.ps1──▶ answers ──gathered──▶ diff ──▶ calls
//! calls ──told──▶ one request ──act.ps1──▶ results ──ended──▶ what became of each call
//! ```

mod ended;
mod failure;
mod gathered;
mod questions;
mod told;

pub use ended::{End, ended};
pub use failure::Failure;
pub use gathered::{Gathered, Silence};
pub use questions::{Ask, Questions, Request, questions};
pub use told::{Untold, told};
