//! One name for one thing: no two types are called the same.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Code;
use super::sources;

/// What is there in the place of something else, on systems that lack that, is called the same.
const IN_PLACE: &str = "src/sys/unix/elsewhere.rs";

/// Names that several types have, and why.
const SHARED: [(&str, &str); 3] = [
    ("Decoder", "each form has its own"),
    ("Encoder", "each form has its own"),
    ("Worker", "in the child it is the worker, in the scheduler what that knows of it"),
];

/// The names that types in several files have, with these.
fn shared(files: &[Code]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut named = BTreeMap::<_, BTreeSet<_>>::new();
    for file in files {
        for name in file.types() {
            named.entry(name).or_default().insert(&*file.path);
        }
    }
    named.retain(|_, files| files.len() > 1);
    named
}

#[test]
fn no_two_types_have_the_same_name() {
    let sources = sources();
    let of_one_system = sources.iter().filter(|source| source.path != IN_PLACE);
    let files: Vec<_> =
        of_one_system.filter_map(|source| Code::read(&source.path, &source.text)).collect();
    let mut shared = shared(&files);
    for (name, reason) in SHARED {
        assert!(shared.remove(name).is_some(), "`{name}` needs no exception ({reason})");
    }
    assert!(shared.is_empty(), "these names have several types: {shared:#?}");
}

#[test]
fn types_of_the_same_name_are_told() {
    let files = [
        ("src/sys/a.rs", "struct A;\nenum B<T> { C(T) }\nstruct A();\ntype D = u8;"),
        ("src/sys/b.rs", "#[cfg(test)]\nstruct B;\n// struct B;\ntype D = \"struct B\";"),
        ("src/sys/c.rs", "impl E for F { type B = u8; }\na! { struct enum }\ntrait C {}"),
        ("src/sys/d.rs", "fn f() { trait A { type C; } }\na! { struct enum }"),
    ];
    let files = files.map(|(path, text)| Code::read(path, text).unwrap());
    let a = BTreeSet::from(["src/sys/a.rs", "src/sys/d.rs"]);
    let d = BTreeSet::from(["src/sys/a.rs", "src/sys/b.rs"]);
    assert_eq!(shared(&files), BTreeMap::from([("A", a), ("D", d)]));
}
