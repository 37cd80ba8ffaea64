//! In which form values of a type are written: the compact one, unless it may not do.
//!
//! What a value begins with says in which form it is, so whoever reads it need not know. Whoever
//! writes it goes by the [`Choice`] for the argument or the result of a function, which is made
//! once: by asking, by trying out the type (see `rehearsal`), or by a value that turns out not to
//! fit.

mod choice;
mod known;
mod plan;
mod rehearsal;
mod sampler;

pub(crate) use self::choice::Choice;
pub(super) use self::choice::ChoiceState;
pub use self::choice::{AskedForm, ValueForm};
pub(crate) use self::known::choice_for;
