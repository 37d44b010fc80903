//! The areas, and with them the order of rules in every list.

use super::{Area, mailflow, reach};

/// Area numbers are the first two digits of the codes.
pub const AREAS: &[Area] = &[
    Area { title: "Hosts and how they are reached", rules: reach::RULES },
    Area { title: "The way of the mail", rules: mailflow::RULES },
];
