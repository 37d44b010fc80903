//! Octets of a peer that nobody trusts yet, cut into lines that end with CR LF.
//!
//! Strict on purpose: a line that one program ends at a bare LF and the next one does not is how commands are smuggled
//! (CVE-2023-51764 and its kin). What is held is bounded, and wiped when it goes.

use zeroize::{Zeroize as _, Zeroizing};

/// Why the octets are no lines of a mail protocol. Nothing after it can be trusted: the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    #[error("a line is longer than {0} octets")]
    TooLong(usize),
    #[error("a line ends with LF alone; lines end with CR LF")]
    BareLf,
    #[error("a CR stands alone; lines end with CR LF")]
    BareCr,
    #[error("a line holds a NUL")]
    Nul,
}

/// Received octets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Lines {
    held: Zeroizing<Vec<u8>>,
    /// Of `held`, what is taken already.
    taken: usize,
    /// Of `held`, what holds no end of a line for certain.
    scanned: usize,
    bound: usize,
}

impl Lines {
    /// `bound` is in octets, of one line with its end.
    pub fn new(bound: usize) -> Self {
        Self { bound, ..Self::default() }
    }

    /// How many octets may be pushed now; 0 when a whole line has to be taken first.
    pub fn room(&self) -> usize {
        self.bound.saturating_sub(self.held.len() - self.taken)
    }

    pub fn is_empty(&self) -> bool {
        self.held.len() == self.taken
    }

    /// Takes octets in, at most [`Lines::room`] of them; says how many.
    pub fn push(&mut self, octets: &[u8]) -> usize {
        let n = octets.len().min(self.room());
        if self.taken > 0 {
            self.held.drain(..self.taken);
            self.scanned = self.scanned.saturating_sub(self.taken);
            self.taken = 0;
        }
        let needed = self.held.len() + n;
        if needed > self.held.capacity() {
            // A vector that grows by itself would leave what it held in freed memory.
            let mut larger = Vec::with_capacity(needed.next_power_of_two().max(512));
            larger.extend_from_slice(&self.held);
            self.held.zeroize();
            *self.held = larger;
        }
        self.held.extend_from_slice(&octets[..n]);
        n
    }

    /// The next line without its end; nothing while it is not whole.
    pub fn line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, LineFault> {
        let from = self.scanned.max(self.taken);
        for at in from..self.held.len() {
            match self.held[at] {
                0 => return Err(LineFault::Nul),
                b'\n' if at == self.taken || self.held[at - 1] != b'\r' => return Err(LineFault::BareLf),
                b'\n' => {
                    let line = Zeroizing::new(self.held[self.taken..at - 1].to_vec());
                    (self.taken, self.scanned) = (at + 1, at + 1);
                    return Ok(Some(line));
                }
                _ if at > self.taken && self.held[at - 1] == b'\r' => return Err(LineFault::BareCr),
                _ => {}
            }
        }
        self.scanned = self.held.len();
        if self.room() == 0 { Err(LineFault::TooLong(self.bound)) } else { Ok(None) }
    }

    /// The next `n` octets as they are; nothing while they are not all there. `n` is at most the bound.
    pub fn octets(&mut self, n: usize) -> Option<Zeroizing<Vec<u8>>> {
        let end = self.taken.checked_add(n).filter(|end| *end <= self.held.len())?;
        let found = Zeroizing::new(self.held[self.taken..end].to_vec());
        (self.taken, self.scanned) = (end, end);
        Some(found)
    }

    /// What was received and not taken.
    pub fn rest(&mut self) -> Zeroizing<Vec<u8>> {
        let rest = Zeroizing::new(self.held[self.taken..].to_vec());
        self.held.zeroize();
        (self.taken, self.scanned) = (0, 0);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(octets: &[u8], cuts: usize) -> Result<Vec<Vec<u8>>, LineFault> {
        let mut lines = Lines::new(64);
        let mut found = Vec::new();
        for part in octets.chunks(cuts) {
            let mut part = part;
            while !part.is_empty() {
                let n = lines.push(part);
                part = &part[n..];
                while let Some(line) = lines.line()? {
                    found.push(line.to_vec());
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        for cut in 1..20 {
            let found = all(b"a LOGIN x y\r\n\r\nb NOOP\r\n", cut).unwrap();
            assert_eq!(found, [b"a LOGIN x y".as_slice(), b"", b"b NOOP"], "{cut}");
        }
    }

    #[test]
    fn only_cr_lf_ends_a_line_wherever_it_is_cut() {
        for cut in 1..8 {
            assert_eq!(all(b"one\r\ntwo\nthree\r\n", cut), Err(LineFault::BareLf), "{cut}");
            assert_eq!(all(b"\n", cut), Err(LineFault::BareLf));
            assert_eq!(all(b"one\rtwo\r\n", cut), Err(LineFault::BareCr), "{cut}");
            assert_eq!(all(b"one\r\r\n", cut), Err(LineFault::BareCr), "{cut}");
            assert_eq!(all(b"o\0ne\r\n", cut), Err(LineFault::Nul), "{cut}");
        }
    }

    #[test]
    fn an_endless_line_ends_at_the_bound_and_takes_no_more_memory() {
        let mut lines = Lines::new(64);
        assert_eq!(lines.push(&[b'x'; 1000]), 64);
        assert_eq!(lines.line(), Err(LineFault::TooLong(64)));
        assert_eq!(lines.push(b"x"), 0);
        assert!(lines.held.capacity() <= 512);
    }

    #[test]
    fn octets_come_out_as_they_are_and_the_rest_is_left() {
        let mut lines = Lines::new(64);
        lines.push(b"x\r\n\0\n\rabc");
        assert_eq!(lines.octets(10), None);
        assert_eq!(lines.line().unwrap().unwrap().as_slice(), b"x");
        assert_eq!(lines.octets(3).unwrap().as_slice(), b"\0\n\r");
        assert_eq!(lines.rest().as_slice(), b"abc");
        assert!(lines.is_empty());
    }
}
