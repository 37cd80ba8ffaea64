//! Sequences of plain numbers.
//!
//! Bytes and floating-point numbers have a fixed length in postcard, so a sequence of them is its
//! length and what is in memory. Other integers have a length of their own each. If there are many,
//! the sequence is *packed* instead:
//!
//! ```text
//! ┌───────┬─────────┬────────────────┬──────────────────────────────┐
//! │ 80 00 │ kind u8 │ length, varint │ numbers, all of fixed length │
//! └───────┴─────────┴────────────────┴──────────────────────────────┘
//! ```
//!
//! It begins with a length of zero that is written too long, as postcard never does. In the named
//! form all sequences of numbers are packed, behind a tag in place of that.

use bytemuck::Pod;
use serde::de::Visitor;

use super::error::CodecError;
use super::named::tag;

/// What a packed sequence begins with in the compact form.
pub(super) const PACKED: [u8; 2] = [0x80, 0];

/// So many numbers are packed. Fewer are most often small ones, which take less memory unpacked.
pub(super) const PACK_FROM: usize = 64;

/// Whether numbers are in memory as they are sent. Elsewhere none are copied as a whole.
const AS_IN_MEMORY: bool = cfg!(all(target_pointer_width = "64", target_endian = "little"));

/// A number, of which a sequence can be copied as a whole.
pub(super) trait Number: Pod {
    /// What it is packed as: the tag of one of them.
    const KIND: u8;
    /// In the compact form, too, each takes as many bytes as in memory.
    const IS_FIXED: bool = matches!(Self::KIND, tag::U8 | tag::I8 | tag::F32 | tag::F64);
}

macro_rules! numbers {
    ($($number:ty: $kind:ident;)*) => {$(
        impl Number for $number {
            const KIND: u8 = tag::$kind;
        }
    )*};
}

numbers! {
    u8: U8;
    i8: I8;
    f32: F32;
    f64: F64;
    u16: U16;
    i16: I16;
    u32: U32;
    i32: I32;
    u64: U64;
    i64: I64;
    u128: U128;
    i128: I128;
    usize: U64;
    isize: I64;
}

/// How many bytes a number of this kind has. Other tags are no kinds.
pub(super) fn width(kind: u8) -> Option<u8> {
    Some(match kind {
        tag::U8 | tag::I8 => 1,
        tag::U16 | tag::I16 => 2,
        tag::U32 | tag::I32 | tag::F32 => 4,
        tag::U64 | tag::I64 | tag::F64 => 8,
        tag::U128 | tag::I128 => 16,
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a number has no more bits than its tag says")]
pub(super) fn show_unsigned<'de, V: Visitor<'de>>(
    tag: u8,
    number: u64,
    visitor: V,
) -> Result<V::Value, CodecError> {
    match tag {
        tag::U8 => visitor.visit_u8(number as u8),
        tag::U16 => visitor.visit_u16(number as u16),
        tag::U32 => visitor.visit_u32(number as u32),
        _ => visitor.visit_u64(number),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a number has no more bits than its tag says")]
pub(super) fn show_signed<'de, V: Visitor<'de>>(
    tag: u8,
    number: i64,
    visitor: V,
) -> Result<V::Value, CodecError> {
    match tag {
        tag::I8 => visitor.visit_i8(number as i8),
        tag::I16 => visitor.visit_i16(number as i16),
        tag::I32 => visitor.visit_i32(number as i32),
        _ => visitor.visit_i64(number),
    }
}

/// Whether it may be a reference to a sequence of numbers. Every other type is told by its size
/// already.
#[inline]
pub(super) fn may_be_numbers<I>() -> bool {
    let size = size_of::<I>();
    AS_IN_MEMORY && (size == size_of::<&[u8]>() || size == size_of::<&Vec<u8>>())
}

/// The same of a visitor and of what it makes.
#[inline]
pub(super) fn may_want_numbers<V, T>() -> bool {
    AS_IN_MEMORY && size_of::<V>() == 0 && size_of::<T>() == size_of::<Vec<u8>>()
}

/// Hands the names of all types of numbers to a macro.
macro_rules! for_each_number {
    ($macro:ident) => {
        $macro! { u8 f64 f32 u64 i64 u32 i32 usize isize u16 i16 i8 u128 i128 }
    };
}
pub(super) use for_each_number;

/// The same for short arrays of numbers with a fixed length, which are points and colors most
/// often. In the compact form a sequence of them, too, is its length and what is in memory.
macro_rules! for_each_array {
    ($macro:ident) => {
        $macro! { [f32; 2] [f32; 3] [f32; 4] [f64; 2] [f64; 3] [f64; 4] }
    };
}
pub(super) use for_each_array;

/// How negative numbers are written.
macro_rules! zigzag {
    ($number:expr, $signed:ty) => {
        ($number << 1 ^ $number >> (<$signed>::BITS - 1)).cast_unsigned()
    };
}
pub(super) use zigzag;
