//! The walls between the rooms: no circles between files, and every import goes downward.
//!
//! What else is not as it should be is counted. The numbers may only fall: whoever makes one
//! smaller writes the new one here, and whoever makes one larger is told where.

use std::collections::BTreeSet;

use super::imports::{Code, Import, circles, imports, way_round};
use super::sources;

/// Files outside of `sys` that name what only Unix or only tokio's Unix half has.
const NAMING_THE_SYSTEM: usize = 14;
/// Lines that no function has more of.
const LONGEST_FUNCTION: usize = 70;

/// So many names may stand in the face of a room.
const NAMES: usize = 20;
/// Faces with more, and how many they have. The numbers may only fall.
const WIDE_FACES: [(&str, usize); 5] =
    [("base", 21), ("error", 22), ("parent", 22), ("sys", 78), ("wire", 46)];
/// What is entered by its own name: the faces of rooms in rooms, and modules whose names say what
/// is in them.
const SIDE_DOORS: [&str; 15] = [
    "base/log",
    "executor/map",
    "memory/page",
    "memory/page/record",
    "memory/shared",
    "parent/birth",
    "parent/link",
    "pool/task",
    "pool/watch",
    "wire/fork",
    "wire/role",
    // Functions in the faces that are called as the modules that they are in.
    "executor/wait",
    "function/check",
    "memory/shared/lend",
    "sys/barrier",
];

const ROOMS: &str = include_str!("rooms.txt");

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

/// The room and the file of a path.
fn place(path: &str) -> &str {
    path.strip_prefix("src/").unwrap()
}

/// A file as a module: a room in a room by its face.
fn module(path: &str) -> &str {
    place(path).trim_end_matches(".rs").trim_end_matches("/mod")
}

/// The outermost room of a path.
fn outermost(path: &str) -> &str {
    place(path).split('/').next().unwrap_or_default()
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
}

impl House {
    fn built_of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let files: Vec<_> = files.filter_map(|(path, text)| Code::read(path, text)).collect();
        Self { imports: imports(&files), rows: rows(ROOMS), files }
    }

    fn of_today() -> Self {
        let sources = sources();
        Self::built_of(sources.iter().map(|source| (&*source.path, &*source.text)))
    }

    fn row(&self, path: &str) -> &Row {
        let rows = self.rows.iter().filter(|row| row.holds(place(path)));
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
            if !row.allows(place(&import.to)) {
                let Row { room, line, may_use } = row;
                let rule = format!("tests/house_rules/rooms.txt:{line}: {room}");
                upward.push(format!("{}\n  {rule} may use {}", arrow(import), may_use.join(" ")));
            }
        }
        upward
    }

    /// What is imported past the face of a room.
    fn past_a_face(&self) -> Vec<String> {
        let is_past = |import: &&Import| {
            let (from, to) = (outermost(&import.from), outermost(&import.to));
            let module = module(&import.to);
            from != to && module != to && !SIDE_DOORS.contains(&module)
        };
        self.imports.iter().filter(is_past).map(arrow).collect()
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

/// How many names the face of a room has, those for tests apart: what it exports, also of other
/// rooms, and what is written in it.
fn names(face: &str) -> usize {
    const ITEMS: [&str; 9] =
        ["async fn", "const", "enum", "fn", "static", "struct", "trait", "type", "unsafe trait"];
    let mut count = 0;
    let mut lines = face.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            lines.next_if(|next| next.starts_with("pub")).map(|next| rest_of(next, &mut lines));
            continue;
        }
        let Some(item) = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub "))
        else {
            continue;
        };
        if let Some(tree) = item.strip_prefix("use ") {
            count += leaves(&rest_of(tree, &mut lines));
        }
        let words = ITEMS.iter().filter_map(|word| item.strip_prefix(word));
        count += words.filter(|rest| rest.starts_with(' ')).count();
    }
    count
}

