//! DEFLATE in both directions (RFC 4978): raw, without the frame of zlib.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// The two machines of one connection.
pub(super) struct Squeeze {
    inflate: Decompress,
    deflate: Compress,
}

impl Squeeze {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false), deflate: Compress::new(Compression::fast(), false) }
    }

    /// Appends what `packed` holds to `to`. What is not whole yet is kept within.
    pub(super) fn unpack(&mut self, mut packed: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
        loop {
            to.reserve(packed.len().max(1024) * 4);
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress_vec(packed, to, FlushDecompress::Sync);
            status.map_err(|e| e.to_string())?;
            packed = &packed[(self.inflate.total_in() - before.0) as usize..];
            // It stops before its room is used up only when it has nothing left.
            if packed.is_empty() && to.len() < to.capacity() {
                return Ok(());
            }
            if (self.inflate.total_in(), self.inflate.total_out()) == before {
                return Err("compressed octets that do not go on".into());
            }
        }
    }

    /// Appends `plain`, packed so that the peer can read all of it now, to `to`.
    pub(super) fn pack(&mut self, mut plain: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
        loop {
            to.reserve(plain.len() / 2 + 1024);
            let before = self.deflate.total_in();
            self.deflate.compress_vec(plain, to, FlushCompress::Sync).map_err(|e| e.to_string())?;
            plain = &plain[(self.deflate.total_in() - before) as usize..];
            if plain.is_empty() && to.len() < to.capacity() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_however_it_is_cut() {
        let said: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let (mut one, mut packed) = (Squeeze::new(), Vec::new());
        for part in said.chunks(70_001) {
            one.pack(part, &mut packed).expect("packs");
        }
        for cut in [1, 7, 1000, 300_000] {
            let (mut two, mut plain) = (Squeeze::new(), Vec::new());
            for part in packed.chunks(cut) {
                two.unpack(part, &mut plain).expect("unpacks");
            }
            assert!(plain == said, "{cut}");
        }
        let mut out = Vec::new();
        assert!(Squeeze::new().unpack(b"\xff\xff\xff\xff\xffgarbage", &mut out).is_err());
    }
}
