//! The table of all values.

use std::collections::BTreeSet;

use crate::harness::{Case, PLACES, pool};
use crate::{
    arrays, collections, errors, geo, identifiers, json_like, messages, numbers, serde_attributes,
    serde_with, std_types, time,
};

fn all() -> Vec<Case> {
    let kinds = [
        std_types::cases,
        serde_attributes::cases,
        serde_with::cases,
        json_like::cases,
        time::cases,
        numbers::cases,
        arrays::cases,
        geo::cases,
        collections::cases,
        identifiers::cases,
        messages::cases,
        errors::cases,
    ];
    kinds.iter().flat_map(|cases| cases()).collect()
}

/// The version of a package that this one is built with, from `Cargo.lock`.
fn version(package: &str) -> Option<&'static str> {
    let lock = include_str!("../../../Cargo.lock");
    let section = |name: &str| {
        let head = format!("name = \"{name}\"\n");
        lock.split("[[package]]\n").filter(move |section| section.starts_with(&head))
    };
    // Where there are several versions, it is named with the version among what this package needs.
    let needed = section("procpool-values").next()?.lines().find_map(|line| {
        let line = line.trim().strip_prefix('"')?.strip_prefix(package)?;
        line.strip_suffix("\",")
    })?;
    match needed.trim() {
        "" => section(package).next()?.lines().find_map(|line| {
            let version = line.strip_prefix("version = \"")?;
            version.strip_suffix('"')
        }),
        version => Some(version),
    }
}

/// For a cell of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[tokio::test]
async fn summary() {
    let pool = pool();
    let cases = all();
    println!("\n| package | version | type | value | {} | |", PLACES.join(" | "));
    println!("|---|---|---|---|{}---|", "---|".repeat(PLACES.len()));
    let mut counts = [("same", 0), ("other", 0), ("error", 0), ("FAILED", 0), ("WRONG", 0)];
    let mut mixed = 0;
    for case in &cases {
        let outcomes = case.send(&pool).await.outcomes;
        let words: Vec<_> = outcomes.iter().map(super::harness::Outcome::word).collect();
        let note = outcomes.iter().find_map(|outcome| outcome.detail()).unwrap_or("");
        println!(
            "| {} | {} | `{}` | {} | {} | {} |",
            case.package,
            version(case.package).unwrap_or(""),
            cell(case.type_name),
            cell(case.what),
            words.join(" | "),
            cell(note),
        );
        let alike = words.iter().all(|word| *word == words[0]);
        mixed += usize::from(!alike);
        let worst = counts.iter().rposition(|(word, _)| words.contains(word)).unwrap();
        counts[worst].1 += 1;
    }
    pool.shutdown().await;
    let types: BTreeSet<_> = cases.iter().map(|case| (case.package, case.type_name)).collect();
    println!("\n{} values of {} types: {counts:?}", cases.len(), types.len());
    println!("{mixed} of them are not the same in each place");
}

#[test]
fn each_value_is_named_once() {
    let mut names = BTreeSet::new();
    for case in all() {
        let name = (case.package, case.type_name, case.what);
        assert!(names.insert(name), "{name:?}");
        assert!(case.package == "std" || version(case.package).is_some(), "{name:?}");
    }
}
