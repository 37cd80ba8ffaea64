//! The walls between the rooms: no circles between files, every import goes downward, by a face, and
//! one room knows systems.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Code, Import, Shown, circles, imports, way_round};
use super::sources;

/// Lines that no function has more of.
const LONGEST_FUNCTION: usize = 70;

/// So many names may stand in a face.
const NAMES: usize = 20;

/// What only one kind of system has, or only tokio's half for it, and crates that know one.
const OF_A_SYSTEM: [&[&str]; 13] = [
    &["std", "::", "os"],
    &["AsFd"],
    &["AsyncFd"],
    &["BorrowedFd"],
    &["CommandExt"],
    &["ExitStatusExt"],
    &["OwnedFd"],
    &["RawFd"],
    &["UnixStream"],
    &["libc"],
    &["rustix"],
    &["unix"],
    TOLD_APART,
];
const TOLD_APART: &[&str] = &["target_os"];

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

    /// What each face shows: those of rooms, and each module that a face shows.
    fn faces(&self) -> BTreeMap<&str, BTreeSet<Shown>> {
        let files = self.files.iter().map(|file| (module(&file.path), file));
        let files: BTreeMap<_, _> = files.filter(|(name, _)| *name != "lib").collect();
        let mut open: Vec<_> = files.keys().copied().filter(|name| !name.contains('/')).collect();
        let mut faces = BTreeMap::new();
        while let Some(face) = open.pop() {
            let shown = files[face].shown();
            for one in &shown {
                let Shown::Module(name) = one else { continue };
                let inner = files.get_key_value(&*format!("{face}/{name}"));
                open.extend(inner.map(|(inner, _)| *inner));
            }
            faces.insert(face, shown);
        }
        faces
    }

    /// What is imported past the face of a room.
    fn past_a_face(&self) -> Vec<String> {
        let faces = self.faces();
        let is_entered_by_a_face = |import: &Import| {
            let module = module(&import.to);
            let shows = |(face, name): (&str, &str)| {
                let item = Shown::Item(name.to_owned());
                faces.get(face).is_some_and(|shown| shown.contains(&item))
            };
            // A function in a face may be called as the module that it is in.
            faces.contains_key(module) || module.rsplit_once('/').is_some_and(shows)
        };
        let past = self.between_rooms().filter(|import| !is_entered_by_a_face(import));
        past.map(arrow).collect()
    }

    fn between_rooms(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| outermost(&import.from) != outermost(&import.to))
    }

    /// The faces with too many names, and how many they have.
    fn wide_faces(&self) -> Vec<(&str, usize)> {
        let worth = |shown| if shown == Shown::All { NAMES + 1 } else { 1 };
        let faces = self.faces().into_iter();
        let counts = faces.map(|(face, shown)| (face, shown.into_iter().map(worth).sum()));
        counts.filter(|(_, count)| *count > NAMES).collect()
    }

    /// The modules that are shown, and that nobody in another room enters.
    fn needless_faces(&self) -> Vec<&str> {
        let entered: BTreeSet<_> = self.between_rooms().map(|one| module(&one.to)).collect();
        let faces = self.faces().into_keys().filter(|face| face.contains('/'));
        faces.filter(|face| !entered.contains(face)).collect()
    }

    /// Where something of one system is named outside of what knows that, or systems are told apart
    /// other than by choosing files.
    fn naming_a_system(&self) -> Vec<String> {
        const CHOOSING: [&str; 2] = ["src/sys/mod.rs", "src/sys/unix/mod.rs"];
        let others = self.files.iter().filter(|file| !CHOOSING.contains(&&*file.path));
        let found = others.flat_map(|file| {
            let knows_one = file.path.starts_with("src/sys/unix/");
            file.mentions(if knows_one { &[TOLD_APART] } else { &OF_A_SYSTEM })
        });
        found.collect()
    }

    fn long_functions(&self) -> Vec<String> {
        self.files.iter().flat_map(|file| file.long_functions(LONGEST_FUNCTION)).collect()
    }
}

fn arrow(import: &Import) -> String {
    format!("{}:{}: imports {}", import.from, import.line, import.to)
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
    assert_eq!(House::of_today().wide_faces(), [], "they have more than {NAMES} names");
}

#[test]
fn what_is_shown_is_entered() {
    let house = House::of_today();
    assert_eq!(house.needless_faces(), [""; 0], "nobody in another room enters these");
}

#[test]
fn no_exception_is_left_that_nobody_needs() {
    let house = House::of_today();
    let between: Vec<_> = house.between_rooms().collect();
    for row in &house.rows {
        let own = |import: &&&Import| house.row(&import.from).room == row.room;
        let used: Vec<_> = between.iter().filter(own).map(|import| place(&import.to)).collect();
        for room in &row.may_use {
            assert!(used.iter().any(|place| is_in(place, room)), "{} uses no {room}", row.room);
        }
    }
}

