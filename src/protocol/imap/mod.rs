//! IMAP before a login (RFC 9051, RFC 3501): commands of a client as they arrive, answers of a server.

pub mod command;
pub mod response;

pub use command::{Assembler, Command, Fault, Progress, Word};
pub use response::{Answers, Response, Status};
