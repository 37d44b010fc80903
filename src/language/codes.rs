//! Every code of the language: what it means, what to do, an example. `tests/it/errors.rs` holds that no code is missing here, that
//! each example brings about its code, and that docs/errors.md is made of this.

mod overlay;
mod structure;
mod syntax;
mod value;

use crate::model::code::Chapter;

/// In the order of the numbers.
pub const CHAPTERS: &[Chapter] = &[
    Chapter { title: "Files and syntax", codes: syntax::CODES },
    Chapter { title: "Nodes and fields", codes: structure::CODES },
    Chapter { title: "Values", codes: value::VALUES },
    Chapter { title: "Names, references and ranges", codes: value::NAMES },
    Chapter { title: "Environments and overlays", codes: overlay::OVERLAYS },
    Chapter { title: "Modules and variables", codes: overlay::MODULES },
    Chapter { title: "Versions, secrets, duties and phases", codes: overlay::POLICY },
];
