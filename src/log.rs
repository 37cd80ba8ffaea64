//! What the pool has to say when nobody asked: `tracing` events, or nothing without that feature.
//! Only what must not go unnoticed is printed in its place.

macro_rules! error {
    ($($message:tt)+) => {{
        #[cfg(feature = "tracing")]
        ::tracing::error!($($message)+);
        #[cfg(not(feature = "tracing"))]
        eprintln!("procpool: {}", format_args!($($message)+));
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

pub(crate) use {debug, error};
