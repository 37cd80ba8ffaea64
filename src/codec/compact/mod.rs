//! The compact form: that of postcard, but for sequences that are packed (see `number`). It has no
//! names, so both sides must go through a type in the same way; see `form` for who makes sure that
//! they do.

mod decoder;
mod encoder;

pub(super) use self::decoder::Decoder;
pub(super) use self::encoder::Encoder;
pub(crate) use self::encoder::IN_SHARED_MEMORY;
