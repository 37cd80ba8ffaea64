//! The walls between the rooms: no circles between files, and every import goes downward.
//!
//! What else is not as it should be is counted. The numbers may only fall: whoever makes one smaller
//! writes the new one here, and whoever makes one larger is told where.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Code, Import, circles, imports, way_round};
use super::sources;

/// Files outside of `sys` that name what only Unix or only tokio's Unix half has.
const NAMING_THE_SYSTEM: usize = 14;
/// Lines that no function has more of.
const LONGEST_FUNCTION: usize = 70;

const ROOMS: &str = include_str!("rooms.txt");
const PLACES: &str = include_str!("places.txt");

/// What a room may use beside itself.
struct Row {
    room: &'static str,
    may_use: Vec<&'static str>,
    line: usize,
}

impl Row {
    fn holds(&self, place: &str) -> bool {
        is_in(place, self.room)
    }

    fn allows(&self, place: &str) -> bool {
        let own = self.room.split('/').next().unwrap_or_default();
        is_in(place, own) || self.may_use.iter().any(|room| is_in(place, room))
    }
}

fn is_in(place: &str, room: &str) -> bool {
    place.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn rows(table: &'static str) -> Vec<Row> {
    let lines = (1..).zip(table.lines()).filter(|(_, line)| !line.starts_with('#'));
    let rows = lines.map(|(line, text)| {
        let (room, may_use) = text.split_once(':').unwrap();
        Row { room, may_use: may_use.split_whitespace().collect(), line }
    });
    rows.collect()
}

/// The house as its files say it is.
struct House {
    files: Vec<Code>,
    imports: Vec<Import>,
    rows: Vec<Row>,
    places: BTreeMap<&'static str, &'static str>,
}

impl House {
    fn built_of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let files: Vec<_> = files.filter_map(|(path, text)| Code::read(path, text)).collect();
        let places = PLACES.lines().filter(|line| !line.starts_with('#'));
        Self {
            imports: imports(&files),
            rows: rows(ROOMS),
            places: places.map(|line| line.split_once(' ').unwrap()).collect(),
            files,
        }
    }

    fn of_today() -> Self {
        let sources = sources();
        Self::built_of(sources.iter().map(|source| (&*source.path, &*source.text)))
    }

    /// Where a file stands, or should stand.
    fn place<'a>(&self, path: &'a str) -> &'a str {
        let planned = self.places.get(path).copied();
        planned.unwrap_or_else(|| path.strip_prefix("src/").unwrap())
    }

    fn row(&self, path: &str) -> &Row {
        let rows = self.rows.iter().filter(|row| row.holds(self.place(path)));
        rows.max_by_key(|row| row.room.len()).unwrap_or_else(|| panic!("{path} has no room"))
    }

    /// The files, each with a shortest way round unless it stands on one that is told already.
    fn in_circles(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut passed = BTreeSet::new();
        for circle in circles(&self.imports) {
            for file in &circle {
                told.push((*file).to_owned());
                if !passed.contains(file) {
                    let way = way_round(&self.imports, &circle, file);
                    told.last_mut()
                        .unwrap()
                        .extend(way.iter().map(|i| format!("\n  {}", arrow(i))));
                    passed.extend(way.into_iter().map(|import| &*import.from));
                }
            }
        }
        told
    }

    fn upward(&self) -> Vec<String> {
        let mut upward = Vec::new();
        for import in &self.imports {
            let row = self.row(&import.from);
            if !row.allows(self.place(&import.to)) {
                let Row { room, line, may_use } = row;
                let rule = format!("tests/house_rules/rooms.txt:{line}: {room}");
                upward.push(format!("{}\n  {rule} may use {}", arrow(import), may_use.join(" ")));
            }
        }
        upward
    }

    fn naming_the_system(&self) -> Vec<String> {
        let words: &[&[&str]] = &[&["std", "::", "os"], &["UnixStream"], &["AsyncFd"]];
        let outside = self.files.iter().filter(|file| !file.path.starts_with("src/sys/"));
        outside.filter_map(|file| file.mentions(words).into_iter().next()).collect()
    }

    fn long_functions(&self) -> Vec<String> {
        self.files.iter().flat_map(|file| file.long_functions(LONGEST_FUNCTION)).collect()
    }
}

fn arrow(import: &Import) -> String {
    format!("{}:{}: imports {}", import.from, import.line, import.to)
}

/// Fails if there are more, and also if there are fewer: then the number is to be made smaller.
#[track_caller]
fn assert_falls(name: &str, found: &[String], known: usize) {
    let (count, list) = (found.len(), found.join("\n"));
    assert!(count <= known, "{name}: {count}, and {known} are known\n{list}");
    assert!(count == known, "{name} is {known} in tests/house_rules/walls.rs; make it {count}");
}

#[test]
fn no_files_import_each_other() {
    let found = House::of_today().in_circles();
    assert!(found.is_empty(), "these stand in circles:\n{}", found.join("\n"));
}

#[test]
fn every_import_goes_downward() {
    let found = House::of_today().upward();
    assert!(found.is_empty(), "these go upward:\n{}", found.join("\n"));
}

#[test]
fn fewer_and_fewer_files_name_the_operating_system() {
    let found = House::of_today().naming_the_system();
    assert_falls("NAMING_THE_SYSTEM", &found, NAMING_THE_SYSTEM);
}

#[test]
fn functions_are_short() {
    let found = House::of_today().long_functions();
    assert!(found.is_empty(), "more than {LONGEST_FUNCTION} lines:\n{}", found.join("\n"));
}

