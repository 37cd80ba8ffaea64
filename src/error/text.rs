//! What errors of several kinds say in the same way.

use crate::codec::FunctionPath;

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

// A `main` that returns an error, and `unwrap`, print its `Debug`: so that has to say what to do.
macro_rules! debug_as_text {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.to_string())
            }
        }
    )*};
}

pub(crate) use debug_as_text;

#[cfg(test)]
mod tests {
    use super::*;

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
