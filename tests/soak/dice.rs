//! Chance that a seed repeats.

/// SplitMix64 (Steele, Lea, Flood 2014): a seed repeats a run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// Below 2 to the power of something below `powers`: small numbers are the most frequent.
    #[allow(dead_code)] // not every run throws so
    pub fn small(&mut self, powers: usize) -> usize {
        let power = self.below(powers);
        self.below(1 << power)
    }

    #[allow(dead_code)] // the same
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    #[allow(dead_code)] // the same
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