#[test]
fn the_table_leads_downward() {
    let rows = rows(ROOMS);
    for (at, row) in rows.iter().enumerate() {
        for room in &row.may_use {
            let below = rows[..at].iter().any(|row| row.room == *room);
            assert!(below, "tests/house_rules/rooms.txt:{}: `{room}` is not below", row.line);
        }
    }
}

#[test]
fn every_place_is_that_of_a_file() {
    let house = House::of_today();
    for path in house.places.keys() {
        assert!(house.files.iter().any(|file| file.path == *path), "{path} is gone");
    }
}

/// The arrows between the files, as `from:line to`.
fn arrows(files: &[(&str, &str)]) -> Vec<String> {
    let house = House::built_of(files.iter().copied());
    let arrow = |import: &Import| format!("{}:{} {}", import.from, import.line, import.to);
    house.imports.iter().map(arrow).collect()
}

#[test]
fn imports_are_read_from_uses_and_paths() {
    let lib = ("src/lib.rs", "pub use crate::wire::Frame;");
    let wire = ("src/wire.rs", "");
    let base = ("src/base/mod.rs", "");
    let id = ("src/base/id.rs", "");
    let read = [
        ("use crate::wire;", "1 src/wire.rs"),
        ("\nuse crate::{\n  wire::{\n    a::b, c},\n};", "4 src/wire.rs"),
        ("pub(crate) use crate::base::{self, Ids as Names};", "1 src/base/mod.rs"),
        ("use super::super::wire::*;", "1 src/wire.rs"),
        ("use super::error as other;", "1 src/sys/error.rs"),
        ("use crate::Frame;", "1 src/wire.rs"),
        ("fn a() {\n  let a = crate::base::id::Id::new();\n}", "2 src/base/id.rs"),
        ("mod inner { use super::super::super::wire; }", "1 src/wire.rs"),
        (
            "/// [`a`](crate::base)\nfn a(b: char) { '\"'; super::error::a(\"use crate::wire;\") }",
            "2 src/sys/error.rs",
        ),
        ("#[cfg(not(test))]\nuse crate::wire;", "2 src/wire.rs"),
        ("struct A<'a>(&'a str, super::error::E);", "1 src/sys/error.rs"),
        ("impl crate::wire::Trait for A {}", "1 src/wire.rs"),
    ];
    for (text, arrow) in read {
        let error = ("src/sys/error.rs", "");
        let files = arrows(&[("src/sys/a.rs", text), lib, wire, base, id, error]);
        let found: Vec<_> = files.iter().filter(|file| file.starts_with("src/sys/a.rs")).collect();
        assert_eq!(found, [&format!("src/sys/a.rs:{arrow}")], "{text}");
    }
}

#[test]
fn what_is_no_import_is_left_alone() {
    let left = [
        "#[cfg(test)]\nmod tests { use crate::wire; }\n",
        "#[cfg(all(test, unix))]\nuse crate::{wire::a, wire::b};",
        "enum A { #[cfg(test)] B(crate::wire::C), D }",
        "// use crate::wire;\n/* crate::wire */",
        "const A: &str = r#\"use crate::wire; \" crate::wire \"#;",
        "macro_rules! a { () => { $crate::wire::a() } }",
        "pub(in crate::wire) fn a() {}",
        "use std::wire; use wire_of_others::wire;",
    ];
    for text in left {
        assert_eq!(arrows(&[("src/sys/a.rs", text), ("src/wire.rs", "")]), [""; 0], "{text}");
    }
    let of_tests = [("src/sys/tests.rs", "use crate::wire;"), ("src/wire.rs", "")];
    assert_eq!(arrows(&of_tests), [""; 0]);
}

#[test]
fn a_circle_is_told_with_both_its_lines() {
    let files = [
        ("src/sys/a.rs", "\nuse super::b;"),
        ("src/sys/b.rs", "fn a() { super::a::b() }"),
        ("src/sys/c.rs", "use super::a;"),
    ];
    let there = "src/sys/a.rs:2: imports src/sys/b.rs";
    let back = "src/sys/b.rs:1: imports src/sys/a.rs";
    let circle = [&*format!("src/sys/a.rs\n  {there}\n  {back}"), "src/sys/b.rs"];
    assert_eq!(House::built_of(files.into_iter()).in_circles(), circle);
}

#[test]
fn an_import_upward_is_told_with_its_line_and_that_of_the_table() {
    let files = [("src/sys/a.rs", "use crate::pool::b;"), ("src/pool/b.rs", "use crate::base;")];
    let empty = [("src/base/mod.rs", ""), ("src/pool/mod.rs", "")];
    let house = House::built_of(files.into_iter().chain(empty));
    let rule = "tests/house_rules/rooms.txt:3: sys may use ";
    assert_eq!(house.upward(), [format!("src/sys/a.rs:1: imports src/pool/b.rs\n  {rule}")]);
}

#[test]
fn the_walls_see_what_else_they_look_for() {
    let body = "\n".repeat(LONGEST_FUNCTION);
    let text = format!("use std::os::fd::OwnedFd;\nfn long() {{{body}}}\nfn short() {{\n}}");
    let house = House::built_of([("src/wire.rs", &*text), ("src/sys/a.rs", &*text)].into_iter());
    assert_eq!(house.naming_the_system(), ["src/wire.rs:1: `std::os`"]);
    assert_eq!(house.long_functions().len(), 2);
}
