//! Exchange as data: kinds of objects in KDL (`modules/exchange/`), values as the product returns them in one form, and a wish
//! against what is there as a list of calls. Pure: nothing here asks or changes a server.

mod built_in;
pub mod dialect;
pub mod diff;
pub mod far;
mod read;
pub mod script;
pub mod value;
mod version;
pub mod wished;

pub use built_in::{FILES, built_in};
pub use read::read;
pub use version::{Release, Releases};
