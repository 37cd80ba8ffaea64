//! Points in time and spans of it.

use chrono::{FixedOffset, Local, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc, Weekday};
use jiff::{SignedDuration, Span, Timestamp, ToSpan, ZonedDateTime};
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::harness::{Case, becomes, by_debug, case, tests};

tests!(of_chrono, of_chrono_where_it_loses_the_seconds_of_an_offset, of_time, of_jiff);

const SECONDS: i64 = 1_700_000_000;
const NANOSECONDS: u32 = 123_456_789;

fn utc() -> chrono::DateTime<Utc> {
    Utc.timestamp_opt(SECONDS, NANOSECONDS).unwrap()
}

fn east(seconds: i32) -> FixedOffset {
    FixedOffset::east_opt(seconds).unwrap()
}

fn naive() -> NaiveDateTime {
    utc().naive_utc()
}

fn of_chrono() -> Vec<Case> {
    vec![
        case!("chrono", chrono::DateTime<Utc>, "with nanoseconds", utc()),
        case!("chrono", chrono::DateTime<Utc>, "the last", chrono::DateTime::<Utc>::MAX_UTC),
        case!(
            "chrono",
            chrono::DateTime<FixedOffset>,
            "half an hour in the offset",
            utc().with_timezone(&east(19_800))
        ),
        case!("chrono", chrono::DateTime<Local>, "with nanoseconds", utc().with_timezone(&Local)),
        case!("chrono", NaiveDate, "a leap day", NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()),
        case!("chrono", NaiveDateTime, "with nanoseconds", naive()),
        case!(
            "chrono",
            NaiveDateTime,
            "a leap second",
            NaiveDate::from_ymd_opt(2016, 12, 31)
                .and_then(|date| date.and_hms_nano_opt(23, 59, 59, 1_500_000_000))
                .unwrap()
        ),
        case!("chrono", chrono::NaiveTime, "with nanoseconds", naive().time()),
        case!("chrono", TimeDelta, "negative", TimeDelta::milliseconds(-1_234_567)),
        case!("chrono", Weekday, "a day", Weekday::Thu),
    ]
}

/// chrono writes an offset in hours and minutes, whatever the format is: the clock keeps its time,
/// and it is another instant. If this fails since it comes back the same, chrono has been
/// corrected.
fn of_chrono_where_it_loses_the_seconds_of_an_offset() -> Vec<Case> {
    vec![case!(
        "chrono",
        chrono::DateTime<FixedOffset>,
        "28 seconds in the offset, which chrono loses in each format",
        east(53 * 60 + 28).from_local_datetime(&naive()).unwrap(),
        becomes(|| east(53 * 60).from_local_datetime(&naive()).unwrap())
    )]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamped {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    number: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct StampedBySeconds {
    #[serde(with = "time::serde::timestamp")]
    at: OffsetDateTime,
    number: u32,
}

fn offset_date_time() -> OffsetDateTime {
    let utc = OffsetDateTime::from_unix_timestamp(SECONDS).unwrap();
    utc.replace_nanosecond(NANOSECONDS).unwrap().to_offset(UtcOffset::from_hms(5, 30, 0).unwrap())
}

fn date() -> Date {
    Date::from_calendar_date(2024, Month::February, 29).unwrap()
}

fn of_time() -> Vec<Case> {
    vec![
        case!("time", OffsetDateTime, "half an hour in the offset", offset_date_time()),
        case!("time", OffsetDateTime, "28 seconds in the offset", {
            offset_date_time().to_offset(UtcOffset::from_hms(0, 53, 28).unwrap())
        }),
        case!("time", PrimitiveDateTime, "with milliseconds", {
            date().with_hms_milli(23, 59, 59, 999).unwrap()
        }),
        case!("time", Date, "a leap day", date()),
        case!("time", time::Duration, "negative", time::Duration::new(-5, -999_999_999)),
        case!("time", Stamped, "with `time::serde::rfc3339`", {
            Stamped { at: offset_date_time(), number: 3 }
        }),
        case!("time", StampedBySeconds, "with `time::serde::timestamp`", {
            StampedBySeconds {
                at: OffsetDateTime::from_unix_timestamp(SECONDS).unwrap(),
                number: 3,
            }
        }),
    ]
}

fn timestamp() -> Timestamp {
    Timestamp::new(SECONDS, NANOSECONDS.try_into().unwrap()).unwrap()
}

fn of_jiff() -> Vec<Case> {
    vec![
        case!("jiff", Timestamp, "with nanoseconds", timestamp()),
        case!("jiff", Timestamp, "the last", Timestamp::MAX),
        case!("jiff", ZonedDateTime, "in New York", timestamp().in_tz("America/New_York").unwrap()),
        case!("jiff", ZonedDateTime, "the second time of two in a fold", {
            "2024-11-03T01:30:00-05:00[America/New_York]".parse().unwrap()
        }),
        case!("jiff", Span, "of all units", 1.year().months(2).hours(5).nanoseconds(9), by_debug()),
        case!("jiff", SignedDuration, "negative", SignedDuration::new(-5, -999_999_999)),
        case!("jiff", jiff::civil::DateTime, "with nanoseconds", {
            jiff::civil::datetime(2024, 2, 29, 23, 59, 59, 999_999_999)
        }),
        case!("jiff", jiff::civil::Date, "a leap day", jiff::civil::date(2024, 2, 29)),
    ]
}
