//! Zones and their records.

pub(super) mod delegation;
pub(super) mod delivery;
pub(super) mod shape;
