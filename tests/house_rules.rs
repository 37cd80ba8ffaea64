//! Rules of this repository that no compiler checks.
//!
//! A binary of its own: it reads text, and needs no pool.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

#[cfg(target_os = "linux")]
#[path = "house_rules/dependencies.rs"]
mod dependencies;
#[path = "house_rules/imports.rs"]
mod imports;
#[path = "house_rules/names.rs"]
mod names;
#[path = "house_rules/spelling.rs"]
mod spelling;
#[path = "house_rules/walls.rs"]
mod walls;

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 600;
const LONGEST_LINE: usize = 100;

/// A source file with its path inside the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Where one of the words stands in code; comments may say what they like.
    fn mentions(&self, words: &[&str]) -> Vec<String> {
        let code = (1..).zip(self.text.lines().map(without_comment));
        let found = code.flat_map(|(number, line)| {
            let words = words.iter().filter(move |word| has_word(line, word));
            words.map(move |word| format!("{}:{number}: `{word}`", self.path))
        });
        found.collect()
    }
}

/// The line up to its `//`, unless that is part of a text such as an address.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Whether `word` occurs, and not just as a part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

fn unfinished(source: &Source) -> Vec<String> {
    source.mentions(&["todo!", "unimplemented!", "dbg!"])
}

fn unsafe_outside_of_sys(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/sys/") { Vec::new() } else { source.mentions(&["unsafe"]) }
}

fn impure_scheduler(source: &Source) -> Vec<String> {
    let words = ["tokio", "bytes", "futures", "Instant", "SystemTime", "HashMap", "rand"];
    if source.path.starts_with("src/scheduler/") { source.mentions(&words) } else { Vec::new() }
}

/// Somebody may set the time of day while a pool runs.
fn time_of_day(source: &Source) -> Vec<String> {
    source.mentions(&["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME", "Realtime"])
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let verdict = format!("{}: {lines} lines, more than {LONGEST_FILE}", source.path);
    (lines > LONGEST_FILE).then_some(verdict).into_iter().collect()
}

/// Prose, on lines of its own or behind code; tables, drawings and examples may need more.
fn wide_comments(source: &Source) -> Vec<String> {
    let mut in_example = false;
    let mut wide = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let comment = line.trim_start();
        let text = comment.trim_start_matches(['/', '!']).trim_start();
        in_example ^= comment.starts_with("//") && text.starts_with("```");
        let is_drawn =
            text.starts_with('|') || text.contains(['─', '│', '▶']) || text.contains("   ");
        let is_comment = comment.len() > without_comment(comment).len();
        if is_comment && !in_example && !is_drawn && line.chars().count() > LONGEST_LINE {
            wide.push(format!("{}:{number}: a wide comment", source.path));
        }
    }
    wide
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// All of `src`.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&repository().join("src"), &mut files);
    files.sort();
    let sources: Vec<_> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(repository()).unwrap().to_str().unwrap();
            Source::new(path, &fs::read_to_string(file).unwrap())
        })
        .collect();
    for place in ["src/lib.rs", "src/scheduler/mod.rs", "src/sys/mod.rs"] {
        assert!(sources.iter().any(|source| source.path == place), "{place} has moved");
    }
    sources
}

#[track_caller]
fn assert_none(rule: fn(&Source) -> Vec<String>) {
    let violations: Vec<_> = sources().iter().flat_map(rule).collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(unfinished);
}

#[test]
fn unsafe_stays_in_the_corner_of_the_operating_system() {
    assert_none(unsafe_outside_of_sys);
}

#[test]
fn the_scheduler_is_pure() {
    assert_none(impure_scheduler);
}

#[test]
fn nothing_depends_on_the_time_of_day() {
    assert_none(time_of_day);
}

#[test]
fn files_are_short() {
    assert_none(too_long);
}

#[test]
fn comments_are_within_the_columns() {
    assert_none(wide_comments);
}

#[test]
fn the_changelog_has_a_place_for_what_is_new() {
    let changelog = fs::read_to_string(repository().join("CHANGELOG.md")).unwrap();
    assert!(changelog.lines().any(|line| line == "## Unreleased"), "{changelog}");
}

