//! The items of a chunk, and the entries of its replies: see [frames](super::frame).

use std::io;

use super::frame::{LENGTH, end_frame, frame_length, malformed};
use super::message::Outcome;

/// Begins an item; its bytes must follow, and [`end_item`].
#[inline]
pub(crate) fn begin_item(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    start
}

/// Sets the length of the item that began at `start`.
#[inline]
pub(crate) fn end_item(out: &mut [u8], start: usize) -> io::Result<()> {
    end_frame(&mut out[start..], 0)
}

/// Takes an item off the front; returns it and what is left.
#[inline]
pub(crate) fn split_item(items: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let short = || malformed("an item that is cut short");
    let (length, rest) = items.split_first_chunk().ok_or_else(short)?;
    rest.split_at_checked(frame_length(*length)).ok_or_else(short)
}

/// Begins an entry; the bytes of its result must follow, and [`end_entry`].
#[inline]
pub(crate) fn begin_entry(out: &mut Vec<u8>) -> usize {
    out.push(Outcome::Returned as u8);
    begin_item(out)
}

/// Puts other bytes in the place of those that follow `begin_entry`, which has returned `start`.
pub(crate) fn replace_entry(out: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    out.truncate(start + LENGTH);
    out.extend_from_slice(bytes);
}

/// Sets outcome and length of the entry for which `begin_entry` has returned `start`.
#[inline]
pub(crate) fn end_entry(out: &mut [u8], start: usize, outcome: Outcome) -> io::Result<()> {
    out[start - 1] = outcome as u8;
    end_item(out, start)
}

/// Takes an entry off the front; returns outcome, bytes and what is left.
#[inline]
pub(crate) fn split_entry(entries: &[u8]) -> io::Result<(Outcome, &[u8], &[u8])> {
    let (&byte, rest) = entries.split_first().ok_or_else(|| malformed("too few results"))?;
    let outcome =
        Outcome::from_byte(byte).ok_or_else(|| malformed("a result of unknown outcome"))?;
    let (bytes, rest) = split_item(rest)?;
    Ok((outcome, bytes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_one_by_one() {
        let mut out = Vec::new();
        for (text, outcome) in [(&b"one"[..], Outcome::Returned), (b"", Outcome::ResultTooLarge)] {
            let start = begin_entry(&mut out);
            out.extend_from_slice(text);
            end_entry(&mut out, start, outcome).unwrap();
        }
        let (outcome, bytes, rest) = split_entry(&out).unwrap();
        assert_eq!((outcome, bytes), (Outcome::Returned, &b"one"[..]));
        assert_eq!(split_entry(rest).unwrap(), (Outcome::ResultTooLarge, &b""[..], &b""[..]));
    }

    #[test]
    fn malformed_entries_are_errors() {
        let bad: [&[u8]; 4] = [b"", b"\x00\x01\x00", b"\x00\x02\x00\x00\x00a", b"\xFF\0\0\0\0"];
        for bytes in bad {
            assert!(split_entry(bytes).is_err(), "{bytes:?}");
        }
    }
}
