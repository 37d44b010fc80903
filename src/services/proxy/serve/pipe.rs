//! Octets from socket to socket without passing through this process (splice(2)). A pipe is taken while much flows and given
//! back when nothing does; a thread keeps a few for the next time.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Room of a pipe. Each part of a packet takes a page of it, so that the kernel's own 64 KiB are soon full.
const ROOM: usize = 256 * 1024;
/// Pipes that a thread keeps: two file descriptors each.
const KEPT: usize = 16;

pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

impl Pipe {
    /// Nothing when the system gives none: octets are copied then.
    pub(super) fn take() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(|| {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            // A user may not have many large ones (pipe(7), pipe-user-pages-soft); a small one does too.
            let _ = fcntl_setpipe_size(&write, ROOM);
            Some(Self { read, write, held: 0 })
        })
    }

    /// Gives it back; it must be empty.
    pub(super) fn give(self) {
        if self.held == 0 {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(self);
                }
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// From a socket; 0 is its end. Only while empty, so that `WouldBlock` is about the socket.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let n = splice(from, None, &self.write, None, ROOM, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.held += n;
        Ok(n)
    }

    /// To a socket.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let n = splice(&self.read, None, to, None, self.held, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?;
        self.held -= n;
        Ok(n)
    }
}
