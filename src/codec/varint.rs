//! Numbers of variable length, as postcard has them: seven bits a byte, the lowest first, and the
//! highest bit of a byte says whether another one follows.
//!
//! Their digits are put apart and together in a word, all at once: to go through them one by one
//! takes longer, and a processor cannot guess how many there are.

/// Numbers below fit into the digits of a word.
pub(super) const WORD: u64 = 1 << 56;

/// The bit that says that another byte follows, in each byte.
const MORE: u64 = 0x8080_8080_8080_8080;

/// A number below [`WORD`] as the bytes of a word, and how many of them it takes.
#[inline]
pub(super) fn spread(number: u64) -> (u64, usize) {
    let halves = (number & 0x00FF_FFFF_F000_0000) << 4 | number & 0x0FFF_FFFF;
    let quarters = (halves & 0x0FFF_C000_0FFF_C000) << 2 | halves & 0x0000_3FFF_0000_3FFF;
    let digits = (quarters & 0x3F80_3F80_3F80_3F80) << 1 | quarters & 0x007F_007F_007F_007F;
    let length = (u64::BITS - (number | 1).leading_zeros()).div_ceil(7);
    (digits | MORE & ((1 << (8 * (length - 1))) - 1), length as usize)
}

/// How many bytes of a word belong to the number that it begins with; `None` if that goes on behind
/// it.
#[inline]
pub(super) fn length(word: u64) -> Option<u32> {
    let ends = !word & MORE;
    (ends != 0).then(|| ends.trailing_zeros() / 8 + 1)
}

/// The number in the first bytes of a word, of which there is one at least.
#[inline]
pub(super) fn gather(word: u64, length: u32) -> u64 {
    let digits = word & !MORE & u64::MAX >> (u64::BITS - 8 * length);
    let quarters = (digits & 0x7F00_7F00_7F00_7F00) >> 1 | digits & 0x007F_007F_007F_007F;
    let halves = (quarters & 0x3FFF_0000_3FFF_0000) >> 2 | quarters & 0x0000_3FFF_0000_3FFF;
    (halves & 0x0FFF_FFFF_0000_0000) >> 4 | halves & 0x0FFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_what_postcard_writes() {
        for shift in 0..56 {
            for number in [(1 << shift) - 1, 1_u64 << shift, 0x00A5_5A12_3456_789B >> shift] {
                let (word, length) = spread(number);
                let expected = postcard::to_stdvec(&number).unwrap();
                assert_eq!(word.to_le_bytes()[..length], expected, "{number}");
                assert_eq!(word.to_le_bytes()[length..], [0; 8][length..], "{number}");
                let length = u32::try_from(length).unwrap();
                let before_others = word | (MORE << 3) << (8 * length - 8);
                for word in [word, before_others] {
                    assert_eq!(super::length(word), Some(length), "{number}");
                    assert_eq!(gather(word, length), number);
                }
            }
        }
        assert_eq!(length(u64::MAX), None);
    }
}
