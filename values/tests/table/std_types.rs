//! Types of the standard library.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CString, OsString};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::{NonZeroU64, Saturating, Wrapping};
use std::ops::{Bound, Range, RangeInclusive};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use crate::harness::{Case, by, by_debug, case, equal_only, error, tests};

tests!(of_time, of_net, of_text, of_wrappers, of_collections, of_sizes);

fn of_time() -> Vec<Case> {
    vec![
        case!("std", Duration, "nanoseconds too", Duration::new(5_000_000_000, 999_999_999)),
        case!(
            "std",
            SystemTime,
            "after 1970",
            SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)
        ),
        case!(
            "std",
            SystemTime,
            "before 1970",
            SystemTime::UNIX_EPOCH - Duration::from_secs(1),
            error("SystemTime must be later than UNIX_EPOCH")
        ),
    ]
}

fn link_local(flow_label: u32, scope: u32) -> SocketAddrV6 {
    SocketAddrV6::new("fe80::1".parse().unwrap(), 8080, flow_label, scope)
}

fn of_net() -> Vec<Case> {
    vec![
        case!("std", IpAddr, "v4", IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        case!("std", IpAddr, "v6", "2001:db8::1".parse().unwrap()),
        case!("std", Ipv6Addr, "with zeros", Ipv6Addr::LOCALHOST),
        case!("std", SocketAddr, "v4", "192.0.2.1:80".parse().unwrap()),
        case!("std", SocketAddr, "v6", "[2001:db8::1]:443".parse().unwrap()),
        case!("std", SocketAddr, "v6 with a scope", link_local(0, 3).into()),
        case!("std", SocketAddrV6, "with a scope", link_local(0, 3)),
        // serde has no place for it, not even in a text.
        case!(
            "std",
            SocketAddr,
            "v6 with a flow label",
            link_local(7, 0).into(),
            error("flow label")
        ),
        case!(
            "std",
            SocketAddrV6,
            "with a flow label and a scope",
            link_local(7, 3),
            error("flow label")
        ),
    ]
}

fn not_utf8() -> OsString {
    OsString::from_vec(b"caf\xE9".to_vec())
}

fn of_text() -> Vec<Case> {
    vec![
        case!("std", String, "empty", String::new()),
        case!("std", String, "of several bytes", "größer ∀ 🦀 \0".to_owned()),
        case!("std", char, "of four bytes", '🦀'),
        case!("std", PathBuf, "UTF-8", PathBuf::from("/tmp/ä b")),
        case!(
            "std",
            PathBuf,
            "not UTF-8",
            PathBuf::from(not_utf8()),
            error("path contains invalid UTF-8 characters")
        ),
        case!("std", OsString, "UTF-8", OsString::from("ä")),
        case!("std", OsString, "not UTF-8", not_utf8()),
        case!("std", CString, "bytes", CString::new(b"caf\xE9".to_vec()).unwrap()),
        case!("std", Cow<'static, str>, "borrowed", Cow::Borrowed("borrowed")),
        case!("std", Cow<'static, [u16]>, "owned", Cow::Owned(vec![1, 2, 300])),
        case!("std", Arc<str>, "with the feature `rc`", Arc::from("shared")),
        case!("std", Box<str>, "boxed", Box::from("boxed")),
    ]
}

fn of_wrappers() -> Vec<Case> {
    vec![
        case!("std", (), "unit", ()),
        case!("std", Option<Option<u8>>, "Some(None)", Some(None)),
        case!("std", Option<()>, "Some(())", Some(())),
        case!("std", Option<Option<Option<()>>>, "Some(Some(None))", Some(Some(None))),
        case!("std", Result<u32, String>, "Ok", Ok(5)),
        case!("std", Result<u32, String>, "Err", Err("no number".to_owned())),
        case!("std", Range<u64>, "half open", 3..u64::MAX),
        case!("std", RangeInclusive<char>, "closed", 'a'..='z'),
        case!("std", Bound<i32>, "excluded", Bound::Excluded(-1)),
        case!("std", NonZeroU64, "the largest", NonZeroU64::MAX),
        case!("std", Wrapping<i16>, "the least", Wrapping(i16::MIN)),
        case!("std", Saturating<u8>, "the largest", Saturating(u8::MAX)),
        case!("std", Reverse<u32>, "of a number", Reverse(5)),
        case!("std", Mutex<u64>, "not locked", Mutex::new(5), by_debug()),
        case!("std", RwLock<String>, "not locked", RwLock::new("a".to_owned()), by_debug()),
        case!("std", Cell<u8>, "of a number", Cell::new(5)),
        case!("std", RefCell<Vec<u8>>, "not borrowed", RefCell::new(vec![5])),
        case!("std", AtomicU64, "the largest", AtomicU64::new(u64::MAX), by_debug()),
        case!("std", PhantomData<String>, "nothing", PhantomData),
        case!("std", Box<u128>, "of a number", Box::new(u128::MAX)),
        case!("std", Rc<Vec<bool>>, "with the feature `rc`", Rc::new(vec![true, false])),
    ]
}

fn of_collections() -> Vec<Case> {
    vec![
        case!("std", Arc<[u64]>, "with the feature `rc`", Arc::from([1, 2, u64::MAX])),
        case!("std", Box<[u32]>, "100 of them", (0..100).collect()),
        case!("std", VecDeque<u16>, "wrapped round", {
            let mut queue: VecDeque<u16> = (0..100).collect();
            queue.rotate_left(30);
            queue
        }),
        case!("std", BTreeSet<i64>, "of numbers", (-50..50).collect()),
        case!("std", LinkedList<u8>, "of numbers", [1, 2, 3].into()),
        case!("std", BTreeMap<(u8, u8), String>, "keys that are no text", {
            BTreeMap::from([((1, 2), "a".to_owned()), ((0, 3), "b".to_owned())])
        }),
        case!(
            "std",
            BinaryHeap<u32>,
            "of numbers",
            BinaryHeap::from([3, 1, 2]),
            by(|a: &BinaryHeap<u32>, b| a.clone().into_sorted_vec() == b.clone().into_sorted_vec())
        ),
        case!(
            "std",
            HashSet<String>,
            "of texts",
            ["a", "b"].map(String::from).into(),
            equal_only()
        ),
        case!(
            "std",
            HashMap<u32, HashMap<String, i8>>,
            "nested",
            HashMap::from([(1, HashMap::from([("a".to_owned(), -1)])), (2, HashMap::new())]),
            equal_only()
        ),
        case!("std", [u8; 32], "an array", [0xA5; 32]),
        case!("std", [[f32; 3]; 2], "an array of arrays", [[1.5, 2.5, 3.5], [0.0, -0.0, 7.0]]),
        case!("std", (u8, String, [i16; 2]), "a tuple", (1, "b".to_owned(), [-1, 1])),
    ]
}

fn of_sizes() -> Vec<Case> {
    vec![
        case!("std", Vec<f64>, "none", Vec::new()),
        case!("std", Vec<u32>, "63", (0..63).collect()),
        case!("std", Vec<u32>, "64", (0..64).collect()),
        case!("std", Vec<u32>, "65", (0..65).collect()),
        case!("std", Vec<u128>, "100", (0..100).map(|n| u128::MAX - n).collect()),
        case!("std", Vec<Vec<f64>>, "ragged", {
            (0..70_u32).map(|n| (0..n).map(f64::from).collect()).collect()
        }),
        case!("std", Vec<Option<f64>>, "100", {
            (0..100).map(|n| (n % 3 > 0).then_some(f64::from(n) / 4.0)).collect()
        }),
        case!(
            "std",
            HashMap<String, Vec<f32>>,
            "of vectors",
            HashMap::from([("a".to_owned(), vec![0.5; 100]), ("b".to_owned(), Vec::new())]),
            equal_only()
        ),
        case!("std", BTreeMap<u32, u32>, "200,000", (0..200_000).map(|n| (n, !n)).collect()),
        case!(
            "std",
            Vec<()>,
            "a million",
            vec![(); 1_000_000],
            by(|a: &Vec<()>, b| a.len() == b.len())
        ),
    ]
}
