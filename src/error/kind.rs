//! Names for what happened: to be matched, counted, logged and sent.

/// A text that is none of the known words. The `FromStr` of kinds, of
/// [`TaskOutcome`](crate::TaskOutcome), of [`StartMethod`](crate::StartMethod), of
/// [`OnWorkerDeath`](crate::OnWorkerDeath) and of [`PlainOutput`](crate::PlainOutput) returns it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {}", .known.join(", "))]
pub struct UnknownWord {
    pub(crate) word: String,
    pub(crate) known: &'static [&'static str],
}

/// Reads and writes an enum by a word for each of its variants.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Its name in `snake_case`, which `Display`, `FromStr` and serde have, too.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownWord {
                        word: word.to_owned(),
                        known: &[$($word),+],
                    }),
                }
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word: String = ::serde::Deserialize::deserialize(from)?;
                word.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use words;

/// Declares enums whose variants have a name each, which is what is printed and sent.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$about])* $variant,)+
        }

        #[cfg(test)]
        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)+];
        }

        words! { $name { $($variant = $text,)+ } }
    )+};
}

names! {
    /// What has happened to a task that has no result: the kind of a
    /// [`TaskError`](crate::TaskError::kind) or a [`RunError`](crate::RunError::kind).
    TaskErrorKind {
        /// The task panicked.
        Panic = "panic",
        /// The worker died while the task ran.
        WorkerDeath = "worker_death",
        /// The host of its worker was lost while the task ran.
        HostLost = "host_lost",
        /// The task ran longer than its [timeout](crate::TaskBuilder::timeout).
        Timeout = "timeout",
        /// Its [deadline](crate::TaskBuilder::deadline) has passed, be it waiting or running, or
        /// the limit of all of a [map](crate::Map::within).
        Deadline = "deadline",
        /// It did not [begin in time](crate::TaskBuilder::begin_within).
        NotBegun = "not_begun",
        /// It was cancelled or aborted, or ended by
        /// [`recycle_within`](crate::ProcessPoolExecutor::recycle_within).
        Cancelled = "cancelled",
        /// The arguments or the result could not be encoded or decoded.
        Codec = "codec",
        /// The arguments or the result are larger than
        /// [`Builder::max_payload`](crate::Builder::max_payload).
        TooLarge = "too_large",
        /// A [limit of the task](crate::TaskBuilder::limits) cannot be set: there is none of its
        /// kind for tasks, or the system does not let the worker set it.
        UnsupportedLimit = "unsupported_limit",
        /// The queue was full, and the task was not accepted.
        QueueFull = "queue_full",
        /// The pool was shut down before it accepted the task.
        ShutDown = "shut_down",
        /// The runtime that the pool was built on has ended.
        RuntimeGone = "runtime_gone",
        /// The pool is broken.
        Broken = "broken",
        /// The function is not registered.
        Unregistered = "unregistered",
    }

    /// Why a task was not accepted: the kind of a [`SubmitError`](crate::SubmitError::kind).
    SubmitErrorKind {
        /// The queue was full.
        QueueFull = "queue_full",
        /// The [deadline](crate::TaskBuilder::deadline) has passed while it waited for room.
        Deadline = "deadline",
        /// There was no room [in time](crate::TaskBuilder::begin_within) for it to begin.
        NotBegun = "not_begun",
        /// The arguments could not be encoded.
        Codec = "codec",
        /// The arguments are larger than [`Builder::max_payload`](crate::Builder::max_payload).
        TooLarge = "too_large",
        /// There is no such [limit of one task](crate::TaskBuilder::limits), or not on this system.
        UnsupportedLimit = "unsupported_limit",
        /// The pool was shut down.
        ShutDown = "shut_down",
        /// The runtime that the pool was built on has ended.
        RuntimeGone = "runtime_gone",
        /// The pool is broken.
        Broken = "broken",
        /// The function is not registered.
        Unregistered = "unregistered",
    }

    /// Why a pool was not built: the kind of a [`BuildError`](crate::BuildError::kind).
    BuildErrorKind {
        /// There is no tokio runtime to run the pool on.
        NoRuntime = "no_runtime",
        /// A setting is out of its range, or does not fit another one.
        InvalidSetting = "invalid_setting",
        /// Something was set that is up to the [`ForkServer`](crate::ForkServer) that is shared.
        OfForkServer = "of_fork_server",
        /// This process is a worker that has not called [`init`](crate::init).
        NotInitialized = "not_initialized",
        /// A function that workers call by themselves, as the initializer, is not registered.
        Unregistered = "unregistered",
        /// Two registered functions have the same name.
        AmbiguousFunction = "ambiguous_function",
        /// The arguments of such a function cannot be encoded, or are too large.
        Codec = "codec",
    }

    /// What broke a pool: the kind of a [`BrokenProcessPool`](crate::BrokenProcessPool::kind).
    BrokenKind {
        /// [`abort`](crate::ProcessPoolExecutor::abort) was called.
        Aborted = "aborted",
        /// A worker died under [`OnWorkerDeath::Break`](crate::OnWorkerDeath::Break).
        WorkerDeath = "worker_death",
        /// The initializer panicked, returned an error, or took too long.
        Initializer = "initializer",
        /// The [preload](crate::Builder::preload) did so, or has left threads behind.
        Preload = "preload",
        /// A [hook around a fork](crate::Builder::after_fork) did so.
        ForkHook = "fork_hook",
        /// A worker could not enter its sandbox.
        Sandbox = "sandbox",
        /// A worker was not ready within [`start_timeout`](crate::Builder::start_timeout).
        StartTimeout = "start_timeout",
        /// A worker could not be started, died before it was ready, or cannot serve this program.
        Start = "start",
        /// No host of the pool could be reached, or one was lost under
        /// [`OnWorkerDeath::Break`](crate::OnWorkerDeath::Break).
        Unreachable = "unreachable",
    }

    /// What is wrong with a process: the kind of a [`ProcessError`](crate::ProcessError::kind).
    ProcessErrorKind {
        /// The function panicked.
        Panic = "panic",
        /// The process has ended without a result.
        Death = "death",
        /// The arguments or the result could not be encoded or decoded.
        Codec = "codec",
        /// The arguments or the result are larger than
        /// [`max_payload`](crate::ProcessBuilder::max_payload).
        TooLarge = "too_large",
        /// The function is not registered.
        Unregistered = "unregistered",
        /// Two registered functions have the same name.
        AmbiguousFunction = "ambiguous_function",
        /// There was no tokio runtime to start it on.
        NoRuntime = "no_runtime",
        /// The runtime that it was started on has ended before it had a result.
        RuntimeGone = "runtime_gone",
        /// A [daemon](crate::ProcessBuilder::daemon) has tried to start a process.
        DaemonChild = "daemon_child",
        /// This process, or the one that was started, has not called [`init`](crate::init).
        NotInitialized = "not_initialized",
        /// It was not ready within its [start timeout](crate::ProcessBuilder::start_timeout).
        StartTimeout = "start_timeout",
        /// Its program could not be run, ended before it was ready, or cannot serve this one.
        Start = "start",
        /// It has not been started.
        NotStarted = "not_started",
        /// It was started before.
        AlreadyStarted = "already_started",
        /// It was to be closed, and is still running.
        Running = "running",
        /// It is closed.
        Closed = "closed",
        /// It has sent a malformed message.
        Protocol = "protocol",
        /// The system does not let it be waited for.
        Unobservable = "unobservable",
    }

    /// How a task ended.
    TaskOutcome {
        /// It returned, perhaps an `Err`: the pool does not look at what it returned.
        Returned = "returned",
        /// It panicked.
        Panicked = "panicked",
        /// Its arguments could not be decoded or its result could not be encoded in the worker.
        Codec = "codec",
        /// Its result was larger than [`Builder::max_payload`](crate::Builder::max_payload).
        TooLarge = "too_large",
        /// Its [limits](crate::TaskBuilder::limits) could not be set in the worker.
        UnsupportedLimit = "unsupported_limit",
        /// Its worker died while it ran.
        WorkerDied = "worker_died",
        /// The host of its worker was lost while it ran.
        HostLost = "host_lost",
        /// It ran longer than its timeout.
        TimedOut = "timed_out",
        /// Its deadline passed.
        Expired = "expired",
        /// It did not begin in time.
        NotBegun = "not_begun",
        /// It was cancelled or aborted, by its handle or by a shutdown.
        Cancelled = "cancelled",
        /// The pool was broken before it ended.
        Broken = "broken",
        /// It met a pool that had been shut down, or whose runtime had ended.
        ShutDown = "shut_down",
        /// The pool did not accept the task. Only the [`outcome`](crate::TaskError::outcome) of an
        /// error is this; events and counts have no such task.
        NotAccepted = "not_accepted",
    }
}

