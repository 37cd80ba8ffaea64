//! The codec beside postcard.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Deserializer, Serializer};
use serde_bytes::ByteBuf;

use super::named::tag;
use super::number::PACK_FROM;
use super::*;

/// Cannot be encoded.
struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[derive(Debug, PartialEq)]
struct Undecodable;

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn custom_errors_keep_their_text() {
    let mut bytes = vec![0xAA];
    let error = encode_compact(&(7_u8, Failing), &mut bytes, 100).unwrap_err();
    assert_eq!(error, Fault::Custom("never".to_owned()).into());
    assert_eq!(error.to_string(), "never, at `[1]`");
    assert_eq!(bytes, [0xAA]);
    let error = decode::<(Undecodable,)>(&[]).unwrap_err();
    assert_eq!(error, Fault::Custom("never".to_owned()).into());
}

#[test]
fn other_errors_are_postcards() {
    let error = decode::<bool>(&[7]).unwrap_err();
    assert_eq!(error, Fault::Postcard(postcard::Error::DeserializeBadBool).into());
}

#[test]
fn a_value_comes_back() {
    let mut bytes = Vec::new();
    encode_compact(&(7_u64, "seven"), &mut bytes, 100).unwrap();
    assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "seven".to_owned()));
}

#[test]
fn what_stands_before_is_kept_and_does_not_count() {
    let mut bytes = vec![0xAA; 50];
    encode_compact(&1_u8, &mut bytes, 1).unwrap();
    assert_eq!(bytes.len(), 51);
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let mut bytes = vec![0xAA];
    let error = encode_compact(&vec![0_u8; 100], &mut bytes, 99).unwrap_err();
    assert_eq!(error, Fault::TooLarge { limit: 99 }.into());
    assert_eq!(bytes, [0xAA]);
}

#[test]
fn left_over_bytes_are_an_error() {
    assert_eq!(decode::<u8>(&[1, 2]), Err(Fault::Trailing(1).into()));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Struct<T> {
    before: (),
    field: T,
}

/// Whatever serde knows that has parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape<T: Ord> {
    Empty,
    Bare(T),
    Optional(Option<T>),
    Sequence(Vec<T>),
    Set(BTreeSet<T>),
    Queue(VecDeque<T>),
    Tuple(u8, T),
    Array([T; 3]),
    Newtype(Newtype<T>),
    Pair(Unit, T),
    Struct(Struct<T>),
    Fields { before: Option<T>, field: T },
    Key(BTreeMap<T, u8>),
    Value(BTreeMap<u8, T>),
}

fn shapes<T: Clone + Ord>(last: &T, other: &T) -> Vec<Shape<T>> {
    let (last, other) = (|| last.clone(), || other.clone());
    vec![
        Shape::Bare(last()),
        Shape::Optional(Some(last())),
        Shape::Optional(None),
        Shape::Sequence(vec![other(), last()]),
        Shape::Set([other(), last()].into()),
        Shape::Queue([other(), last()].into()),
        Shape::Tuple(7, last()),
        Shape::Array([other(), other(), last()]),
        Shape::Newtype(Newtype(last())),
        Shape::Pair(Unit, last()),
        Shape::Struct(Struct { before: (), field: last() }),
        Shape::Fields { before: None, field: last() },
        Shape::Key([(other(), 1), (last(), 2)].into()),
        Shape::Value([(1, other()), (2, last())].into()),
        Shape::Empty,
    ]
}

/// The bytes are postcard's, and so is what comes of them, whole or cut off anywhere.
#[track_caller]
fn assert_as_postcard<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let bytes = encoded(value);
    assert_eq!(bytes, postcard::to_stdvec(value).unwrap());
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(decode_shared::<T>(&bytes.clone().into()).as_ref(), Ok(value));
    for end in 0..bytes.len() {
        let expected = postcard::take_from_bytes::<T>(&bytes[..end]).map(|_| ());
        let cut = decode::<T>(&bytes[..end]).map(|_| ());
        assert_eq!(
            cut,
            expected.map_err(|error| Fault::Postcard(error).into()),
            "{end} bytes of {value:?}"
        );
    }
}

