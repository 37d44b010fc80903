//! What runs for itself and is deployed by the others: services.

pub mod cms;
pub mod proxy;
