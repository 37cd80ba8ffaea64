//! Types that hold others.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::expect::{Case, Doubt, Rule, Sample, not_written_if};
use crate::random::Rng;

/// A type in all kinds of plain places, with something before and after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nest<T> {
    before: u8,
    one: T,
    maybe: Option<T>,
    many: Vec<T>,
    pair: (T, u32),
    map: HashMap<String, T>,
    boxed: Box<T>,
    choice: Choice<T>,
    after: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice<T> {
    Nothing,
    One(T),
    Two(T, u8),
    Named { inner: T, after: String },
}

impl<T: Sample> Sample for Choice<T> {
    fn random(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::Nothing,
            1 => Self::One(T::random(rng)),
            2 => Self::Two(T::random(rng), u8::random(rng)),
            _ => Self::Named { inner: T::random(rng), after: String::random(rng) },
        }
    }

    fn accepts(&self, back: &Self) -> bool {
        match (self, back) {
            (Self::Nothing, Self::Nothing) => true,
            (Self::One(sent), Self::One(back)) => sent.accepts(back),
            (Self::Two(sent, a), Self::Two(back, b)) => sent.accepts(back) && a == b,
            (Self::Named { inner: sent, after: a }, Self::Named { inner: back, after: b }) => {
                sent.accepts(back) && a == b
            }
            _ => false,
        }
    }

    fn may_fail(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(inner) | Self::Two(inner, _) | Self::Named { inner, .. } => inner.may_fail(),
        }
    }
}

impl<T: Sample> Sample for Nest<T> {
    fn random(rng: &mut Rng) -> Self {
        Self {
            before: u8::random(rng),
            one: T::random(rng),
            maybe: Sample::random(rng),
            many: Sample::random(rng),
            pair: Sample::random(rng),
            map: Sample::random(rng),
            boxed: Sample::random(rng),
            choice: Sample::random(rng),
            after: String::random(rng),
        }
    }

    fn accepts(&self, back: &Self) -> bool {
        self.before == back.before
            && self.one.accepts(&back.one)
            && self.maybe.accepts(&back.maybe)
            && self.many.accepts(&back.many)
            && self.pair.accepts(&back.pair)
            && self.map.accepts(&back.map)
            && self.boxed.accepts(&back.boxed)
            && self.choice.accepts(&back.choice)
            && self.after == back.after
    }

    fn may_fail(&self) -> bool {
        self.one.may_fail()
            || self.maybe.may_fail()
            || self.many.may_fail()
            || self.pair.may_fail()
            || self.map.may_fail()
            || self.boxed.may_fail()
            || self.choice.may_fail()
    }
}

/// Whether a holder may come back as another value: it, or what it holds, may be of that kind. What
/// is clear alone need not be so in there, as `()` has no shape beside a tag.
fn permit<T: Case, H: Case>(sent: &H, back: &H) -> bool {
    !H::DOUBTS.is_empty() && Doubt::permit(&[H::DOUBTS, T::DOUBTS].concat(), sent, back)
}

/// A struct that holds a type by an attribute, with a field before and one after it.
macro_rules! holders {
    ($(
        $(#[$of_struct:meta])* $name:ident<$t:ident> ($(#[$of_field:meta])* $held:ty): $doubts:expr;
    )*) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(bound = "T: Serialize + DeserializeOwned + Clone + PartialEq")]
        $(#[$of_struct])*
        pub struct $name<$t> {
            holder_before: u8,
            $(#[$of_field])*
            holder_inner: $held,
            holder_after: String,
        }

        impl<T: Case> Case for $name<T> {
            const NAME: &'static str = concat!(stringify!($name), " of a type");
            const TEXT: &'static str = T::TEXT;
            const DOUBTS: &'static [Doubt] = &$doubts;
        }

        impl<T: Case> $name<T> {
            fn by_parts(&self, back: &Self) -> bool {
                self.holder_before == back.holder_before
                    && self.inner().accepts(&self.holder_inner, &back.holder_inner)
                    && self.holder_after == back.holder_after
            }
        }

        impl<T: Case> Sample for $name<T> {
            fn random(rng: &mut Rng) -> Self {
                Self {
                    holder_before: u8::random(rng),
                    holder_inner: Sample::random(rng),
                    holder_after: String::random(rng),
                }
            }

            fn accepts(&self, back: &Self) -> bool {
                self.by_parts(back) || permit::<T, Self>(self, back)
            }

            fn may_fail(&self) -> bool {
                self.inner().may_fail(&self.holder_inner)
                    || Doubt::excuse(Self::DOUBTS, self, Self::by_parts)
            }
        }
    )*};
}