/// What stands between backticks, with what is in front of it.
fn quoted(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = page.split('`').collect();
    parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// The files that a page names and that are not there, and the names that are not in the file that
/// they are said to be in.
fn astray(page: &str) -> Vec<String> {
    let quoted = quoted(page);
    let is_path = |text: &str| text.starts_with("src/") || text.starts_with("tests/");
    let mut astray = Vec::new();
    for (at, (before, path)) in quoted.iter().enumerate().filter(|(_, (_, text))| is_path(text)) {
        let file = repository().join(path);
        if !file.exists() {
            astray.push(format!("{path} is not there"));
        } else if before.split_whitespace().eq(["in"]) && file.is_file() {
            let name = quoted[at.saturating_sub(1)].1.rsplit("::").next().unwrap_or_default();
            if !has_word(&fs::read_to_string(&file).unwrap(), name) {
                astray.push(format!("{name} is not in {path}"));
            }
        }
    }
    astray
}

#[test]
fn pages_lead_where_they_say() {
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        // A block of code has backticks of its own.
        let prose: Vec<_> = text.split("```").step_by(2).collect();
        let astray: Vec<_> = prose.iter().flat_map(|prose| astray(prose)).collect();
        assert!(astray.is_empty(), "{page}:\n{}", astray.join("\n"));
    }
    let wrong =
        "`lib` in `src/none.rs`, and `Nothing::such` in\n`src/lib.rs`; `current` in `src/lib.rs`";
    assert_eq!(astray(wrong), ["src/none.rs is not there", "such is not in src/lib.rs"]);
}

#[test]
fn the_rules_see_what_they_look_for() {
    let planted = [
        (unfinished as fn(&Source) -> Vec<String>, "src/a.rs", "fn a() { todo!() }"),
        (unfinished, "src/a.rs", "let url = \"http://a\"; dbg!(url);"),
        (unsafe_outside_of_sys, "src/base/clock.rs", "unsafe { a() }"),
        (impure_scheduler, "src/scheduler/a.rs", "use std::time::{Duration, Instant};"),
        (impure_scheduler, "src/scheduler/a.rs", "tokio::spawn(a)"),
        (time_of_day, "src/a.rs", "let now = std::time::SystemTime::now();"),
        (time_of_day, "src/sys/a.rs", "clock_gettime(ClockId::Realtime)"),
    ];
    for (rule, path, text) in planted {
        assert_eq!(rule(&Source::new(path, text)).len(), 1, "{text}");
    }
    assert_eq!(too_long(&Source::new("src/a.rs", &"\n".repeat(LONGEST_FILE + 1))).len(), 1);
    let wide = format!("// {}\n", "a ".repeat(LONGEST_LINE / 2));
    let behind = format!("let a = 1; // {}a;\n", "a ".repeat(LONGEST_LINE / 2));
    for wide in [&wide, &behind] {
        assert_eq!(wide_comments(&Source::new("src/a.rs", wide)).len(), 1);
    }
}

#[test]
fn the_rules_leave_alone_what_is_allowed() {
    let allowed = [
        (unfinished as fn(&Source) -> Vec<String>, "src/a.rs", "// todo!"),
        (unsafe_outside_of_sys, "src/a.rs", "#![deny(unsafe_code)]"),
        (unsafe_outside_of_sys, "src/sys/a.rs", "unsafe { a() }"),
        (impure_scheduler, "src/parent/link.rs", "use tokio::io;"),
        (time_of_day, "src/a.rs", "let now = std::time::Instant::now();"),
    ];
    for (rule, path, text) in allowed {
        assert_eq!(rule(&Source::new(path, text)), [""; 0], "{text}");
    }
    assert_eq!(too_long(&Source::new("src/a.rs", &"\n".repeat(LONGEST_FILE))), [""; 0]);
    let table = format!("//! | {} |\n", "a ".repeat(LONGEST_LINE / 2));
    assert_eq!(wide_comments(&Source::new("src/a.rs", &table)), [""; 0]);
}
