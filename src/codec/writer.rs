//! Where encoded bytes go.

use super::error::{CodecError, Fault};
use super::mark::{ESCAPED, MARK};
use crate::sys::buffer::{reserve, try_reserve};

/// For so many bytes it is worth asking the system for memory.
const MUCH: usize = 1 << 20;

/// What has more bytes goes to the sink, and so many are put together before they do.
pub(crate) const SHARED_FROM: usize = 128 << 10;

/// Where bytes go if there are many.
pub(crate) trait Sink {
    /// Appends both; or takes neither if there is no room for them.
    fn write(&mut self, first: &[u8], second: &[u8]) -> bool;

    /// Moves all that was written behind what `buffer` has.
    fn take_back(&mut self, buffer: &mut Vec<u8>);
}

/// Puts bytes into a buffer that may grow up to `end`. With a sink, that is only a stage, from
/// where the bytes go on, and what is large goes past it.
pub(super) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    /// Where the value begins in the buffer.
    start: usize,
    end: usize,
    limit: usize,
    sink: Option<&'a mut (dyn Sink + 'a)>,
    /// How many bytes are in the sink.
    sunk: usize,
    /// What the value begins with says in which form it is.
    is_marked: bool,
}

impl<'a> Writer<'a> {
    #[inline]
    pub(super) fn new(
        buffer: &'a mut Vec<u8>,
        limit: usize,
        sink: Option<&'a mut (dyn Sink + 'a)>,
    ) -> Self {
        let (start, room) =
            (buffer.len(), if sink.is_some() { limit.min(SHARED_FROM) } else { limit });
        Self {
            buffer,
            start,
            end: start.saturating_add(room),
            limit,
            sink,
            sunk: 0,
            is_marked: false,
        }
    }

    /// Brings everything to one place; true if that is the sink. By reference, as to move the
    /// encoder takes as long as to encode a number.
    #[inline]
    pub(super) fn finish(&mut self) -> Result<bool, CodecError> {
        if !self.is_marked && self.buffer.get(self.start) == Some(&MARK) {
            self.escape(&[])?;
        }
        Ok(self.sunk > 0 && self.finish_sink())
    }

    /// Begins a value that is not in the compact form.
    pub(super) fn mark(&mut self, form: u8) -> Result<(), CodecError> {
        self.is_marked = true;
        self.extend(&[MARK, form])
    }

    /// Takes back what was written of a value, wherever it is.
    pub(super) fn discard(&mut self) {
        self.take_back();
        self.buffer.truncate(self.start);
    }

    /// Marks a value in the compact form that begins as if it were in another one; `next` is what
    /// comes next of it.
    #[cold]
    fn escape(&mut self, next: &[u8]) -> Result<(), CodecError> {
        let first = self.buffer.get(self.start).or(next.first());
        self.is_marked = first.is_some();
        if first == Some(&MARK) {
            if self.rest() < next.len() + 2 {
                return Err(self.too_large());
            }
            self.buffer.splice(self.start..self.start, [MARK, ESCAPED]);
        }
        Ok(())
    }

    /// How much more the value may take.
    fn rest(&self) -> usize {
        self.limit - self.written()
    }

    fn finish_sink(&mut self) -> bool {
        let is_sunk = self.sink(&[]);
        if !is_sunk {
            self.take_back();
        }
        is_sunk
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) -> Result<(), CodecError> {
        self.extend(&[byte])
    }

    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let length = self.buffer.len();
        if bytes.len() > self.end - length {
            return self.overflow(bytes);
        }
        if bytes.len() > self.buffer.capacity() - length {
            self.grow(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes there are of the value so far.
    pub(super) fn written(&self) -> usize {
        self.sunk + (self.buffer.len() - self.start)
    }

    /// Makes room for about so many bytes, if they are many and stay in the buffer.
    pub(super) fn reserve(&mut self, more: usize) {
        let more = more.min(self.end - self.buffer.len());
        if more >= MUCH && self.sink.is_none() {
            try_reserve(self.buffer, more);
        }
    }

    /// Makes room for so many bytes, and, as a `Vec` does, for twice of what there is.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        reserve(self.buffer, more.max(self.buffer.capacity()));
    }

    /// Appends the first `count` of few bytes. To copy all of them is quicker, as their number is
    /// known.
    #[inline]
    pub(super) fn extend_by<const N: usize>(
        &mut self,
        bytes: [u8; N],
        count: usize,
    ) -> Result<(), CodecError> {
        let start = self.buffer.len();
        if count > self.end - start {
            return self.overflow(&bytes[..count]);
        }
        if N > self.buffer.capacity() - start {
            self.grow(N);
        }
        self.buffer.extend_from_slice(&bytes);
        self.buffer.truncate(start + count);
        Ok(())
    }

    /// There is no room up to `end`.
    #[cold]
    fn overflow(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() > self.rest() {
            return Err(self.too_large());
        }
        if !self.is_marked {
            self.escape(bytes)?;
        }
        if self.sink(bytes) {
            return Ok(());
        }
        self.take_back();
        self.extend(bytes)
    }

    /// Sends what is on the stage on, and these bytes behind it.
    fn sink(&mut self, bytes: &[u8]) -> bool {
        let staged = &self.buffer[self.start..];
        let Some(sink) = &mut self.sink else { return false };
        let is_sunk = sink.write(staged, bytes);
        if is_sunk {
            self.sunk += staged.len() + bytes.len();
            self.buffer.truncate(self.start);
            self.end = self.start + SHARED_FROM.min(self.limit - self.sunk);
        }
        is_sunk
    }

    /// Goes on without the sink.
    fn take_back(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let staged = self.buffer.split_off(self.start);
        sink.take_back(self.buffer);
        self.buffer.extend_from_slice(&staged);
        self.sunk = 0;
        self.end = self.start.saturating_add(self.limit);
    }

    #[cold]
    fn too_large(&self) -> CodecError {
        Fault::TooLarge { limit: self.limit }.into()
    }

    #[inline]
    pub(super) fn varint(&mut self, number: u64) -> Result<(), CodecError> {
        match u8::try_from(number) {
            Ok(small @ ..0x80) => self.push(small),
            _ => self.long_varint(number),
        }
    }

    /// Puts the digits together in a word, as long as they fit, since to append them one by one
    /// takes longer. To spread all of them at once takes longer, too: numbers of one sequence have
    /// about as many digits, which the processor foresees.
    #[inline]
    fn long_varint(&mut self, number: u64) -> Result<(), CodecError> {
        if number >> 56 != 0 {
            return self.varint_128(number.into());
        }
        let (mut word, mut length, mut rest) = (0, 0, number);
        while rest >= 0x80 {
            word |= (rest & 0x7F | 0x80) << (8 * length);
            rest >>= 7;
            length += 1;
        }
        word |= rest << (8 * length);
        self.extend_by(word.to_le_bytes(), length + 1)
    }

    /// Few numbers are so large.
    #[inline(never)]
    pub(super) fn varint_128(&mut self, mut number: u128) -> Result<(), CodecError> {
        while number >= 0x80 {
            self.push(number.to_le_bytes()[0] | 0x80)?;
            number >>= 7;
        }
        self.push(number.to_le_bytes()[0])
    }

    #[inline]
    pub(super) fn length(&mut self, length: usize) -> Result<(), CodecError> {
        self.varint(length as u64)
    }
}