impl From<SubmitErrorKind> for TaskErrorKind {
    fn from(kind: SubmitErrorKind) -> Self {
        match kind {
            SubmitErrorKind::QueueFull => Self::QueueFull,
            SubmitErrorKind::Deadline => Self::Deadline,
            SubmitErrorKind::NotBegun => Self::NotBegun,
            SubmitErrorKind::Codec => Self::Codec,
            SubmitErrorKind::TooLarge => Self::TooLarge,
            SubmitErrorKind::UnsupportedLimit => Self::UnsupportedLimit,
            SubmitErrorKind::ShutDown => Self::ShutDown,
            SubmitErrorKind::RuntimeGone => Self::RuntimeGone,
            SubmitErrorKind::Broken => Self::Broken,
            SubmitErrorKind::Unregistered => Self::Unregistered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that names are those that serde would derive, and lead back to where they came from.
    macro_rules! check {
        ($($name:ident)+) => {$(
            for kind in $name::ALL {
                let mut derived = String::new();
                for c in format!("{kind:?}").chars() {
                    if c.is_uppercase() && !derived.is_empty() {
                        derived.push('_');
                    }
                    derived.extend(c.to_lowercase());
                }
                assert_eq!(kind.as_str(), derived);
                assert_eq!(kind.to_string().parse(), Ok(*kind));
                let json = serde_json::to_string(kind).unwrap();
                assert_eq!(json, format!("\"{derived}\""));
                assert_eq!(serde_json::from_str::<$name>(&json).unwrap(), *kind);
                let bytes = postcard::to_stdvec(kind).unwrap();
                assert_eq!(postcard::from_bytes::<$name>(&bytes), Ok(*kind));
            }
        )+};
    }

    #[test]
    fn names_lead_back_to_kinds() {
        check!(TaskErrorKind SubmitErrorKind BuildErrorKind BrokenKind ProcessErrorKind TaskOutcome);
        assert_eq!(format!("[{:>8}]", TaskErrorKind::Panic), "[   panic]");
    }

    #[test]
    fn no_name_is_told_in_one_line() {
        let error = "a\nname".parse::<BrokenKind>().unwrap_err();
        assert!(error.to_string().starts_with("\"a\\nname\" is none of "), "{error}");
        let error = serde_json::from_str::<TaskOutcome>("\"panic\"").unwrap_err();
        assert!(error.to_string().starts_with("\"panic\" is none of returned, "), "{error}");
    }

    #[test]
    fn what_is_not_accepted_has_the_same_name_as_an_error_of_a_task() {
        for kind in SubmitErrorKind::ALL {
            assert_eq!(TaskErrorKind::from(*kind).as_str(), kind.as_str());
        }
    }
}
