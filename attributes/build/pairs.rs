//! Which pairs of attributes there are, and whether each is in a type.

use std::collections::BTreeSet;

use super::model::{Body, C, F, Field, Repr, V};
use super::plan::Group;

/// Two attributes, by what they are on and by name.
type Pair = (String, String);

fn pair(a: String, b: String) -> Pair {
    if a < b { (a, b) } else { (b, a) }
}

fn field(attr: F) -> String {
    format!("field {attr:?}")
}

fn variant(attr: V) -> String {
    format!("variant {attr:?}")
}

fn of_struct(attr: C) -> String {
    format!("struct {attr:?}")
}

fn of_enum(attr: C) -> String {
    format!("enum {attr:?}")
}

fn tag(repr: Repr) -> String {
    format!("enum {repr:?}")
}

/// Pairs that serde takes, by `goes_with` and `holds`.
fn wanted() -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for a in F::ALL {
        let partners = F::ALL.into_iter().filter(|b| a < *b && a.goes_with(*b));
        pairs.extend(partners.map(|b| pair(field(a), field(b))));
        pairs.extend(C::OF_STRUCTS.map(|b| pair(field(a), of_struct(b))));
        pairs.extend(C::OF_ENUMS.map(|b| pair(field(a), of_enum(b))));
        pairs.extend(Repr::ALL.map(|b| pair(field(a), tag(b))));
        let holders = V::ALL.into_iter().filter(|b| b.holds(a));
        pairs.extend(holders.map(|b| pair(field(a), variant(b))));
    }
    for a in V::ALL {
        let partners = V::ALL.into_iter().filter(|b| a < *b && a.goes_with(*b));
        pairs.extend(partners.map(|b| pair(variant(a), variant(b))));
        pairs.extend(C::OF_ENUMS.map(|b| pair(variant(a), of_enum(b))));
        let is_free = |b: &Repr| *b != Repr::Untagged || !matches!(a, V::Untagged | V::Other);
        let tags = Repr::ALL.into_iter().filter(is_free);
        pairs.extend(tags.map(|b| pair(variant(a), tag(b))));
    }
    for (all, name) in [(&C::OF_STRUCTS[..], of_struct as fn(C) -> String), (&C::OF_ENUMS, of_enum)]
    {
        for a in all {
            let partners = all.iter().filter(|b| a < *b && a.goes_with(**b));
            pairs.extend(partners.map(|b| pair(name(*a), name(*b))));
        }
    }
    for a in C::OF_ENUMS {
        pairs.extend(Repr::ALL.map(|b| pair(of_enum(a), tag(b))));
    }
    pairs
}

/// Pairs that the types have: on one thing, or on a thing and on what is inside of it.
fn covered(groups: &[Group]) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    let mut cross = |outer: &[String], inner: &[String]| {
        for a in outer {
            pairs.extend(inner.iter().filter(|b| a != *b).map(|b| pair(a.clone(), b.clone())));
        }
    };
    let names = |part: &Field| part.attrs.iter().copied().map(field).collect::<Vec<_>>();
    for container in groups.iter().flat_map(|group| &group.types) {
        match &container.body {
            Body::Struct(_, fields) => {
                let outer: Vec<_> = container.attrs.iter().copied().map(of_struct).collect();
                cross(&outer, &outer);
                for part in fields {
                    cross(&outer, &names(part));
                    cross(&names(part), &names(part));
                }
            }
            Body::Enum(repr, variants) => {
                let mut outer: Vec<_> = container.attrs.iter().copied().map(of_enum).collect();
                outer.push(tag(*repr));
                cross(&outer, &outer);
                for one in variants {
                    let middle: Vec<_> = one.attrs.iter().copied().map(variant).collect();
                    cross(&outer, &middle);
                    cross(&middle, &middle);
                    for part in &one.fields {
                        cross(&outer, &names(part));
                        cross(&middle, &names(part));
                        cross(&names(part), &names(part));
                    }
                }
            }
        }
    }
    pairs
}

/// Says how many there are.
///
/// # Panics
///
/// If one is missing.
pub fn check(groups: &[Group]) -> String {
    let (wanted, covered) = (wanted(), covered(groups));
    let missing: Vec<_> = wanted.difference(&covered).collect();
    assert!(missing.is_empty(), "these pairs are in no type: {missing:#?}");
    let types: usize = groups.iter().map(|group| group.types.len()).sum();
    format!("{types} types with {} pairs of attributes", wanted.len())
}
