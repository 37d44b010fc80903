//! Protocols as machines of their own, apart from what they are used for.

pub mod dns;
pub mod imap;
pub mod ldap_filter;
pub mod ldif;
pub mod line;
pub mod master;
pub mod sasl;
pub mod sieve;
pub mod vcard;
