//! Secret values: held in memory only, wiped on drop, never printed.
pub use secrecy::{ExposeSecret, SecretString};