#[test]
fn values_are_written_and_read_as_by_postcard() {
    assert_as_postcard(&shapes(&300_u16, &1));
    assert_as_postcard(&shapes(&"last".to_owned(), &"other".to_owned()));
    assert_as_postcard(&(true, 'ß', "text".to_owned(), (), Unit));
    assert_as_postcard(&(1.5_f32, -0.25_f64, usize::MAX, isize::MIN));
    assert_as_postcard(&(ByteBuf::from([1, 2, 3]), Bytes::from_static(b"bytes")));
    assert_as_postcard(&(vec![1_u8, 2, 3], vec![-1_i8], vec![0.5_f32], vec![f64::MAX, 0.1]));
    assert_as_postcard(&(vec![[0.5_f32, f32::MIN]; 3], vec![[1.5_f64; 3]; 2], vec![[-0.0_f64; 4]]));
    assert_as_postcard(&vec![vec![[1.0_f32, 2.0, 3.0]], vec![], vec![[f32::INFINITY; 3]; 70]]);
    assert_as_postcard(&vec![vec![vec![7_u8; 3]; 2]; 2]);
    assert_as_postcard(&vec![Some(Newtype(vec![1.5_f64; 9])); 3]);
    assert_as_postcard(&(vec![true, false], vec!['a', '€']));
    assert_as_postcard(&(vec![u64::MAX; PACK_FROM - 1], vec![i16::MIN; 3]));
}

#[test]
fn numbers_of_all_sizes_are_written_and_read_as_by_postcard() {
    for shift in 0..128 {
        let number = u128::MAX >> shift;
        assert_as_postcard(&(number, number - number / 2));
        assert_as_postcard(&(u8::MAX >> (shift % 8), u16::MAX >> (shift % 16)));
        assert_as_postcard(&(u32::MAX >> (shift % 32), u64::MAX >> (shift % 64)));
        let half = number.cast_signed() / 2;
        assert_as_postcard(&(half, -half, i128::MIN >> shift, i64::MIN >> (shift % 64)));
        assert_as_postcard(&(i32::MIN >> (shift % 32), i16::MAX >> (shift % 16)));
    }
}

#[test]
fn numbers_that_are_too_long_are_refused_as_by_postcard() {
    fn assert_alike<T: DeserializeOwned + PartialEq + fmt::Debug>(bytes: &[u8]) {
        let expected =
            postcard::from_bytes::<T>(bytes).map_err(|error| Fault::Postcard(error).into());
        assert_eq!(decode::<T>(bytes), expected, "{bytes:?}");
    }
    for length in 0..20 {
        for last in [0, 1, 2, 3, 4, 0x0F, 0x10, 0x7F, 0x80, 0xFF] {
            let mut bytes = vec![0xFF; length];
            bytes.push(last);
            assert_alike::<u16>(&bytes);
            assert_alike::<i32>(&bytes);
            assert_alike::<u64>(&bytes);
            assert_alike::<i128>(&bytes);
        }
    }
}

#[test]
fn other_values_are_refused_as_by_postcard() {
    fn assert_refused<T: DeserializeOwned + PartialEq + fmt::Debug>(bytes: &[u8]) {
        let expected = postcard::from_bytes::<T>(bytes).unwrap_err();
        assert_eq!(decode::<T>(bytes), Err(Fault::Postcard(expected).into()), "{bytes:?}");
    }
    assert_refused::<Option<u8>>(&[2, 0]);
    assert_refused::<char>(&[5, b'a']);
    assert_refused::<char>(&[0]);
    assert_refused::<char>(&[1, 0xFF]);
    assert_refused::<String>(&[2, b'a', 0xFF]);
}

/// Two elements at least, whatever the type.
fn sample<T>(count: usize, number: impl Fn(usize) -> T) -> Vec<T> {
    (0..count).map(number).collect()
}

#[track_caller]
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T) {
    let bytes = encoded(value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
    for end in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        assert!(decode::<T>(&bytes[..end]).is_err());
    }
}

