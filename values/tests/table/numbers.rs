//! Numbers: of the language, of any size, decimal, short.

use bigdecimal::BigDecimal;
use half::{bf16, f16};
use num_bigint::{BigInt, BigUint};
use ordered_float::{NotNan, OrderedFloat};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::harness::{Case, by, case, tests};

tests!(of_the_language, of_rust_decimal, of_bigdecimal, of_num_bigint, of_ordered_float, of_half);

/// Quiet, with a payload.
const QUIET_32: u32 = 0xFFC1_2345;
/// Signalling, with a payload.
const SIGNALLING_32: u32 = 0x7F81_2345;
const QUIET_64: u64 = 0xFFF8_0123_4567_89AB;
const SIGNALLING_64: u64 = 0x7FF0_0123_4567_89AB;

fn of_the_language() -> Vec<Case> {
    vec![
        case!("std", f32, "NaN with a payload", f32::from_bits(QUIET_32), by(same_bits_32)),
        case!("std", f32, "signalling NaN", f32::from_bits(SIGNALLING_32), by(same_bits_32)),
        case!("std", f64, "NaN with a payload", f64::from_bits(QUIET_64), by(same_bits_64)),
        case!("std", f64, "signalling NaN", f64::from_bits(SIGNALLING_64), by(same_bits_64)),
        case!("std", f64, "-0.0", -0.0, by(same_bits_64)),
        case!("std", f64, "the infinite", f64::NEG_INFINITY),
        case!(
            "std",
            Vec<f64>,
            "100 times NaN",
            vec![f64::from_bits(SIGNALLING_64); 100],
            by(|a: &Vec<f64>, b| a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| same_bits_64(a, b)))
        ),
        case!("std", i128, "the least", i128::MIN),
        case!("std", u128, "the largest", u128::MAX),
        case!("std", i64, "the least", i64::MIN),
        case!("std", u64, "the largest", u64::MAX),
    ]
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "a comparison takes references")]
fn same_bits_32(a: &f32, b: &f32) -> bool {
    a.to_bits() == b.to_bits()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "a comparison takes references")]
fn same_bits_64(a: &f64, b: &f64) -> bool {
    a.to_bits() == b.to_bits()
}

// ----- rust_decimal -----
// The type has one form in all of a program: that of the feature `serde` here. `serde-str` and
// `serde-float` would change it for all cases at once; what can stand beside it is chosen by field.

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PriceAsText {
    #[serde(with = "rust_decimal::serde::str")]
    price: Decimal,
    pieces: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OptionalPriceAsText {
    #[serde(with = "rust_decimal::serde::str_option")]
    price: Option<Decimal>,
    pieces: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct PriceAsFloat {
    #[serde(with = "rust_decimal::serde::float")]
    price: Decimal,
    pieces: u32,
}

fn of_rust_decimal() -> Vec<Case> {
    vec![
        case!("rust_decimal", Decimal, "two digits behind the point", Decimal::new(1999, 2)),
        case!("rust_decimal", Decimal, "1.00", Decimal::new(100, 2)),
        case!("rust_decimal", Decimal, "28 digits", many_digits()),
        case!("rust_decimal", Decimal, "negative", Decimal::new(-5, 0)),
        case!(
            "rust_decimal",
            PriceAsText,
            "with `rust_decimal::serde::str`",
            PriceAsText { price: many_digits(), pieces: 3 }
        ),
        case!(
            "rust_decimal",
            OptionalPriceAsText,
            "with `rust_decimal::serde::str_option`, Some",
            OptionalPriceAsText { price: Some(many_digits()), pieces: 3 }
        ),
        case!(
            "rust_decimal",
            OptionalPriceAsText,
            "with `rust_decimal::serde::str_option`, None",
            OptionalPriceAsText { price: None, pieces: 3 }
        ),
        case!(
            "rust_decimal",
            PriceAsFloat,
            "with `rust_decimal::serde::float`",
            PriceAsFloat { price: Decimal::new(195, 1), pieces: 3 }
        ),
    ]
}

fn many_digits() -> Decimal {
    "-1.234567890123456789012345678".parse().unwrap()
}

fn of_bigdecimal() -> Vec<Case> {
    vec![
        case!("bigdecimal", BigDecimal, "two digits behind the point", "19.99".parse().unwrap()),
        case!("bigdecimal", BigDecimal, "50 digits", {
            "-12345678901234567890123456789.012345678901234567890".parse().unwrap()
        }),
    ]
}

fn of_num_bigint() -> Vec<Case> {
    vec![
        case!("num-bigint", BigInt, "negative", BigInt::from(i128::MIN) * i128::MAX),
        case!("num-bigint", BigUint, "zero", BigUint::ZERO),
        case!("num-bigint", BigUint, "10,000 bits", BigUint::from(3_u8).pow(6309)),
    ]
}

fn of_ordered_float() -> Vec<Case> {
    vec![
        case!("ordered-float", OrderedFloat<f32>, "a number", OrderedFloat(1.5)),
        case!("ordered-float", NotNan<f64>, "a number", NotNan::new(1.5).unwrap()),
        case!("ordered-float", Vec<NotNan<f64>>, "100", {
            (0..100).map(|n| NotNan::new(f64::from(n)).unwrap()).collect()
        }),
    ]
}

fn of_half() -> Vec<Case> {
    vec![
        case!("half", f16, "a number", f16::from_f32(1.5)),
        case!("half", bf16, "a number", bf16::from_f32(-2.5)),
        case!("half", Vec<f16>, "100", (0..100_u8).map(|n| f16::from_f32(n.into())).collect()),
    ]
}
