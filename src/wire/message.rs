//! What the two sides say to each other: the kinds of frames, and their headers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{ResourceLimits, TaskId};
use crate::sys::memory::SegmentRef;

/// The longest message of a report of progress, in bytes: enough for any line that is shown, and
/// little for the parent to keep for each task.
pub(crate) const MAX_MESSAGE: usize = 4 << 10;

/// An enum that is told by a byte.
macro_rules! byte_enum {
    (
        $(#[$about:meta])*
        pub(crate) enum $name:ident {
            $($(#[$meaning:meta])* $variant:ident = $byte:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum $name {
            $($(#[$meaning])* $variant = $byte,)*
        }

        impl $name {
            #[inline]
            pub(super) fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

byte_enum! {
    /// The kinds of frames, in both directions.
    pub(crate) enum Kind {
        /// Supervisor → worker: [`Hello`](super::hello::Hello), with the initializer's arguments as
        /// payload.
        Hello = 1,
        /// Supervisor → worker: [`TaskHeader`], with the arguments as payload.
        Task = 2,
        /// Supervisor → worker: leave. [`Stop`], with the exit hook's arguments as payload.
        Stop = 3,
        /// Supervisor → worker: [`ChunkHeader`], with the items as payload.
        Chunk = 4,
        /// Supervisor → worker: [`SegmentTask`], whose arguments are in shared memory.
        SegmentTask = 5,
        /// Supervisor → worker: the answer to `CannotOpen`. Everything that was sent before is
        /// void; what counts of it comes again, with its arguments.
        Resume = 6,
        /// Supervisor → worker: something that was offered cannot be opened, and nothing more is to
        /// be offered. This is said once.
        OfferRefused = 7,
        /// Supervisor → worker: [`ExtrasHeader`] of the task or chunk whose frame comes next, with
        /// its context as payload. Those that have none are sent without.
        Extras = 8,
        /// Supervisor → worker: [`Credit`](super::emit::Credit). It may come when the task is over.
        Credit = 9,
        /// Worker → supervisor: [`WorkerHello`](super::hello::WorkerHello).
        WorkerHello = 16,
        /// Worker → supervisor: initialized. [`Ready`].
        Ready = 17,
        /// Worker → supervisor: [`InitFailure`].
        InitFailed = 18,
        /// Worker or fork server → supervisor: [`InitFailure`] of the preload.
        PreloadFailed = 25,
        /// Worker or fork server → supervisor: [`HookFailure`].
        HookFailed = 30,
        /// Worker → supervisor: [`ReplyHeader`], with the result as payload.
        Reply = 19,
        /// Worker → supervisor: leaving as told. [`Goodbye`], with the exit hook's result as
        /// payload.
        Goodbye = 20,
        /// Worker → supervisor: it takes more memory than it may, and begins no more tasks that
        /// could go to another worker.
        OverMemory = 23,
        /// Worker → supervisor: somebody else than its pool has asked it to end. It begins what is
        /// not taken back, and waits to be told to leave. This is said once.
        AskedToEnd = 31,
        /// Worker → supervisor: user code was reached because `init` was not called.
        NotInitialized = 21,
        /// Worker → supervisor: [`ProgressHeader`], with the message as payload.
        Progress = 22,
        /// Worker → supervisor: [`EmitHeader`](super::emit::EmitHeader), with the value as payload.
        Emit = 32,
        /// Worker → supervisor: [`ChunkReplyHeader`], with entries as payload.
        ChunkReply = 24,
        /// Worker → supervisor: [`Lent`](crate::memory::shared::Lent), of which the next reply or
        /// goodbye is the first to know.
        Lent = 26,
        /// Worker → supervisor: [`SegmentReply`], whose result is in shared memory.
        SegmentReply = 27,
        /// Worker → supervisor: [`SegmentOffer`].
        SegmentOffer = 28,
        /// Agent → service: [`AgentBanner`](super::host::AgentBanner).
        AgentBanner = 40,
        /// Service → agent: [`AgentHello`](super::host::AgentHello), with how workers are started
        /// as payload.
        AgentHello = 41,
        /// Worker → supervisor: it cannot open where the arguments of its next task are, and begins
        /// nothing before `Resume`. This is said once.
        CannotOpen = 29,
    }
}

/// Where a sent task's word stands, as told to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) index: u16,
    /// A frame is in a pipe for some hundreds of sendings at most, so it does not matter that the
    /// numbers begin anew some day.
    pub(crate) sending: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskHeader {
    pub(crate) task: TaskId,
    pub(crate) function: u32,
    pub(crate) attempt: Attempt,
    /// The task begins only if this can be claimed.
    pub(crate) slot: Option<Slot>,
}

/// Which attempt of a task it is, counted from one, and whether somebody may take what it emits.
/// The two are one number, so that the second takes no byte of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) is_heard: bool,
}

impl From<u64> for Attempt {
    fn from(both: u64) -> Self {
        let number = u32::try_from(both >> 1).unwrap_or(u32::MAX);
        Self { number, is_heard: both & 1 != 0 }
    }
}

impl From<Attempt> for u64 {
    fn from(attempt: Attempt) -> Self {
        Self::from(attempt.number) << 1 | Self::from(attempt.is_heard)
    }
}

/// What few tasks have beside their arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtrasHeader {
    pub(crate) task: TaskId,
    /// How many values it may have emitted that nobody has taken, unless these are as many as
    /// always.
    pub(crate) allowance: Option<u32>,
    /// The name of the context's type, if there is a context.
    pub(crate) context: Option<String>,
    /// What it may take of the machine, beside what its worker may.
    pub(crate) limits: Option<ResourceLimits>,
}

/// A task whose arguments are in memory that the parent shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentTask {
    pub(crate) task: TaskHeader,
    pub(crate) place: Place,
}

/// Bytes in a segment of the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Of the segment, unique in the pool.
    pub(crate) id: u64,
    pub(crate) name: SegmentRef,
    pub(crate) length: u64,
    /// The bytes are there as long as the segment says this number.
    pub(crate) lease: u64,
}

/// A reply whose payload is at the beginning of a segment of the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentReply {
    /// First, as its run time is set when the rest is written.
    pub(crate) reply: ReplyHeader,
    pub(crate) segment: u64,
    pub(crate) length: u64,
}

/// A segment in which the worker will leave results, once the supervisor has opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentOffer {
    pub(crate) segment: u64,
    pub(crate) name: SegmentRef,
    /// One that is not used any more.
    pub(crate) instead_of: Option<u64>,
}

/// The worker is initialized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Whether it can open what its parent shares, even now.
    pub(crate) segments: bool,
    /// What somebody should know of what the preload of a fork server has left behind.
    pub(crate) remarks: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyHeader {
    /// In nanoseconds. First and of fixed length, so that it can be set when the rest is written.
    #[serde(with = "postcard::fixint::le")]
    pub(crate) run_time: u64,
    pub(crate) task: TaskId,
    pub(crate) outcome: Outcome,
}

/// Calls of one function, which are one task until something happens to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkHeader {
    /// Its name.
    pub(crate) task: TaskId,
    pub(crate) function: u32,
    pub(crate) attempt: u32,
    /// The name of the first item that is sent is `task` plus this; the others have those that
    /// follow. It is at least the number of items that were done at an earlier attempt.
    pub(crate) skipped: u32,
    pub(crate) count: u32,
    /// No further item begins when the results take so many bytes.
    pub(crate) credit: u64,
    /// Each item begins only if this can be claimed.
    pub(crate) slot: Option<Slot>,
}

/// Results of a chunk, in the order of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkReplyHeader {
    pub(crate) task: TaskId,
    /// The item that the first entry is of.
    pub(crate) base: u32,
    /// How many entries there are.
    pub(crate) count: u32,
    /// How long these items took together, in nanoseconds.
    pub(crate) nanos: u64,
    /// Set if the chunk is done: how long it took as a whole.
    pub(crate) run_time: Option<u64>,
}

