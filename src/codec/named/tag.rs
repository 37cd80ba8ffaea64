//! What each value in the named form begins with.
//!
//! ```text
//! value     tag, and then
//!   U8 I8               the number, one byte
//!   U16 … U64, U128     the number, a varint; I16 … I128 with the sign in its last bit
//!   F32 F64             its bytes, the lowest first
//!   CHAR STR BYTES      length, a varint; bytes
//!   SOME NEWTYPE        a value
//!   SEQ TUPLE           length; so many values
//!   OPEN_SEQ            values; END
//!   PACKED              kind, length; the numbers, all of fixed length
//!   MAP                 length; so many keys and values
//!   OPEN_MAP            keys and values; END
//!   STRUCT              names and values; 0
//!   UNIT_VARIANT        name
//!   NEWTYPE_VARIANT     name, value
//!   TUPLE_VARIANT       name, length; so many values
//!   STRUCT_VARIANT      name; names and values; 0
//!   PRIVATE             a NEWTYPE or a variant, to be shown as such to whoever asks for anything
//!   0x40 … 0x7F         a text of 0 to 63 bytes
//!   0x80 … 0xFF         an `u64` of 0 to 127
//! name      a varint: 0 is none, 1 is a new one, whose length and text follow; more is one that was new before
//! ```

macro_rules! tags {
    ($($tag:ident = $number:literal)*) => {
        $(pub(in crate::codec) const $tag: u8 = $number;)*
    };
}

tags! {
    NONE = 0x00 SOME = 0x01 UNIT = 0x02 FALSE = 0x03 TRUE = 0x04
    U8 = 0x05 U16 = 0x06 U32 = 0x07 U64 = 0x08 U128 = 0x09
    I8 = 0x0A I16 = 0x0B I32 = 0x0C I64 = 0x0D I128 = 0x0E
    F32 = 0x0F F64 = 0x10 CHAR = 0x11 STR = 0x12 BYTES = 0x13
    SEQ = 0x14 OPEN_SEQ = 0x15 PACKED = 0x16 TUPLE = 0x17
    MAP = 0x18 OPEN_MAP = 0x19 STRUCT = 0x1A NEWTYPE = 0x1B
    UNIT_VARIANT = 0x1C NEWTYPE_VARIANT = 0x1D TUPLE_VARIANT = 0x1E STRUCT_VARIANT = 0x1F
    END = 0x20 PRIVATE = 0x21
}

/// What is added to the length of a short text.
pub(super) const SHORT_STR: u8 = 0x40;
pub(super) const SHORT_STR_BELOW: usize = 0x40;

/// What is added to a small number.
pub(super) const SMALL: u8 = 0x80;

/// No name comes, or one that was not written before.
pub(super) const NO_NAME: u64 = 0;
pub(super) const NEW_NAME: u64 = 1;
/// What is added to the number of one that was.
pub(super) const OLD_NAME: u64 = 2;