#[test]
fn only_one_room_knows_systems() {
    let found = House::of_today().naming_a_system();
    assert!(found.is_empty(), "these name a system:\n{}", found.join("\n"));
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
    let lib = ("src/lib.rs", "pub use crate::wire::Frame;\nuse self::base as here;");
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
        ("use crate::here::id::Id;", "1 src/base/id.rs"),
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
    let past = |face: &'static str| {
        let inner = [("src/wire/b.rs", "pub(crate) mod c;"), ("src/wire/b/c.rs", "")];
        let user = ("src/pool/a.rs", "use crate::wire::b;\nuse crate::wire::b::c;");
        let files = inner.into_iter().chain([user, ("src/wire/mod.rs", face)]);
        House::built_of(files).past_a_face()
    };
    let inner = "src/pool/a.rs:1: imports src/wire/b.rs";
    let innermost = "src/pool/a.rs:2: imports src/wire/b/c.rs";
    for hidden in ["mod b;", "pub(super) mod b;", "#[cfg(test)]\npub(crate) mod b;"] {
        assert_eq!(past(hidden), [inner, innermost], "{hidden}");
    }
    assert_eq!(past("mod b;\npub(crate) use self::b::b;"), [innermost]);
    assert_eq!(past("pub(crate) mod b;"), [""; 0]);
}

#[test]
fn a_face_with_one_name_more_is_told() {
    let wide = |last: &str| {
        let most = (1..NAMES).map(|n| format!("pub(crate) fn a{n}() {{}}\n"));
        let inner = most.chain([last.to_owned()]).collect::<String>();
        let files = [("src/wire/mod.rs", "pub(crate) mod b;"), ("src/wire/b.rs", &*inner)];
        House::built_of(files.into_iter())
            .wide_faces()
            .iter()
            .map(|wide| wide.1)
            .collect::<Vec<_>>()
    };
    assert_eq!(wide("pub(crate) struct A;"), [0; 0]);
    assert_eq!(wide("pub(crate) struct A;\npub(crate) mod c;"), [NAMES + 1]);
    assert_eq!(wide("pub(crate) use self::c::*;"), [2 * NAMES]);
}

#[test]
fn what_nobody_enters_is_told() {
    let needless = |user| {
        let face = [("src/wire/mod.rs", "pub(crate) mod b;"), ("src/wire/b.rs", "")];
        let files = face.into_iter().chain([(user, "use crate::wire::b::c;")]);
        House::built_of(files).needless_faces().len()
    };
    assert_eq!((needless("src/wire/a.rs"), needless("src/pool/a.rs")), (1, 0));
}

#[test]
fn what_a_file_shows_is_read() {
    let read = |path, text: &str| {
        let code = Code::read(path, text).unwrap();
        let name = |shown| match shown {
            Shown::Module(name) => format!("mod {name}"),
            Shown::Item(name) => name,
            Shown::All => "*".to_owned(),
        };
        code.shown().into_iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let files = [
        ("mod a;\npub(crate) use self::{a::{A, B as C}, d};\nuse self::F;", "A C d"),
        ("pub use e::*;\n#![allow(a)]\n#[must_use]\npub const A: u8 = 1;", "A *"),
        ("#[cfg(test)]\npub(crate) use a::B;\n#[cfg(test)]\npub mod b;", ""),
        ("pub mod a;\npub(crate) mod b {\n    pub(crate) fn c() {}\n}", "mod a mod b"),
        ("pub(crate) struct A<const N: usize> {\n    pub(crate) a: u8,\n}\nstruct B;", "A"),
        ("pub(crate) struct A(pub(crate) u8);\npub(crate) type B<'a> = &'a u8;", "A B"),
        ("pub(crate) const fn a() {}\npub(crate) unsafe trait B {}\npub async fn c() {}", "B a c"),
        ("impl A {\n    pub(crate) fn a() {}\n}\nmacro_rules! b { () => { pub fn c() {} } }", ""),
        ("#[cfg(unix)]\npub(crate) fn a() {}\n#[cfg(not(unix))]\npub(crate) fn a() {}", "a"),
        ("pub(super) fn a() {}\npub(in crate::wire) fn b() {}", ""),
    ];
    for (text, names) in files {
        assert_eq!(read("src/wire/a.rs", text), names, "{text}");
    }
    assert_eq!(read("src/wire/mod.rs", "pub(super) fn a() {}"), "a");
}

#[test]
fn the_walls_see_what_else_they_look_for() {
    let body = "\n".repeat(LONGEST_FUNCTION);
    let text = format!("fn long() {{{body}}}\nfn short() {{\n}}");
    let house = House::built_of([("src/wire.rs", &*text), ("src/sys/a.rs", &*text)].into_iter());
    assert_eq!(house.long_functions().len(), 2);
}

#[test]
fn what_names_a_system_is_told() {
    let text = "#[cfg(target_os = \"linux\")]\nuse std::os::fd::OwnedFd;";
    let paths = ["src/wire.rs", "src/sys/a.rs", "src/sys/unix/a.rs", "src/sys/unix/mod.rs"];
    let told =
        paths.map(|path| House::built_of([(path, text)].into_iter()).naming_a_system().len());
    assert_eq!(told, [3, 3, 1, 0]);
}
