//! What the attributes of the generated types name: conditions, functions for `with`, and types.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::expect::Sample;
use crate::random::Rng;

/// A condition for numbers.
pub fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// A condition for all that has no better one.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `with` that writes another shape: a mark beside the value.
pub mod apart {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    const MARK: &str = "apart";

    /// Writes what must be read by the other function.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        (MARK, value).serialize(to)
    }

    /// Reads what the other function has written.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let (mark, value) = <(String, T)>::deserialize(from)?;
        if mark == MARK { Ok(value) } else { Err(de::Error::custom(format!("mark {mark:?}"))) }
    }
}

/// `with` that writes what is written without.
pub mod same {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value as it is.
    pub fn serialize<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    /// Reads the value as it is.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        T::deserialize(from)
    }
}

/// `with` for variants of two fields.
pub mod two {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// The second one comes first.
    pub fn serialize<A: Serialize, B: Serialize, S: Serializer>(
        a: &A,
        b: &B,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        (b, a).serialize(to)
    }

    /// Reads what the other function has written.
    pub fn deserialize<'de, A, B, D>(from: D) -> Result<(A, B), D::Error>
    where
        A: Deserialize<'de>,
        B: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        <(B, A)>::deserialize(from).map(|(b, a)| (a, b))
    }
}

/// `with` for variants without fields.
pub mod zero {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a number for nothing.
    pub fn serialize<S: Serializer>(to: S) -> Result<S::Ok, S::Error> {
        300_u16.serialize(to)
    }

    /// Reads what the other function has written.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
        u16::deserialize(from).map(drop)
    }
}

/// A struct without attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leaf {
    number: u8,
    text: String,
}

impl Sample for Leaf {
    fn random(rng: &mut Rng) -> Self {
        Self { number: u8::random(rng), text: String::random(rng) }
    }
}

/// An enum without attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    #[default]
    Low,
    High(u8),
    Wide {
        number: u64,
        text: String,
    },
    Both(u8, String),
}

impl Sample for Kind {
    fn random(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::Low,
            1 => Self::High(u8::random(rng)),
            2 => Self::Wide { number: u64::random(rng), text: String::random(rng) },
            _ => Self::Both(u8::random(rng), String::random(rng)),
        }
    }
}

/// Structs to be flattened, whose fields have names of their own.
macro_rules! inner {
    ($($name:ident($number:ident, $text:ident))*) => {$(
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $number: u8,
            $text: String,
        }

        impl Sample for $name {
            fn random(rng: &mut Rng) -> Self {
                Self { $number: u8::random(rng), $text: String::random(rng) }
            }
        }
    )*};
}

inner! { InnerA(a_number, a_text) InnerB(b_number, b_text) }