#[test]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "any number will do"
)]
fn many_numbers_come_back() {
    for count in [0, 1, PACK_FROM - 1, PACK_FROM, PACK_FROM + 1, 1000] {
        let spread = |n: usize| (n as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        assert_round_trip(&sample(count, |n| spread(n) as u8));
        assert_round_trip(&sample(count, |n| spread(n) as i8));
        assert_round_trip(&sample(count, |n| spread(n) as u16));
        assert_round_trip(&sample(count, |n| spread(n) as i16));
        assert_round_trip(&sample(count, |n| spread(n) as u32));
        assert_round_trip(&sample(count, |n| spread(n) as i32));
        assert_round_trip(&sample(count, |n| spread(n) as u64));
        assert_round_trip(&sample(count, |n| spread(n) as i64));
        assert_round_trip(&sample(count, |n| spread(n) as usize));
        assert_round_trip(&sample(count, |n| spread(n) as isize));
        assert_round_trip(&sample(count, spread));
        assert_round_trip(&sample(count, |n| spread(n) as i128));
        assert_round_trip(&sample(count, |n| 1.0 / f64::from(n as u32)));
        assert_round_trip(&sample(count, |n| 1.0 / f32::from(n as u16)));
        assert_round_trip(&(
            sample(count, |n| n as u64),
            sample(count, |n| vec![n as u32; n % 99]),
        ));
    }
}

#[test]
fn many_integers_are_copied_as_a_whole() {
    let numbers = vec![u64::MAX; 1000];
    assert_eq!(encoded(&numbers).len(), 2 + 1 + 2 + 8 * numbers.len());
    assert_eq!(encoded(&numbers[..]), encoded(&numbers));
    assert_eq!(encoded(&numbers.iter().collect::<Vec<_>>()).len(), 2 + 10 * numbers.len());
}

#[test]
fn packed_numbers_can_be_wanted_as_something_else() {
    let numbers: Vec<u32> = (0..1000).collect();
    let bytes = encoded(&numbers);
    assert_eq!(decode::<VecDeque<u32>>(&bytes).unwrap(), numbers);
    assert_eq!(decode::<HashSet<u32>>(&bytes).unwrap().len(), numbers.len());
    assert_eq!(decode::<Vec<Newtype<u64>>>(&bytes).unwrap()[999], Newtype(999));
    assert_eq!(decode::<Vec<u128>>(&bytes).unwrap()[999], 999);
    assert_eq!(decode::<Box<[u32]>>(&bytes).unwrap()[..], numbers);
    let too_large = decode::<Vec<u8>>(&bytes).unwrap_err().to_string();
    assert!(too_large.contains("256"), "{too_large}");
    let signed = encoded(&vec![-5_i16; PACK_FROM]);
    assert_eq!(decode::<Vec<i64>>(&signed).unwrap(), [-5; PACK_FROM]);
    let large = encoded(&vec![(i128::MIN, u128::MAX); 1]);
    assert_eq!(decode::<Vec<(i128, u128)>>(&large).unwrap(), [(i128::MIN, u128::MAX)]);
    let large = encoded(&vec![i128::MIN; PACK_FROM]);
    assert_eq!(decode::<VecDeque<i128>>(&large).unwrap(), [i128::MIN; PACK_FROM]);
}

#[test]
fn a_visitor_of_ones_own_is_asked_even_for_a_vec() {
    /// Adds one to each.
    #[derive(Debug, PartialEq, Serialize)]
    struct Counted(Vec<u8>);

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Counting;
            impl<'de> serde::de::Visitor<'de> for Counting {
                type Value = Vec<u8>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("numbers")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(
                    self,
                    mut numbers: A,
                ) -> Result<Vec<u8>, A::Error> {
                    let mut counted = Vec::new();
                    while let Some(number) = numbers.next_element::<u8>()? {
                        counted.push(number + 1);
                    }
                    Ok(counted)
                }
            }
            deserializer.deserialize_seq(Counting).map(Self)
        }
    }

    assert_eq!(decode::<Counted>(&encoded(&[1_u8, 2, 3][..])), Ok(Counted(vec![2, 3, 4])));
}

#[test]
fn large_bytes_are_shared_with_what_they_came_in_and_small_ones_are_not() {
    let value = (Bytes::from(vec![7; 100_000]), Bytes::from_static(b"small"));
    let bytes = Bytes::from(encoded(&value));
    let (large, small) = decode_shared::<(Bytes, Bytes)>(&bytes).unwrap();
    assert_eq!((&large, &small), (&value.0, &value.1));
    let inside = |part: &Bytes| bytes.as_ptr_range().contains(&part.as_ptr());
    assert!(inside(&large) && !inside(&small));
}

#[test]
fn large_texts_come_back() {
    assert_round_trip(&"€".repeat(1000));
    let text = "€".repeat(2 << 20);
    assert!(decode::<String>(&encoded(&text)).unwrap() == text);
    assert!(*decode::<Box<str>>(&encoded(&text)).unwrap() == text);
}

/// A length with nothing behind it.
fn length(length: u64) -> Vec<u8> {
    encoded(&length)
}

