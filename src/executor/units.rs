//! Durations, sizes, other numbers, switches and texts as people write them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The names of a unit, of which errors tell the first one, and how much it is.
type Unit = (&'static [&'static str], f64);

/// Seconds.
const TIMES: [Unit; 7] = [
    (&["s", "sec", "secs", "second", "seconds"], 1.0),
    (&["ms"], 1e-3),
    (&["us", "µs"], 1e-6),
    (&["ns"], 1e-9),
    (&["min", "m", "mins", "minute", "minutes"], 60.0),
    (&["h", "hr", "hour", "hours"], 3_600.0),
    (&["d", "day", "days"], 86_400.0),
];

/// Bytes.
const SIZES: [Unit; 9] = [
    (&["B"], 1.0),
    (&["kB", "KB"], 1e3),
    (&["KiB", "Ki"], 1_024.0),
    (&["MB"], 1e6),
    (&["MiB", "Mi"], 1_048_576.0),
    (&["GB"], 1e9),
    (&["GiB", "Gi"], 1_073_741_824.0),
    (&["TB"], 1e12),
    (&["TiB", "Ti"], 1_099_511_627_776.0),
];

/// A number with a unit, or several of them, whose sum it is.
fn quantity(text: &str, units: &[Unit]) -> Result<f64, String> {
    let (mut rest, mut sum) = (text.trim(), 0.0);
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| format!("{rest:?} begins with no number"))?;
        let behind = behind.trim_start();
        let end = behind.find(|c: char| c.is_ascii_digit() || c.is_whitespace());
        let (unit, behind) = behind.split_at(end.unwrap_or(behind.len()));
        let scale = units.iter().find(|(names, _)| names.contains(&unit));
        let Some((_, scale)) = scale else {
            let names: Vec<_> = units.iter().map(|(names, _)| names[0]).collect();
            return Err(format!("{unit:?} is no unit; there are {}", names.join(", ")));
        };
        sum += number * scale;
        rest = behind.trim_start();
        if rest.is_empty() {
            return Ok(sum);
        }
    }
}

/// What can be read from a number or from a text.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;

    fn of_number(number: f64) -> Result<Self, String>;
    /// Of one without a fraction, which is taken as it is.
    fn of_whole(number: i128) -> Result<Self, String>;
    fn of_text(text: &str) -> Result<Self, String>;

    fn of_bool(_: bool) -> Option<Self> {
        None
    }
}

/// Of a text that is a quantity, or a plain number.
fn of_quantity<T: Scalar>(text: &str, units: &[Unit]) -> Result<T, String> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return T::of_whole(number);
    }
    T::of_number(text.parse().ok().map_or_else(|| quantity(text, units), Ok)?)
}

impl Scalar for Duration {
    const EXPECTED: &'static str = "a number of seconds, or a duration such as \"500ms\"";

    fn of_number(number: f64) -> Result<Self, String> {
        const MOST: f64 = 18_446_744_073_709_551_616.0; // as which the longest one is written
        Self::try_from_secs_f64(number).or_else(|error| {
            let is_longest = (0.0..=MOST).contains(&number);
            if is_longest { Ok(Self::MAX) } else { Err(format!("{number}: {error}")) }
        })
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        let seconds = u64::try_from(number);
        seconds.map(Self::from_secs).map_err(|_| format!("{number} is no number of seconds"))
    }

