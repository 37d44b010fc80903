//! KDL files to a checked [`Topology`](crate::model::topology::Topology).

mod scan;
pub mod syntax;

pub use syntax::parse;
