//! What lets receivers believe a sender: SPF, DKIM and DMARC.

pub(super) mod dkim;
pub(super) mod dmarc;
pub(super) mod spf;
