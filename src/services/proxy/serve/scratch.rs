//! Buffers that the connections of a thread share. Nobody keeps them over a wait, so one set serves any number of connections.

use std::cell::Cell;

use zeroize::Zeroize as _;

use super::secure::{RECORD, Sheet};

/// Octets that are read at once.
pub(super) const READ: usize = 64 * 1024;

pub(super) struct Scratch {
    /// A record that is not whole yet, then what was read.
    pub(super) raw: Vec<u8>,
    /// Decrypted.
    pub(super) plain: Sheet,
    /// For the peer that is written to.
    pub(super) out: Sheet,
    /// For the peer that is read from: what TLS itself has to say.
    pub(super) back: Sheet,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Lends the buffers of this thread.
pub(super) fn with<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    let mut scratch = SCRATCH.take().unwrap_or_else(|| {
        Box::new(Scratch {
            raw: vec![0; READ + RECORD],
            plain: Sheet::default(),
            out: Sheet::default(),
            back: Sheet::default(),
        })
    });
    scratch.plain.clear();
    scratch.out.clear();
    scratch.back.clear();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// Wipes what a login may have left, in the first `raw` octets of what was read and in what was decrypted: a password stays nowhere
/// longer than it must.
pub(super) fn wipe(raw: usize) {
    with(|scratch| {
        scratch.raw[..raw].zeroize();
        scratch.plain.wipe();
    });
}
