//! IMAP (RFC 9051, RFC 3501). Before a login: commands of a client as they arrive, answers of a server ([`command`], [`response`]).
//! After it: what a server answers ([`answer`], [`value`]), and names, sets and dates as both sides write them.

pub mod answer;
pub mod command;
pub mod date;
pub mod name;
pub mod response;
pub mod sequence;
pub mod value;

pub use command::{Assembler, Command, Fault, Progress, Word};
pub use response::{Answers, Response, Status};