/// What a worker is told when it has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// Position of the exit hook.
    pub(crate) exit_hook: Option<u32>,
}

/// A worker's last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Goodbye {
    /// How the exit hook ended.
    pub(crate) exit_hook: Option<Outcome>,
}

byte_enum! {
    /// How a call ended, and what the payload of its reply is.
    #[derive(Serialize, Deserialize)]
    pub(crate) enum Outcome {
        /// The result.
        Returned = 0,
        /// A [`PanicReport`].
        Panicked = 1,
        /// The error's text.
        UndecodableArguments = 2,
        /// The error's text.
        UnencodableResult = 3,
        /// Nothing.
        ResultTooLarge = 4,
        /// Why the limits of the task cannot be set. It was not called.
        UnsupportedLimit = 5,
    }
}

/// What a running task reports of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressHeader {
    pub(crate) task: TaskId,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// A panic that was caught in a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: String,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)?;
        match &self.location {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

/// Why a worker could not be initialized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InitFailure {
    Panicked(PanicReport),
    Failed(String),
    /// It has not failed, but after it this process cannot be forked.
    CannotFork(String),
    /// It has not failed, but after it this process could not enter its sandbox.
    NoSandbox(String),
}

/// When a hook around a fork runs, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HookStage {
    /// In the server.
    Before,
    /// In the server.
    AfterInParent,
    /// In the worker.
    After,
}

impl HookStage {
    /// As users know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before_fork",
            Self::AfterInParent => "after_fork_in_parent",
            Self::After => "after_fork",
        }
    }
}

impl fmt::Display for HookStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which hook has failed, so that there is no worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HookFailure {
    pub(crate) stage: HookStage,
    /// Which of the hooks of this stage.
    pub(crate) number: u32,
    pub(crate) failure: InitFailure,
}

impl HookFailure {
    pub(crate) fn new(stage: HookStage, number: usize, failure: InitFailure) -> Self {
        Self { stage, number: u32::try_from(number).unwrap_or(u32::MAX), failure }
    }
}
