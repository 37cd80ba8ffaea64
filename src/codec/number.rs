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
//! It begins with a length of zero that is written too long, as postcard never does.

use bytemuck::Pod;

/// What a packed sequence begins with.
pub(super) const PACKED: [u8; 2] = [0x80, 0];

/// So many numbers are packed. Fewer are most often small ones, which take less memory unpacked.
pub(super) const PACK_FROM: usize = 64;

/// Set in the kind of numbers with a sign; the rest is how many bytes they have.
pub(super) const SIGNED: u8 = 0x80;

/// A number that can be in a sequence that is copied as a whole.
pub(super) trait Packable: Pod {
    /// `None`: its length is fixed, and nothing needs to be said.
    const KIND: Option<u8>;
}

macro_rules! packable {
    ($($number:ty: $kind:expr;)*) => {$(
        impl Packable for $number {
            const KIND: Option<u8> = $kind;
        }
    )*};
}

packable! {
    u8: None;
    i8: None;
    f32: None;
    f64: None;
    u16: Some(2);
    i16: Some(2 | SIGNED);
    u32: Some(4);
    i32: Some(4 | SIGNED);
    u64: Some(8);
    i64: Some(8 | SIGNED);
    u128: Some(16);
    i128: Some(16 | SIGNED);
    usize: Some(8);
    isize: Some(8 | SIGNED);
}

/// Hands the names of all packable types to a macro. Where a number's bytes in memory are not those
/// that postcard writes, there are none.
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
macro_rules! for_each_number {
    ($macro:ident) => {
        $macro! { u8 f64 f32 u64 i64 u32 i32 usize isize u16 i16 i8 u128 i128 }
    };
}
#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
macro_rules! for_each_number {
    ($macro:ident) => {
        $macro! {}
    };
}
pub(super) use for_each_number;

/// The same for short arrays of numbers with a fixed length, which are points and colours most
/// often. A sequence of them, too, is its length and what is in memory.
#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
macro_rules! for_each_array {
    ($macro:ident) => {
        $macro! { [f32; 2] [f32; 3] [f32; 4] [f64; 2] [f64; 3] [f64; 4] }
    };
}
#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
macro_rules! for_each_array {
    ($macro:ident) => {
        $macro! {}
    };
}
pub(super) use for_each_array;
