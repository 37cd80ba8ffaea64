//! Bytes in words of memory that two processes share.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BufMut;

pub(crate) const WORD: usize = size_of::<u64>();

/// Stores `bytes` from the beginning of `region` on; those before `known` are there already.
/// Whoever is to read them has to be told by a store that releases them. False if there is no room.
#[inline]
pub(crate) fn store(region: &[AtomicU64], bytes: &[u8], known: usize) -> bool {
    if bytes.len() > region.len() * WORD {
        return false;
    }
    let first = known / WORD;
    let (words, rest) = bytes[first * WORD..].as_chunks::<WORD>();
    let mut region = region[first..].iter();
    for (bytes, word) in words.iter().zip(region.by_ref()) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty()
        && let Some(word) = region.next()
    {
        // Byte by byte, as a copy of unknown length is a call.
        let rest = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        word.store(rest, Ordering::Relaxed);
    }
    true
}

/// Appends the bytes from `begin` to `end` of `region`, which must be inside. They can be any if
/// the other side writes meanwhile.
pub(crate) fn load(region: &[AtomicU64], begin: usize, end: usize, out: &mut impl BufMut) {
    let mut position = begin;
    while position < end {
        let (word, first) = (position / WORD, position % WORD);
        let bytes = region[word].load(Ordering::Relaxed).to_le_bytes();
        let bytes = &bytes[first..WORD.min(first + end - position)];
        out.put_slice(bytes);
        position += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_piece_by_piece() {
        let region: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(u64::MAX)).collect();
        let text = b"some bytes of any length, and 7";
        for end in 1..=text.len() {
            assert!(store(&region, &text[..end], end - 1));
            for begin in 0..end {
                let mut out = Vec::new();
                load(&region, begin, end, &mut out);
                assert_eq!(out, text[begin..end]);
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_stored() {
        let region = [AtomicU64::new(0)];
        assert!(!store(&region, &[7; WORD + 1], 0));
        assert_eq!(region[0].load(Ordering::Relaxed), 0);
        assert!(store(&region, &[7; WORD], 0));
    }
}
