//! What errors of several kinds say in the same way.

pub(crate) fn unregistered(function: &str) -> String {
    if function.ends_with("{{closure}}") {
        let example = "procpool::task!(|x: u64| -> u64 { x + 1 })";
        return format!("the closure `{function}` is not registered; write it as in `{example}`");
    }
    format!("the function `{function}` is not registered; add `procpool::register!({function});`")
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
