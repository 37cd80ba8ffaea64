//! What the pool has to say when nobody asked: `tracing` events, or nothing without that feature.
//! Only what must not go unnoticed is printed in its place.

use std::io::Write;

/// What each line begins with.
pub(crate) const PREFIX: &str = "procpool: ";

/// Unlike `eprintln!` it does not panic if standard error leads nowhere any more, and it writes all
/// at once, so that what several processes print is not mixed.
pub(crate) fn print(message: std::fmt::Arguments<'_>) {
    if cfg!(test) {
        return; // a million histories have much to say, and no test here reads it
    }
    let _ = std::io::stderr().write_all(format!("{PREFIX}{message}\n").as_bytes());
}

macro_rules! error {
    ($($message:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::error!($($message)+);
        #[cfg(not(feature = "tracing"))]
        $crate::base::log::print(format_args!($($message)+));
    }};
}

macro_rules! warning {
    ($($message:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::warn!($($message)+);
        #[cfg(not(feature = "tracing"))]
        $crate::base::log::print(format_args!($($message)+));
    }};
}

macro_rules! debug {
    ($($message:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::debug!($($message)+);
        #[cfg(not(feature = "tracing"))]
        let _ = format_args!($($message)+);
    }};
}

pub(crate) use {debug, error, warning};
