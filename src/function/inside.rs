//! What types hold, by their form: those of serde that are references, and those of the standard
//! library that hold one.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;

use serde::Deserialize;

/// A type that is `What`, or that holds one at `Place`. It is implemented for each place, so a type
/// may have it more than once.
pub trait HasInside<What, Place> {}

/// A reference that serde can decode.
#[derive(Debug)]
pub struct AnyReference;

/// No type is this one. The compiler cannot rule it out for a type that it does not know yet.
#[derive(Debug)]
pub struct UnknownType;

/// The type is the one that is looked for.
#[derive(Debug)]
pub struct Itself;

/// It is in the parameter of the type that has this number, at `Place`.
#[derive(Debug)]
pub struct Within<const PARAMETER: usize, Place>(PhantomData<Place>);

impl<'a, T: ?Sized> HasInside<AnyReference, Itself> for &'a T where &'a T: Deserialize<'a> {}

macro_rules! impl_inside {
    ($($number:literal $parameter:ident of [$($all:tt)*] $type:ty;)*) => {
        $(
            impl<$($all)*, What, Place> HasInside<What, Within<$number, Place>> for $type
            where
                $parameter: HasInside<What, Place>,
            {
            }
        )*
    };
}

impl_inside! {
    0 T of [T] Option<T>;
    0 T of [T] Box<T>;
    0 T of [T] Box<[T]>;
    0 T of [T] Vec<T>;
    0 T of [T] VecDeque<T>;
    0 T of [T] LinkedList<T>;
    0 T of [T] BinaryHeap<T>;
    0 T of [T] BTreeSet<T>;
    0 T of [T, S] HashSet<T, S>;
    0 K of [K, V] BTreeMap<K, V>;
    1 V of [K, V] BTreeMap<K, V>;
    0 K of [K, V, S] HashMap<K, V, S>;
    1 V of [K, V, S] HashMap<K, V, S>;
    0 T of [T, E] Result<T, E>;
    1 E of [T, E] Result<T, E>;
    0 T of [T, const LENGTH: usize] [T; LENGTH];
}

macro_rules! impl_inside_element {
    ($number:literal $element:ident of ($($all:ident),*)) => {
        impl_inside! { $number $element of [$($all),*] ($($all,)*); }
    };
}

macro_rules! impl_inside_tuple {
    ($all:tt: $($number:literal $element:ident),*) => {
        $(impl_inside_element!($number $element of $all);)*
    };
}

impl_inside_tuple!((A): 0 A);
impl_inside_tuple!((A, B): 0 A, 1 B);
impl_inside_tuple!((A, B, C): 0 A, 1 B, 2 C);
impl_inside_tuple!((A, B, C, D): 0 A, 1 B, 2 C, 3 D);
impl_inside_tuple!((A, B, C, D, E): 0 A, 1 B, 2 C, 3 D, 4 E);
impl_inside_tuple!((A, B, C, D, E, G): 0 A, 1 B, 2 C, 3 D, 4 E, 5 G);
impl_inside_tuple!((A, B, C, D, E, G, H): 0 A, 1 B, 2 C, 3 D, 4 E, 5 G, 6 H);
impl_inside_tuple!((A, B, C, D, E, G, H, I): 0 A, 1 B, 2 C, 3 D, 4 E, 5 G, 6 H, 7 I);