holders! {
    Flat<T>(#[serde(flatten)] T): [Doubt::Rest];
    FlatMap<T>(#[serde(flatten)] HashMap<String, T>): [Doubt::Rest];
    FlatOption<T>(#[serde(flatten)] Option<T>): [Doubt::Rest];
    Sparse<T>(#[serde(default, skip_serializing_if = "Vec::is_empty")] Vec<T>): [];
    Functions<T>(#[serde(with = "crate::helpers::apart")] T): [];
    #[serde(from = "(u8, T, String)", into = "(u8, T, String)")] Converted<T>(T): [];
}

/// The rule for the field that holds.
macro_rules! same {
    ($($name:ident $held:ty),*) => {$(
        impl<T: Case> $name<T> {
            fn inner(&self) -> Rule<$held> {
                Rule::Same
            }
        }
    )*};
}

same! { Flat T, FlatMap HashMap<String, T>, FlatOption Option<T>, Functions T, Converted T }

impl<T: Case> Sparse<T> {
    fn inner(&self) -> Rule<Vec<T>> {
        not_written_if(self.holder_inner.is_empty(), Some(Vec::new()))
    }
}

impl<T> From<(u8, T, String)> for Converted<T> {
    fn from((holder_before, holder_inner, holder_after): (u8, T, String)) -> Self {
        Self { holder_before, holder_inner, holder_after }
    }
}

impl<T> From<Converted<T>> for (u8, T, String) {
    fn from(from: Converted<T>) -> Self {
        (from.holder_before, from.holder_inner, from.holder_after)
    }
}

/// Enums that hold a type, tagged in each way.
macro_rules! enums {
    ($($(#[$attr:meta])* $name:ident: $doubts:expr;)*) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(bound = "T: Serialize + DeserializeOwned")]
        $(#[$attr])*
        pub enum $name<T> {
            Named { holder_before: u8, holder_inner: T, holder_after: String },
            Newtype(T),
            Unit,
        }

        impl<T: Case> Case for $name<T> {
            const NAME: &'static str = concat!(stringify!($name), " of a type");
            const TEXT: &'static str = T::TEXT;
            const DOUBTS: &'static [Doubt] = &$doubts;
        }

        impl<T: Case> $name<T> {
            fn by_parts(&self, back: &Self) -> bool {
                match (self, back) {
                    (
                        Self::Named { holder_before: a, holder_inner: sent, holder_after: b },
                        Self::Named { holder_before: c, holder_inner: back, holder_after: d },
                    ) => a == c && b == d && sent.accepts(back),
                    (Self::Newtype(sent), Self::Newtype(back)) => sent.accepts(back),
                    (Self::Unit, Self::Unit) => true,
                    _ => false,
                }
            }
        }

        impl<T: Case> Sample for $name<T> {
            fn random(rng: &mut Rng) -> Self {
                match rng.below(5) {
                    0 | 1 => Self::Newtype(T::random(rng)),
                    2 => Self::Unit,
                    _ => Self::Named {
                        holder_before: u8::random(rng),
                        holder_inner: T::random(rng),
                        holder_after: String::random(rng),
                    },
                }
            }

            fn accepts(&self, back: &Self) -> bool {
                self.by_parts(back) || permit::<T, Self>(self, back)
            }

            fn may_fail(&self) -> bool {
                let inner = match self {
                    Self::Named { holder_inner, .. } => holder_inner.may_fail(),
                    Self::Newtype(inner) => inner.may_fail(),
                    Self::Unit => false,
                };
                inner || Doubt::excuse(Self::DOUBTS, self, Self::by_parts)
            }
        }
    )*};
}

enums! {
    #[serde(tag = "holder_type")] Tagged: [Doubt::Tag];
    #[serde(tag = "holder_type", content = "holder_content")] Adjacent: [];
    #[serde(untagged)] Trial: [Doubt::Trial];
}

/// A type as itself, with something beside it that does not travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bare<T> {
    inner: T,
    #[serde(skip)]
    skipped: u8,
}

impl<T: Case> Case for Bare<T> {
    const NAME: &'static str = "Bare of a type";
    const TEXT: &'static str = T::TEXT;
    const DOUBTS: &'static [Doubt] = &[];
}

impl<T: Case> Sample for Bare<T> {
    fn random(rng: &mut Rng) -> Self {
        Self { inner: T::random(rng), skipped: u8::random(rng) }
    }

    fn accepts(&self, back: &Self) -> bool {
        self.inner.accepts(&back.inner) && back.skipped == 0
    }

    fn may_fail(&self) -> bool {
        self.inner.may_fail()
    }
}
