//! Ground floor: plain data that every other floor takes and returns. No I/O, no clock, no randomness.

pub mod act;
pub mod address;
pub mod attr;
mod attrs;
pub mod audit;
pub mod capacity;
pub mod code;
pub mod counter;
pub mod course;
pub mod cutover;
pub mod diagnostic;
pub mod dns;
pub mod event;
pub mod fields;
pub mod glyph;
pub mod host;
pub mod observed;
pub mod pack;
pub mod plan;
pub mod reader;
pub mod resource;
pub mod site;
pub mod source;
pub mod step;
pub mod suggest;
pub mod topology;
pub mod tree;
pub mod trigger;
pub mod unit;
pub mod version;
pub mod written;

pub use address::{Address, HostName, Kind};
pub use attr::{Attr, Attrs, Body, Content, Digest, SecretRef, Segment};
pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use source::{Origin, SourceId, Sources, Span, Spanned};
