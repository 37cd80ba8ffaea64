//! In which form values of a type are written: the compact one, unless it may not do.
//!
//! What a value begins with says in which form it is, so whoever reads it need not know. Whoever writes it goes by the
//! [`Choice`] for the argument or the result of a function, which is made once: by asking, by trying out the type
//! (see `rehearsal`), or by a value that turns out not to fit.

mod choice;
mod rehearsal;
mod sampler;

pub(crate) use self::choice::Choice;
pub(super) use self::choice::State;
pub use self::choice::{AskedForm, ValueForm};

/// The first byte of a value that is not in the compact form. A value in the compact form that happens to begin with it
/// is marked as such; few do.
pub(super) const MARK: u8 = 0xF7;

/// What follows the mark: the compact form, of a value that begins with the mark by itself;
pub(super) const ESCAPED: u8 = 0;
/// the named form;
pub(super) const NAMED: u8 = 1;
/// or the named form, as people would read it.
pub(super) const READABLE: u8 = 2;
