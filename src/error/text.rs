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
