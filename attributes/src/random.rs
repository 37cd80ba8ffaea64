//! Random values, the same ones for the same seed.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::expect::Sample;

/// Numbers that depend on the seed alone (`SplitMix64`).
#[derive(Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// For a name of its own numbers, so that a type has the same values whatever runs beside it.
    pub fn named(seed: u64, name: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        Self(name.bytes().fold(seed ^ 0xCBF2_9CE4_8422_2325, mix))
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The value with this number.
pub fn fixed<T: Sample>(number: u64) -> T {
    T::random(&mut Rng::new(number))
}

/// A default that is not that of the type.
pub fn other<T: Sample>() -> T {
    fixed(7)
}

/// Zero is frequent, as `skip_serializing_if` is to be met.
macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Sample for $number {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn random(rng: &mut Rng) -> Self {
                match rng.below(8) {
                    0 | 1 => 0,
                    2 => Self::MAX,
                    3 => Self::MIN,
                    4 => rng.below(100) as Self,
                    _ => rng.number() as Self,
                }
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 i32 }

impl Sample for f64 {
    fn random(rng: &mut Rng) -> Self {
        let any = Self::from_bits(rng.number());
        match rng.below(6) {
            0 | 1 => 0.0,
            2 => Self::NEG_INFINITY,
            3 => 0.1,
            _ if any.is_nan() => 1.0, // it would not equal itself
            _ => any,
        }
    }
}

impl Sample for bool {
    fn random(rng: &mut Rng) -> Self {
        rng.once_in(2)
    }
}

const LETTERS: [char; 10] = ['a', 'b', 'Z', '0', '_', ' ', '"', '\0', 'ß', '🦀'];

impl Sample for String {
    fn random(rng: &mut Rng) -> Self {
        if rng.once_in(4) {
            return Self::new();
        }
        if rng.once_in(40) {
            return "long ".repeat(30 + usize::from(u8::random(rng)));
        }
        (0..=rng.below(6)).map(|_| LETTERS[rng.below(10) as usize]).collect()
    }
}

impl Sample for () {
    fn random(_: &mut Rng) -> Self {}
}

impl<T: Sample> Sample for Box<T> {
    fn random(rng: &mut Rng) -> Self {
        Self::new(T::random(rng))
    }

    fn accepts(&self, back: &Self) -> bool {
        (**self).accepts(back)
    }

    fn may_fail(&self) -> bool {
        (**self).may_fail()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn random(rng: &mut Rng) -> Self {
        rng.once_in(2).then(|| T::random(rng))
    }

    fn accepts(&self, back: &Self) -> bool {
        match (self, back) {
            (Some(sent), Some(back)) => sent.accepts(back),
            (None, None) => true,
            _ => false,
        }
    }

    fn may_fail(&self) -> bool {
        self.as_ref().is_some_and(Sample::may_fail)
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn random(rng: &mut Rng) -> Self {
        (0..rng.below(4)).map(|_| T::random(rng)).collect()
    }

    fn accepts(&self, back: &Self) -> bool {
        self.len() == back.len() && self.iter().zip(back).all(|(sent, back)| sent.accepts(back))
    }

    fn may_fail(&self) -> bool {
        self.iter().any(Sample::may_fail)
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn random(rng: &mut Rng) -> Self {
        (A::random(rng), B::random(rng))
    }

    fn accepts(&self, back: &Self) -> bool {
        self.0.accepts(&back.0) && self.1.accepts(&back.1)
    }

    fn may_fail(&self) -> bool {
        self.0.may_fail() || self.1.may_fail()
    }
}

/// Keys are names that no field and no tag has.
fn key(rng: &mut Rng) -> String {
    format!("key {}", String::random(rng))
}

impl<T: Sample> Sample for HashMap<String, T> {
    fn random(rng: &mut Rng) -> Self {
        (0..rng.below(3)).map(|_| (key(rng), T::random(rng))).collect()
    }

    fn accepts(&self, back: &Self) -> bool {
        self.len() == back.len() && all(self, |key, sent| has(back.get(key), sent))
    }

    fn may_fail(&self) -> bool {
        !all(self, |_, sent| !sent.may_fail())
    }
}

impl<K: Sample + Ord + Hash, T: Sample> Sample for BTreeMap<K, T> {
    fn random(rng: &mut Rng) -> Self {
        (0..rng.below(3)).map(|_| (K::random(rng), T::random(rng))).collect()
    }

    fn accepts(&self, back: &Self) -> bool {
        self.len() == back.len() && all(self, |key, sent| has(back.get(key), sent))
    }

    fn may_fail(&self) -> bool {
        !all(self, |_, sent| !sent.may_fail())
    }
}

fn all<'a, K: 'a, T: 'a>(
    map: impl IntoIterator<Item = (&'a K, &'a T)>,
    mut holds: impl FnMut(&'a K, &'a T) -> bool,
) -> bool {
    map.into_iter().all(|(key, item)| holds(key, item))
}

fn has<T: Sample>(back: Option<&T>, sent: &T) -> bool {
    back.is_some_and(|back| sent.accepts(back))
}