/// A statement that begins so, up to its end.
fn rest_of<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut statement = first.to_owned();
    while !statement.contains([';', '=']) && !statement.ends_with(" {") {
        let Some(line) = lines.next() else { break };
        statement.push_str(line);
    }
    statement
}

/// How many names a `use` has; one of all names has too many.
fn leaves(tree: &str) -> usize {
    let parts = tree.split(['{', '}', ',', ';']).map(str::trim);
    let named = parts.filter(|part| !part.is_empty() && !part.ends_with("::"));
    named.map(|part| if part.ends_with('*') { NAMES + 1 } else { 1 }).sum()
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
fn rooms_are_entered_by_their_faces() {
    let found = House::of_today().past_a_face();
    assert!(found.is_empty(), "these pass by a face:\n{}", found.join("\n"));
}

#[test]
fn faces_have_few_names() {
    for source in sources().iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let (face, count) = (place(&source.path).trim_end_matches("/mod.rs"), names(&source.text));
        let known = WIDE_FACES.iter().find(|(wide, _)| *wide == face);
        let most = known.map_or(NAMES, |(_, most)| *most);
        assert!(count <= most, "{face} has {count} names, more than {most}");
        assert!(known.is_none() || count == most, "{face} has {count} names; say so in WIDE_FACES");
    }
}

#[test]
fn no_exception_is_left_that_nobody_needs() {
    let house = House::of_today();
    let between = |import: &&Import| outermost(&import.from) != outermost(&import.to);
    let between: Vec<_> = house.imports.iter().filter(between).collect();
    for door in SIDE_DOORS {
        assert!(between.iter().any(|import| module(&import.to) == door), "nobody enters {door}");
    }
    for row in &house.rows {
        let own = |import: &&&Import| house.row(&import.from).room == row.room;
        let used: Vec<_> = between.iter().filter(own).map(|import| place(&import.to)).collect();
        for room in &row.may_use {
            assert!(used.iter().any(|place| is_in(place, room)), "{} uses no {room}", row.room);
        }
    }
    for (face, count) in WIDE_FACES {
        let is_there = sources().iter().any(|one| one.path == format!("src/{face}/mod.rs"));
        assert!(is_there && count > NAMES, "{face} needs no exception");
    }
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
fn what_passes_by_a_face_is_told() {
    let face = ("src/wire/mod.rs", "");
    let files = [("src/pool/a.rs", "use crate::wire::b;"), ("src/wire/b.rs", ""), face];
    let house = House::built_of(files.into_iter());
    assert_eq!(house.past_a_face(), ["src/pool/a.rs:1: imports src/wire/b.rs"]);
}

#[test]
fn names_of_faces_are_counted() {
    let face = "mod a;\npub(crate) use self::a::{\n    A,\n    B,\n};\npub use self::a::C;\n\
                #[cfg(test)]\npub(crate) use self::a::{D, E};\nuse self::a::F;";
    assert_eq!(names(face), 3);
    assert_eq!(names("pub(crate) use self::{a::{A, B}, b::{C, D}};"), 4);
    assert_eq!(names("pub(crate) use crate::other::{A, B};\npub(crate) fn a() {\n}"), 3);
    assert_eq!(names("pub(crate) mod a;\npub(crate) struct A {\n    pub(crate) a: u8,\n}"), 1);
    assert!(names("pub use self::a::*;") > NAMES);
}

#[test]
fn the_walls_see_what_else_they_look_for() {
    let body = "\n".repeat(LONGEST_FUNCTION);
    let text = format!("use std::os::fd::OwnedFd;\nfn long() {{{body}}}\nfn short() {{\n}}");
    let house = House::built_of([("src/wire.rs", &*text), ("src/sys/a.rs", &*text)].into_iter());
    assert_eq!(house.naming_the_system(), ["src/wire.rs:1: `std::os`"]);
    assert_eq!(house.long_functions().len(), 2);
}
