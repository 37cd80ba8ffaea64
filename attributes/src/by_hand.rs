//! Types that no table has: with `serde_with`, generic ones, and trees.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_with::{As, Bytes, DefaultOnNull, DisplayFromStr, OneOrMany, PickFirst, Same};

use crate::expect::{Case, Doubt, Sample};
use crate::random::Rng;

/// All fields come back as they were sent.
macro_rules! plain {
    ($($name:ty { $($field:ident),* })*) => {$(
        impl Sample for $name {
            fn random(rng: &mut Rng) -> Self {
                Self { $($field: Sample::random(rng)),* }
            }
        }

        impl Case for $name {
            const NAME: &'static str = stringify!($name);
            const TEXT: &'static str = "see `by_hand.rs`";
            const DOUBTS: &'static [Doubt] = &[];
        }
    )*};
}

/// Numbers as texts, bytes as bytes, maps as sequences, one element without its sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Otherwise {
    #[serde(with = "As::<DisplayFromStr>")]
    text: u64,
    #[serde(with = "As::<Option<DisplayFromStr>>")]
    maybe: Option<i32>,
    #[serde(with = "As::<Vec<DisplayFromStr>>")]
    many: Vec<u32>,
    #[serde(with = "As::<Bytes>")]
    bytes: Vec<u8>,
    #[serde(with = "As::<Vec<(Same, DisplayFromStr)>>")]
    pairs: BTreeMap<(u8, u8), u64>,
    #[serde(with = "As::<OneOrMany<Same>>")]
    one: Vec<String>,
    #[serde(with = "As::<PickFirst<(DisplayFromStr, Same)>>")]
    first: u16,
    #[serde(with = "As::<DefaultOnNull<Same>>")]
    null: u8,
    after: String,
}

/// `None`, `Some(None)` and `Some(Some(_))` are absent, null and there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Twice {
    before: u8,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "serde_with::rust::double_option"
    )]
    double: Option<Option<u8>>,
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "serde_with::rust::unwrap_or_skip"
    )]
    single: Option<u32>,
    after: String,
}

/// `Twice` where its fields are gathered first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwiceFlat {
    holder_before: u16,
    #[serde(flatten)]
    twice: Twice,
    holder_after: i32,
}

/// With bounds of its own, and a marker that is not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de> + Default"))]
pub struct Generic<T, M> {
    before: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    maybe: Option<T>,
    #[serde(default, bound(deserialize = "T: Deserialize<'de> + Default"))]
    value: T,
    marker: PhantomData<M>,
    #[serde(rename = "type")]
    after: String,
}

impl<M> Sample for PhantomData<M> {
    fn random(_: &mut Rng) -> Self {
        Self
    }
}

plain! {
    Otherwise { text, maybe, many, bytes, pairs, one, first, null, after }
    Twice { before, double, single, after }
    TwiceFlat { holder_before, twice, holder_after }
    Generic<u64, String> { before, maybe, value, marker, after }
    Generic<Vec<u8>, ()> { before, maybe, value, marker, after }
}

/// Trees, tagged in each way. A child that is not there is left out.
macro_rules! trees {
    ($($(#[$attr:meta])* $name:ident;)*) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        $(#[$attr])*
        pub enum $name {
            Node {
                value: u64,
                #[serde(default, skip_serializing_if = "Option::is_none")]
                left: Option<Box<Self>>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                others: Vec<Self>,
            },
            Chain {
                next: Box<Self>,
            },
            End {
                text: String,
            },
            Nothing,
        }

        impl Sample for $name {
            fn random(rng: &mut Rng) -> Self {
                match rng.below(8) {
                    0..=2 => {
                        let others = rng.once_in(4).then(|| vec![Self::random(rng)]);
                        Self::Node {
                            value: u64::random(rng),
                            left: Sample::random(rng),
                            others: others.unwrap_or_default(),
                        }
                    }
                    3 => Self::Chain { next: Sample::random(rng) },
                    4 => Self::Nothing,
                    _ => Self::End { text: String::random(rng) },
                }
            }
        }

        impl Case for $name {
            const NAME: &'static str = stringify!($name);
            const TEXT: &'static str = "see `by_hand.rs`";
            const DOUBTS: &'static [Doubt] = &[];
        }
    )*};
}

trees! {
    Tree;
    #[serde(tag = "type", content = "content")] TreeWithContent;
    #[serde(untagged)] TreeByTrial;
}

/// A tree with a tag inside, whose content is a struct of its own in one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "kebab-case")]
pub enum TreeWithTag {
    TwoChildren {
        left_child: Box<Self>,
        #[serde(skip_serializing_if = "Option::is_none")]
        right_child: Option<Box<Self>>,
    },
    #[serde(alias = "nothing")]
    NoChild,
    Value(Twice),
}

impl Sample for TreeWithTag {
    fn random(rng: &mut Rng) -> Self {
        match rng.below(5) {
            0 | 1 => Self::TwoChildren {
                left_child: Sample::random(rng),
                right_child: rng.once_in(4).then(|| Sample::random(rng)),
            },
            2 => Self::NoChild,
            _ => Self::Value(Sample::random(rng)),
        }
    }
}

impl Case for TreeWithTag {
    const NAME: &'static str = "TreeWithTag";
    const TEXT: &'static str = "see `by_hand.rs`";
    const DOUBTS: &'static [Doubt] = &[];
}

/// Calls a macro with each of them.
#[macro_export]
macro_rules! for_each_by_hand {
    ($callback:ident) => {
        $callback! {
            $crate::by_hand::Otherwise,
            $crate::by_hand::Twice,
            $crate::by_hand::TwiceFlat,
            $crate::by_hand::Generic<u64, String>,
            $crate::by_hand::Generic<Vec<u8>, ()>,
            $crate::by_hand::Tree,
            $crate::by_hand::TreeWithContent,
            $crate::by_hand::TreeByTrial,
            $crate::by_hand::TreeWithTag,
        }
    };
}