    fn of_text(text: &str) -> Result<Self, String> {
        of_quantity(text, &TIMES)
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
        of_quantity(text, &SIZES)
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

/// A number of CPUs.
#[derive(Clone, Copy)]
pub(super) struct Cpus(pub(super) f64);

impl Scalar for Cpus {
    const EXPECTED: &'static str = "a number of CPUs";

    fn of_number(number: f64) -> Result<Self, String> {
        let is_possible = (0.01..=1e6).contains(&number);
        if is_possible { Ok(Self(number)) } else { Err(format!("{number} is no number of CPUs")) }
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        Self::of_text(&number.to_string())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let number = text.trim().parse();
        number.map_or_else(|_| Err(format!("{text:?} is no number")), Self::of_number)
    }
}

/// A yes or no.
#[derive(Clone, Copy)]
pub(super) struct Switch(pub(super) bool);

impl Scalar for Switch {
    const EXPECTED: &'static str = "true or false";

    fn of_number(number: f64) -> Result<Self, String> {
        Err(format!("{number} is neither true nor false"))
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        Self::of_text(&number.to_string())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let value = text.trim().parse();
        value.map(Self).map_err(|_| format!("{text:?} is neither true nor false"))
    }

    fn of_bool(value: bool) -> Option<Self> {
        Some(Self(value))
    }
}

/// A text, which may look like something else.
pub(super) struct Text(pub(super) String);

impl Scalar for Text {
    const EXPECTED: &'static str = "a text";

    fn of_number(number: f64) -> Result<Self, String> {
        Err(format!("{number} has to be in quotes, as it may have been written in another way"))
    }

    fn of_whole(number: i128) -> Result<Self, String> {
        Ok(Self(number.to_string()))
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn of_bool(value: bool) -> Option<Self> {
        Some(Self(value.to_string()))
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

/// As a number of seconds.
impl Serialize for Read<Duration> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => to.serialize_u64(self.0.as_secs()),
            _ => to.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<'de, T: Scalar> Visitor<'de> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        T::of_bool(value).ok_or_else(|| E::invalid_type(Unexpected::Bool(value), &self))
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

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        match map.next_key::<String>()? {
            Some(name) if name == NUMBER => T::of_text(&map.next_value::<String>()?),
            _ => return Err(M::Error::invalid_type(Unexpected::Map, &self)),
        }
        .map_err(M::Error::custom)
    }
}

/// By this name `serde_json` shows a number if anybody in the program has turned on its feature
/// `arbitrary_precision`.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

#[allow(clippy::ref_option, reason = "serde passes references")]
pub(super) fn seconds<S: Serializer>(limit: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => to.serialize_some(&Read(*limit)),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error as ValueError, MapDeserializer};

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
            ("1h 30min", 5_400_000),
            ("2m30s", 150_000),
            ("5 minutes", 300_000),
            ("0.25", 250),
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
            ("512Mi", 512 << 20),
            ("9007199254740993", (1 << 53) + 1),
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
        let no_quantities = [
            "", "s", "fast", "-1s", "-1.5", "1 parsec", "1.2.3s", "1e400", "9e99s", "1h 30", "inf",
        ];
        for text in no_quantities {
            assert!(Duration::of_text(text).is_err(), "{text}");
            assert!(Size::of_text(text).is_err(), "{text}");
        }
        assert!(Duration::of_whole(-1).is_err() && Size::of_whole(-1).is_err());
        for number in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(Duration::of_number(number).is_err() && Size::of_number(number).is_err());
        }
        assert!(Whole::<u32>::of_number(1.5).is_err() && Whole::<u32>::of_number(-1.0).is_err());
        for text in ["0", "-1", "two", "inf", "NaN", "1e9"] {
            assert!(Cpus::of_text(text).is_err(), "{text}");
        }
        assert!(Switch::of_text("yes").is_err() && Switch::of_whole(1).is_err());
        assert!(Text::of_number(1.1).is_err(), "it may have been 1.10");
    }

    #[test]
    fn a_number_is_read_even_if_it_comes_as_a_text_that_has_kept_its_digits() {
        let shown = MapDeserializer::<_, ValueError>::new([(NUMBER, "30")].into_iter());
        let time = Read::<Duration>::deserialize(shown).unwrap().0;
        assert_eq!(time, Duration::from_secs(30));
        let other = MapDeserializer::<_, ValueError>::new([("seconds", "30")].into_iter());
        assert!(Read::<Duration>::deserialize(other).is_err());
    }

    #[test]
    fn a_duration_is_read_as_it_was_written() {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(7), Duration::MAX]
        {
            let written = serde_json::to_string(&Read(time)).unwrap();
            let read: Read<Duration> = serde_json::from_str(&written).unwrap();
            assert_eq!(read.0, time, "{written}");
        }
    }
}
