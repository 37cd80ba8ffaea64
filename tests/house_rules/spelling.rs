//! One spelling: American, as that of the terms of Rust and tokio (`serialize`, `initializer`). But
//! `cancelled` has two l, as tokio's and Python's has, and so have words like it (`labelled`).

use std::fs;

use super::{Source, collect, repository};

/// What words of the other spelling have in them.
const ASTRAY: [&str; 28] = [
    "analyse",
    "analysing",
    "avour",
    "canceled",
    "canceling",
    "cancelation",
    "centre",
    "colour",
    "ehaviour",
    "eighbour",
    "honour",
    "initialis",
    "labour",
    "licence",
    "maximis",
    "minimis",
    "normalis",
    "optimisa",
    "optimise",
    "optimising",
    "organis",
    "prioritis",
    "recognis",
    "serialis",
    "summaris",
    "synchronis",
    "utilis",
    "whilst",
];

fn misspelled(source: &Source) -> Vec<String> {
    let lines = (1..).zip(source.text.lines().map(str::to_lowercase));
    let found = lines.flat_map(|(number, line)| {
        let words = ASTRAY.iter().filter(move |word| line.contains(*word));
        words.map(move |word| format!("{}:{number}: …{word}…", source.path))
    });
    found.collect()
}

/// What is read by users and by those who change something.
fn pages() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "examples", "attributes/src", "embedding/src"] {
        collect(&repository().join(folder), &mut files);
    }
    for folder in ["", "docs/guide", "benches"] {
        let entries = fs::read_dir(repository().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let page = |path: &std::path::PathBuf| {
        Source::new(&path.display().to_string(), &fs::read_to_string(path).unwrap())
    };
    files.iter().map(page).collect()
}

#[test]
fn there_is_one_spelling() {
    let pages = pages();
    assert!(pages.iter().any(|page| page.path.ends_with("README.md")));
    let found: Vec<_> = pages.iter().flat_map(misspelled).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_other_spelling_is_seen() {
    let text = "Behaviour\nbehavior, cancelled\nfn is_canceled() {}\n// uninitialised";
    let found = misspelled(&Source::new("src/a.rs", text));
    let expected = ["src/a.rs:1: …ehaviour…", "src/a.rs:3: …canceled…", "src/a.rs:4: …initialis…"];
    assert_eq!(found, expected);
}
