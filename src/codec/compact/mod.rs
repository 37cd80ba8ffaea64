//! The compact form: that of postcard, but for sequences that are packed (see `number.rs`). It has no names,
//! so both sides must go through a type in the same way; see `form` for who makes sure that they do.

mod decoder;
mod encoder;
mod number;

pub(super) use self::decoder::Decoder;
pub(super) use self::encoder::Encoder;
#[cfg(test)]
pub(super) use self::number::PACK_FROM;
pub(super) use self::number::{Packable, for_each_number};
