//! What runs for itself and is deployed by the others: services.

mod accept;
pub mod cms;
pub mod ldap;
pub mod probe;
pub mod proxy;
pub mod trust;
