//! Role packs as loaded from disk or from the binary, before `lowering::pack` reads them.

use std::collections::BTreeMap;

use super::source::SourceId;
use super::tree::Tree;

/// One folder `modules/<name>/`: its parsed `module.kdl` and its template files.
#[derive(Debug, Clone)]
pub struct PackSource {
    pub name: String,
    /// True for packs built into the program; a user's pack of the same role and platform replaces them.
    pub built_in: bool,
    pub nodes: Vec<Tree>,
    /// File name under `templates/` to its source.
    pub templates: BTreeMap<String, SourceId>,
}
