//! Numbers that look random and are the same in every run.

#![allow(dead_code, reason = "each example uses its own part of this")]

/// The generator `SplitMix64`: small, quick, and good enough where nobody tries to guess.
pub(crate) struct Random(u64);

impl Random {
    /// Each seed has a sequence of its own.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.number(); // so that the sequences of 1 and 2 are far apart
        random
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `end - 1`. Some are more likely than others, by next to nothing.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of these, of which there must be any.
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.number() as usize % from.len()]
    }

    /// A fraction from 0 up to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}
