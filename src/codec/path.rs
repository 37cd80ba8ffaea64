//! Paths of functions, as they are written in a program: for errors that say which line to write.

/// Crates that all programs have by another name.
const STD: [&str; 3] = ["alloc", "core", "std"];

/// Where a function that has this name is, and how it is written there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FunctionPath<'a> {
    /// The crate that it is in, unless that is one of Rust's own.
    pub(crate) crate_name: Option<&'a str>,
    /// How it is written in that crate; inside of a function, only beside it.
    pub(crate) path: String,
    /// Whether it is known to be inside of another function. Not of all that are.
    pub(crate) is_local: bool,
}

impl<'a> FunctionPath<'a> {
    /// `name` is the name of its type.
    pub(crate) fn new(name: &'a str) -> Self {
        let (around, path) = name.rsplit_once("{{closure}}::").unwrap_or(("", name));
        let firsts = |text: &'a str| first_names(text).find(|first| !STD.contains(first));
        let crate_name = firsts(around).or_else(|| firsts(path));
        Self { crate_name, path: written(path, crate_name), is_local: !around.is_empty() }
    }
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The names with which the paths in a type's name begin.
fn first_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter| !is_of_name(letter) && letter != ':')
        .filter_map(|path| path.split_once("::"))
        .map(|(first, _)| first)
        .filter(|first| !first.is_empty())
}

/// A type's name, as it is written in a crate.
fn written(name: &str, crate_name: Option<&str>) -> String {
    // Methods of types of other crates and modules are named after where they are written.
    let method = name.find("<impl ").filter(|at| !name[..*at].contains('<'));
    let name = method.map_or_else(|| name.to_owned(), |at| name[at..].replacen("<impl ", "<", 1));
    let (mut written, mut depth, mut rest) = (String::new(), 0_u32, &*name);
    while let Some(letter) = rest.chars().next() {
        let length = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
        if length > 0 {
            let (word, after) = rest.split_at(length);
            let is_first = after.starts_with("::") && !written.ends_with("::");
            written.push_str(match word {
                _ if is_first && Some(word) == crate_name => "crate",
                _ if is_first && STD.contains(&word) => "std",
                _ => word,
            });
            rest = after;
            continue;
        }
        match letter {
            '<' => {
                // In an expression it would be a comparison.
                if depth == 0 && written.ends_with(is_of_name) {
                    written.push_str("::");
                }
                depth += 1;
            }
            '>' if !written.ends_with('-') => depth = depth.saturating_sub(1),
            _ => {}
        }
        written.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    written
}

#[cfg(test)]
#[allow(unused_qualifications, reason = "these are what is looked at")]
mod tests {
    use std::any::type_name_of_val;

    use super::*;

    fn square(x: u64) -> u64 {
        x * x
    }

    fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
        items.into_iter().max()
    }

    fn first<T: Copy, const COUNT: usize>(items: [T; COUNT]) -> T {
        items[0]
    }

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Model<T>(T);

    impl<T> Model<T> {
        fn new(inner: T) -> Self {
            Self(inner)
        }
    }

    trait Job {
        fn go(self) -> u64;
        fn to<T: From<u64>>(self) -> T;
    }

    impl Job for Model<u64> {
        fn go(self) -> u64 {
            self.0
        }

        fn to<T: From<u64>>(self) -> T {
            self.0.into()
        }
    }

    mod elsewhere {
        impl super::Model<u8> {
            pub(super) fn get(self) -> u8 {
                self.0
            }
        }
    }

    /// That what is said of a function is it, and compiles here.
    macro_rules! assert_written {
        ($($path:tt)*) => {{
            let function = $($path)*;
            let path = FunctionPath::new(type_name_of_val(&function));
            let expected = stringify!($($path)*);
            // It is broken into lines, and may end with a comma then.
            let plain = |text: &str| text.replace(char::is_whitespace, "").replace(",>", ">");
            assert_eq!(plain(&path.path), plain(expected));
            path
        }};
    }

    #[test]
    fn a_path_is_written_as_its_crate_has_it() {
        let path = assert_written!(crate::codec::path::tests::square);
        assert_eq!((path.crate_name, path.is_local), (Some("procpool"), false));
        assert_eq!(path.path, "crate::codec::path::tests::square");
        let function = crate::codec::path::tests::square;
        assert_eq!(FunctionPath::new(type_name_of_val(&function)), path);
    }

    #[test]
    fn types_are_written_as_well() {
        let path = assert_written!(
            crate::codec::path::tests::largest::<
                crate::codec::path::tests::Model<std::string::String>,
            >
        );
        assert_eq!(path.crate_name, Some("procpool"));
        assert_written!(crate::codec::path::tests::largest::<(fn(u8) -> std::vec::Vec<u8>, &[u8])>);
        assert_written!(crate::codec::path::tests::first::<u8, 3>);
        assert_written!(crate::codec::path::tests::Model::<u8>::new);
    }

    #[test]
    fn methods_are_written_with_their_types() {
        let path = assert_written!(
            <crate::codec::path::tests::Model<u64> as crate::codec::path::tests::Job>::go
        );
        assert_eq!(path.crate_name, Some("procpool"));
        assert_written!(
            <crate::codec::path::tests::Model<u64> as crate::codec::path::tests::Job>::to::<u64>
        );
        assert_written!(<crate::codec::path::tests::Model<u8>>::get);
        assert_eq!(assert_written!(<i32>::wrapping_add).crate_name, None);
    }

    #[test]
    fn what_is_inside_of_a_function_is_written_beside_it() {
        let check = || {
            fn local() {}
            let path = FunctionPath::new(type_name_of_val(&local));
            assert_eq!((&*path.path, path.crate_name), ("local", Some("procpool")));
            assert!(path.is_local);
        };
        check();
    }
}
