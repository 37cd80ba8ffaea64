//! The programs that read and write files do what they say.

use std::process::{Command, Output};

const CSV_TOTALS: &str = env!("CARGO_BIN_EXE_csv_totals");
const THUMBNAILS: &str = env!("CARGO_BIN_EXE_thumbnails");

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap()
}

/// The number that stands before these words.
fn number_before(text: &str, words: &str) -> u64 {
    let (left, _) = text.split_once(words).expect(text);
    left.split_whitespace().next_back().unwrap().parse().expect(text)
}

#[test]
fn the_totals_of_all_parts_are_those_of_the_whole() {
    let output = run(CSV_TOTALS, &["2"]);
    let text = stdout(&output);
    assert!(text.contains(" did it in 4 parts in "), "{text}");
    let cities: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("city"))
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .take_while(|columns: &Vec<_>| columns.len() == 5)
        .collect();
    assert!(cities.len() == 8 && cities.is_sorted(), "{text}");
    let sales: u64 = cities.iter().map(|columns| columns[1].parse::<u64>().unwrap()).sum();
    assert_eq!(sales, number_before(text, " lines were written"), "{text}");
    assert!(text.lines().next_back().unwrap().starts_with("speed-up "), "{text}");
}

#[test]
fn a_corrupt_picture_costs_its_own_thumbnail_only() {
    let output = run(THUMBNAILS, &["6", "200"]);
    let text = stdout(&output);
    for name in ["0000.png", "0001.jpeg", "0003.jpeg", "0004.png", "0005.jpeg"] {
        assert!(text.contains(&format!("\n{name}: 128 × 96\n")), "{text}");
    }
    assert!(text.contains("\n0002.png: FAILED, it is no picture: "), "{text}");
    assert!(text.contains("\n5 of 6 thumbnails were made in "), "{text}");
}

#[test]
fn they_explain_wrong_arguments() {
    for (program, name) in [
        (CSV_TOTALS, "csv_totals"),
        (THUMBNAILS, "thumbnails"),
        (env!("CARGO_BIN_EXE_simulation"), "simulation"),
        (env!("CARGO_BIN_EXE_tenants"), "tenants"),
        (env!("CARGO_BIN_EXE_uploads"), "uploads"),
    ] {
        let output = run(program, &["-1"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let usage = format!("usage: {name} [");
        assert!(str::from_utf8(&output.stderr).unwrap().starts_with(&usage), "{output:?}");
    }
}