#[test]
fn a_length_alone_takes_no_memory() {
    for count in [1 << 40, u64::MAX - 1, u64::MAX] {
        let end = CodecError::from(Fault::Postcard(postcard::Error::DeserializeUnexpectedEnd));
        let bytes = length(count);
        assert_eq!(decode::<Vec<u8>>(&bytes), Err(end.clone()));
        assert_eq!(decode::<Vec<f64>>(&bytes), Err(end.clone()));
        assert_eq!(decode::<Vec<String>>(&bytes), Err(end.clone()));
        assert_eq!(decode::<BTreeMap<u8, u8>>(&bytes), Err(end.clone()));
        assert_eq!(decode::<String>(&bytes), Err(end.clone()));
        assert_eq!(decode::<ByteBuf>(&bytes), Err(end.clone()));
        for kind in [tag::U16, tag::U32, tag::U64, tag::U128, tag::I64] {
            let packed = [&[0x80, 0, kind][..], &bytes, &[1, 2, 3]].concat();
            assert_eq!(decode::<Vec<u64>>(&packed), Err(end.clone()));
            assert_eq!(decode::<VecDeque<u64>>(&packed), Err(end.clone()));
        }
    }
}

#[test]
fn unknown_kinds_of_packed_numbers_are_refused() {
    for kind in [0, tag::TRUE, tag::CHAR, tag::SEQ, 0x88, 0xFF] {
        let bad = CodecError::from(Fault::Malformed);
        assert_eq!(decode::<Vec<u64>>(&[0x80, 0, kind, 0]), Err(bad));
    }
    assert_eq!(decode::<Vec<u64>>(&[0x80, 0, tag::U64, 0]), Ok(Vec::new()));
}

/// Takes memory and no bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hollow {
    #[serde(skip)]
    memory: [u64; 16],
}

#[test]
fn values_that_take_no_bytes_come_back_but_not_without_limit() {
    assert_round_trip(&vec![(); 1_000_000]);
    let hollow = Hollow { memory: [0; 16] };
    assert_eq!(
        decode::<Vec<Hollow>>(&encoded(&vec![hollow.clone(); 10_000])).unwrap().len(),
        10_000
    );
    let end = CodecError::from(Fault::Postcard(postcard::Error::DeserializeUnexpectedEnd));
    assert_eq!(decode::<Vec<Hollow>>(&length(1 << 40)), Err(end.clone()));
    let many = [length(1000), length(100_000).repeat(1000)].concat();
    assert_eq!(decode::<Vec<Vec<Hollow>>>(&many), Err(end));
}

#[test]
fn the_limit_holds_to_the_byte() {
    let value = (vec![1.5_f64; 1000], "text".repeat(100), vec![7_u64; 1000], vec![3_u8; 10]);
    let length = encoded(&value).len();
    let mut bytes = Vec::new();
    for limit in [0, 1, 2, 100, 8002, 8003, 8500, length - 11, length - 1] {
        assert_eq!(
            encode_compact(&value, &mut bytes, limit),
            Err(Fault::TooLarge { limit }.into())
        );
        assert!(bytes.is_empty());
    }
    encode_compact(&value, &mut bytes, length).unwrap();
    assert_eq!(bytes.len(), length);
}

#[test]
fn a_sequence_without_a_length_is_an_error() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..10).filter(|n| n % 2 == 0))
        }
    }
    let error = encode_compact(&Endless, &mut Vec::new(), 100).unwrap_err();
    assert_eq!(error, Fault::NeedsNames(error::Lack::Length).into());
}

#[test]
fn room_for_a_long_sequence_is_found_once() {
    let capacity_for = |value: &Vec<(f64, f64, bool)>, limit| {
        let mut bytes = Vec::new();
        encode_compact(value, &mut bytes, limit).map(|()| bytes.capacity())
    };
    let long = vec![(0.5, -0.5, true); 100_000];
    let length = 3 + 17 * long.len();
    assert!(capacity_for(&long, usize::MAX).unwrap() < length + length / 10);
    assert!(capacity_for(&long, length).is_ok());
    assert!(capacity_for(&long, length - 1).is_err());
}

/// The rest may be of another kind than what comes first.
#[test]
fn room_is_not_found_for_more_than_there_may_be() {
    let first_large = |count: usize| {
        let text = |at| if at < count { "x".repeat(1 << 12) } else { String::new() };
        (0..100_000).map(text).collect::<Vec<_>>()
    };
    let bytes = encoded(&first_large(64));
    assert!(bytes.capacity() < 256 * 100_000 + (1 << 20), "{}", bytes.capacity());
    let mut bytes = Vec::new();
    encode_compact(&first_large(64), &mut bytes, 1 << 20).unwrap();
    assert!(bytes.capacity() <= 2 << 20, "{}", bytes.capacity());
}
