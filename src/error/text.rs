//! What errors of several kinds say in the same way, and how they stay in one line.

use std::fmt::{self, Write};

use crate::codec::FunctionPath;

/// Why a pool takes no further task.
pub(crate) fn no_room(capacity: usize) -> String {
    match capacity {
        0 => "as many tasks are under way as there may be workers, and the pool has no queue"
            .to_owned(),
        _ => format!("the pool's queue is full (its capacity is {capacity})"),
    }
}

pub(crate) fn unregistered(function: &str) -> String {
    if function.ends_with("{{closure}}") {
        return format!(
            "the closure `{function}` is not registered; write it by `task!`, and pass what it \
             captures as arguments, as in `pool.run(procpool::task!(|x: u64, step: u64| -> u64 {{ x \
             + step }}), (41, step))`"
        );
    }
    if is_pointer(function) {
        return format!(
            "a pointer of the type `{function}` does not tell which function it is, so none is \
             registered for it; pass the function itself, by its path"
        );
    }
    let FunctionPath { crate_name, path, is_local } = FunctionPath::new(function);
    let place = match crate_name {
        Some(_) if is_local => " beside it".to_owned(),
        Some(name) => format!(" beside it, in the crate `{name}`"),
        None => String::new(),
    };
    format!(
        "the function `{function}` is not registered; add `procpool::register!({path});`{place}"
    )
}

/// Whether this is the name of a type such as `fn(u64) -> u64`.
fn is_pointer(function: &str) -> bool {
    let is_first = |before: &str| before.is_empty() || before.ends_with(' ');
    function.split_once("fn(").is_some_and(|(before, _)| is_first(before) && !before.contains("::"))
}

/// Writes what it is given in one line, whoever has written that: line breaks and other control
/// characters as Rust writes them in a string (`\n`), so that no text forges a line of a log.
pub(crate) struct OneLine<'a, W>(pub(crate) &'a mut W);

impl<W: Write> Write for OneLine<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let breaks = |c: char| c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}');
        for part in text.split_inclusive(breaks) {
            match part.char_indices().next_back() {
                Some((at, last)) if breaks(last) => {
                    write!(self.0, "{}{}", &part[..at], last.escape_debug())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// The same of a whole text.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let _ = OneLine(&mut line).write_str(text); // a `String` takes whatever comes
    line
}

// A `main` that returns an error, and `unwrap`, print its `Debug`: so that has to say what to do.
// The text is one line as it is, and is not escaped once more.
macro_rules! debug_as_text {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(\"{}\")"), self)
            }
        }
    )*};
}

pub(crate) use debug_as_text;

/// Checks that an error has one line, and so `{:#}` of `anyhow`, in which nothing is told twice.
#[cfg(test)]
pub(crate) fn assert_told_once(error: &(dyn std::error::Error + 'static)) {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<_> = chain.map(ToString::to_string).collect();
    assert!(!texts[0].contains(char::is_control), "{texts:?}");
    for (at, text) in texts.iter().enumerate() {
        let repeated = texts[at + 1..].iter().any(|later| text.contains(later));
        assert!(!repeated, "{texts:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_all_else_stays() {
        assert_eq!(one_line("two\nlines\r\n"), "two\\nlines\\r\\n");
        assert_eq!(one_line("\u{1b}[31mred\0\u{85}\u{2028}"), "\\u{1b}[31mred\\0\\u{85}\\u{2028}");
        for text in ["", "größe `x` \"y\" c:\\n\tz …"] {
            assert_eq!(one_line(text), text);
        }
    }

    #[test]
    fn pointers_are_told_from_functions() {
        for pointer in ["fn(u32) -> a::B", "for<'a> fn(&'a str)", "extern \"C\" fn()"] {
            assert!(is_pointer(pointer), "{pointer}");
        }
        for function in ["a::largest<fn(u32) -> u32>", "a::twice<u8, fn()>", "a::square"] {
            assert!(!is_pointer(function), "{function}");
        }
    }
}
