//! Sieve scripts and neutral rules: one read as the other. What the neutral form does not hold is named with the script's words; a rule
//! of which a part cannot be said is left as a whole, because half of its conditions would meet other mail.

mod away;
mod read;
mod rewrite;
mod tests_of;
mod write;

pub use read::{Neutral, read};
pub use rewrite::{missing, redirects, refolder};
pub use write::{Written, script};
