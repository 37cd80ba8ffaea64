//! Durations and sizes as people write them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds.
const TIMES: [(&str, f64); 10] = [
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ns", 1e-9),
    ("sec", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

/// Bytes.
const SIZES: [(&str, f64); 10] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("KiB", 1_024.0),
    ("MB", 1e6),
    ("MiB", 1_048_576.0),
    ("GB", 1e9),
    ("GiB", 1_073_741_824.0),
    ("TB", 1e12),
    ("TiB", 1_099_511_627_776.0),
];

/// A number and its unit, which is the first one if there is none.
fn quantity(text: &str, units: &[(&'static str, f64)]) -> Result<f64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let scale = units.iter().find(|(name, _)| unit.is_empty() || *name == unit);
    match (number.parse::<f64>(), scale) {
        (Ok(number), Some((_, scale))) => Ok(number * scale),
        (Ok(_), None) => {
            let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
            Err(format!("{unit:?} is no unit; there are {}", names.join(", ")))
        }
        (Err(_), _) => Err(format!("{text:?} begins with no number")),
    }
}

/// What can be read from a number or from a text.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;

    fn of_number(number: f64) -> Result<Self, String>;
    /// Of one without a fraction, which is taken as it is.
    fn of_whole(number: i128) -> Result<Self, String>;
    fn of_text(text: &str) -> Result<Self, String>;
}

impl Scalar for Duration {
    const EXPECTED: &'static str = "a number of seconds, or a duration such as \"500ms\"";

    fn of_number(number: f64) -> Result<Self, String> {
        Self::try_from_secs_f64(number).map_err(|error| format!("{number}: {error}"))
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        let seconds = u64::try_from(number);
        seconds.map(Self::from_secs).map_err(|_| format!("{number} is no number of seconds"))
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Self::of_number(quantity(text, &TIMES)?)
    }
}

/// A number of bytes.
#[derive(Clone, Copy)]
pub(super) struct Size(pub(super) u64);

impl Scalar for Size {
    const EXPECTED: &'static str = "a number of bytes, or a size such as \"1.5 GiB\"";

    fn of_number(number: f64) -> Result<Self, String> {
        if !(0.0..=9e15).contains(&number) {
            return Err(format!("{number} is no number of bytes"));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is in range"
        )]
        Ok(Self(number.round() as u64))
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        u64::try_from(number).map(Self).map_err(|_| format!("{number} is no number of bytes"))
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Self::of_number(quantity(text, &SIZES)?)
    }
}

/// A plain number.
#[derive(Clone, Copy)]
pub(super) struct Whole<T>(pub(super) T);

impl<T: FromStr> Scalar for Whole<T> {
    const EXPECTED: &'static str = "a whole number";

    fn of_number(number: f64) -> Result<Self, String> {
        Self::of_text(&number.to_string())
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        Self::of_text(&number.to_string())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse().map_err(|_| format!("{text} is no such number"))?;
        Ok(Self(number))
    }
}

/// Reads one, whichever way it is written.
#[derive(Clone, Copy)]
pub(super) struct Read<T>(pub(super) T);

impl<'de, T: Scalar> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor(PhantomData)).map(Self)
    }
}

impl Serialize for Read<Duration> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.as_secs_f64())
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::of_whole(number.into()).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::of_whole(number.into()).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        T::of_number(number).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::of_text(text).map_err(E::custom)
    }
}

#[allow(clippy::ref_option, reason = "serde passes references")]
pub(super) fn seconds<S: Serializer>(limit: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => to.serialize_f64(limit.as_secs_f64()),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_as_people_write_them() {
        let times = [
            ("30s", 30_000),
            ("500ms", 500),
            ("1.5 min", 90_000),
            ("2", 2_000),
            (" 1 h ", 3_600_000),
            ("1d", 86_400_000),
        ];
        for (text, millis) in times {
            assert_eq!(Duration::of_text(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        let sizes = [
            ("1.5 GiB", 3 << 29),
            ("256MiB", 1 << 28),
            ("10kB", 10_000),
            ("7", 7),
            ("0.5 KiB", 512),
        ];
        for (text, bytes) in sizes {
            assert_eq!(Size::of_text(text).map(|size| size.0), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn whole_numbers_are_taken_as_they_are() {
        for number in [u64::MAX, (1 << 53) + 1] {
            let whole = Whole::<u64>::of_whole(number.into());
            assert_eq!(whole.map(|whole| whole.0), Ok(number));
            assert_eq!(Size::of_whole(number.into()).map(|size| size.0), Ok(number));
        }
        assert_eq!(Duration::of_whole(7), Ok(Duration::from_secs(7)));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "s", "fast", "-1s", "1 parsec", "1.2.3s", "1e400", "9e99s"] {
            assert!(Duration::of_text(text).is_err(), "{text}");
            assert!(Size::of_text(text).is_err(), "{text}");
        }
        assert!(Duration::of_whole(-1).is_err() && Size::of_whole(-1).is_err());
        for number in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(Duration::of_number(number).is_err() && Size::of_number(number).is_err());
        }
        assert!(Whole::<u32>::of_number(1.5).is_err() && Whole::<u32>::of_number(-1.0).is_err());
    }
}
