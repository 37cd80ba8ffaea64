//! What must come back: every rule of it, in plain words.
//!
//! **Parts.** A field comes back as it was sent, but for these:
//!
//! 1. `skip` and `skip_deserializing`: it comes back as its default. That is the field's own
//!    `default`, else what the container's `default` has there, else that of its type.
//! 2. `skip_serializing`, and `skip_serializing_if` where the condition holds: it is *missing* for
//!    the reader. A missing field comes back as its default if the field or the container has the
//!    attribute `default`; as `None` if it is an `Option` that no function of its own reads; as
//!    nothing at all if it is flattened and an `Option` or a map. Every other one is *lost*.
//! 3. In a tuple nothing says which element is missing. So where the one side leaves an element out
//!    and the other one does not, it may be refused, even if there is a default.
//! 4. With `from` or `try_from` and with `into`, another type travels, and with `transparent` and
//!    for variants with functions of their own, the bare content. Then the attributes of the fields
//!    mean nothing, and every field comes back as it was sent. The only field of a newtype struct
//!    comes back too, whatever is said of skipping it: serde writes and reads the bare content. It
//!    is not so for a newtype variant.
//!
//! **Errors.** A value may be refused, and then no other one may come back in its place, if
//!
//! 5. a field of it is lost (rule 2), or an element of a tuple is left out (rule 3);
//! 6. it is a variant that is not written or not read (`skip`, `skip_serializing`,
//!    `skip_deserializing`);
//! 7. its type is in one of the [`Doubt`]s below, and this value really is.
//!
//! Every other error is a failure of the test.
//!
//! **Doubts.** Some attributes are defined by what a format that describes itself would make of
//! them. Only for these, see [`Doubt`], the verdict is that of `serde-value`, which is such a
//! format (see `reference.rs`): what it returns may come back too, and where it returns another
//! value or an error, an error is permitted.
//!
//! That the rules are those of serde and not of these tests is tested itself: `tests/rules.rs`
//! holds each of them against `serde-value`.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random::Rng;
use crate::reference;

/// A type with random values, and with what may come back of them.
pub trait Sample: Sized + Clone + PartialEq + Debug {
    fn random(rng: &mut Rng) -> Self;

    /// Whether `back` may come back.
    fn accepts(&self, back: &Self) -> bool {
        self == back
    }

    /// Whether an error may come back.
    fn may_fail(&self) -> bool {
        false
    }
}

/// A type that goes through the pool.
pub trait Case: Sample + Serialize + DeserializeOwned + Send + 'static {
    const NAME: &'static str;
    /// How it is declared.
    const TEXT: &'static str;
    /// Why `serde-value` may know better.
    const DOUBTS: &'static [Doubt];
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule<T> {
    Same,
    Becomes(T),
    /// Or it is refused.
    MayBecome(T),
    /// It is refused. Who guesses it right, has it right.
    Lost,
}

impl<T: Sample> Rule<T> {
    pub fn accepts(self, sent: &T, back: &T) -> bool {
        match self {
            Self::Same | Self::Lost => sent.accepts(back),
            Self::Becomes(value) | Self::MayBecome(value) => value == *back,
        }
    }

    pub fn may_fail(self, sent: &T) -> bool {
        match self {
            Self::Same => sent.may_fail(),
            Self::Becomes(_) => false,
            Self::MayBecome(_) | Self::Lost => true,
        }
    }
}

/// Nothing is said about it.
pub fn plain<T>() -> Rule<T> {
    Rule::Same
}

/// Rule 1.
pub fn not_read<T>(default: T) -> Rule<T> {
    Rule::Becomes(default)
}

/// Rule 2; `missing` is what a missing field comes back as.
pub fn not_written<T>(missing: Option<T>) -> Rule<T> {
    missing.map_or(Rule::Lost, Rule::Becomes)
}

/// Rule 2.
pub fn not_written_if<T>(is_left_out: bool, missing: Option<T>) -> Rule<T> {
    if is_left_out { not_written(missing) } else { Rule::Same }
}

/// Rule 3.
pub fn in_tuple<T>(rule: Rule<T>) -> Rule<T> {
    match rule {
        Rule::Becomes(value) => Rule::MayBecome(value),
        rule => rule,
    }
}

/// Why a type's values may be refused or come back as others, by the definition of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// What is written and what is read have different names or shapes: by `rename(serialize = …,
    /// deserialize = …)` or `rename_all` alike, or with one of `from` and `into` and not the other.
    /// A reader of names finds a field missing. An error is always permitted.
    Sides,
    /// `untagged` is read as the first variant that fits.
    Trial,
    /// `flatten`: a map takes all that is left over; an `Option` is `None` if there is not enough.
    Rest,
    /// `other` is read for every variant that has no name for the reader.
    CatchAll,
    /// A tag can be put into structs and maps only, and is an unknown field where those are denied.
    /// No other value may come back, but an error.
    Tag,
    /// `deny_unknown_fields` with a field that is written and not read. No other value, but an
    /// error.
    Unknown,
    /// Elements of a tuple move up if one is left out (rule 3). A format that describes itself
    /// cannot tell, but the pool must: no other value may come back, but an error.
    Shift,
}

impl Doubt {
    fn permits_another_value(self) -> bool {
        matches!(self, Self::Sides | Self::Trial | Self::Rest | Self::CatchAll)
    }

    /// Whether `back` may come back although it is not what the rules of the parts say.
    pub fn permit<T>(doubts: &[Self], sent: &T, back: &T) -> bool
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        // There and back, which are two trips.
        let Ok(once) = reference::trip(sent) else { return false };
        doubts.iter().any(|doubt| doubt.permits_another_value())
            && (once == *back || reference::trip(&once).is_ok_and(|twice| twice == *back))
    }

    /// Whether an error may come back although the rules of the parts, which are `accepts`, have
    /// none.
    pub fn excuse<T>(doubts: &[Self], sent: &T, accepts: fn(&T, &T) -> bool) -> bool
    where
        T: Serialize + DeserializeOwned,
    {
        if doubts.is_empty() {
            return false;
        }
        let is_same = |back: T| accepts(sent, &back) && reference::trip(&back).is_ok();
        doubts.contains(&Self::Sides) || !reference::trip(sent).is_ok_and(is_same)
    }
}
