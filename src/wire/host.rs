//! What a service and the agent on one of its hosts say to each other.
//!
//! ```text
//! agent:   (banner of the host) preamble, AgentBanner ┐
//! service:                                            └▶ preamble, AgentHello ┐
//! both:                                                                       └▶ multiplexed streams
//! ```
//!
//! The service opens all streams. The first one is for control: [`ToAgent`] one way, [`FromAgent`]
//! the other. Each worker has two more: its frames, both ways, and what it prints. Each of them
//! begins with a [`StreamHeader`].

use std::io;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

use super::far::{FarAnswer, FarPage, FarQuestion};
use super::frame::{LENGTH, malformed};
use super::hello::FarFailure;
use crate::base::WorkerId;
use crate::sys::memory::SharedPageRef;

/// No message of control is longer, and no header of a stream.
const LONGEST: usize = 1 << 20;

/// An agent's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentBanner {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    /// Of its program's file; see [`Build`].
    pub(crate) build: Build,
    pub(crate) pid: u32,
    /// So many CPUs it may use.
    pub(crate) cpus: u32,
}

/// What tells two programs apart: a hash of the file. Unknown where it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build(pub(crate) Option<u128>);

/// What an agent must know; how workers are started is the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentHello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    /// An agent that has not heard from its service for so long ends its workers, in nanoseconds.
    pub(crate) lease: u64,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StreamHeader {
    Control,
    /// What a worker reads, and writes. The worker is started.
    Frames(WorkerId),
    /// What it prints.
    Output(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToAgent {
    /// The service lives. `echo` is the agent's own clock, as it was in the last
    /// [`FromAgent::Pong`] that the service has: so a message that was long under way does not
    /// count for more.
    Ping { echo: u64 },
    /// Ask the worker, with its group, to end.
    Terminate(WorkerId),
    /// End it, with its group.
    Kill(WorkerId),
    /// Answer.
    Ask(WorkerId, FarQuestion),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromAgent {
    /// Answers a ping. `clock` is what the agent's clock says.
    Pong {
        clock: u64,
    },
    Started {
        worker: WorkerId,
        pid: u32,
        /// Which the worker shares with the agent.
        page: Option<SharedPageRef>,
    },
    Answer(WorkerId, FarAnswer),
    NotStarted {
        worker: WorkerId,
        failure: FarFailure,
    },
    /// All of its frames were written, and it is reaped. What it has printed may still come.
    Exited {
        worker: WorkerId,
        end: WorkerEnd,
    },
}

/// How a worker has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerEnd {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Whether the kernel has killed somebody in its control group for want of memory, if that
    /// group can tell.
    pub(crate) was_oom: Option<bool>,
    /// What it has left on its page, if it had one.
    pub(crate) page: Option<FarPage>,
}

/// Cuts a stream into messages.
pub(crate) fn message_codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(LENGTH)
        .max_frame_length(LONGEST)
        .new_codec()
}

/// A message, without its length.
pub(crate) fn message_bytes(message: &impl Serialize) -> io::Result<Bytes> {
    postcard::to_stdvec(message).map(Bytes::from).map_err(io::Error::other)
}

pub(crate) fn read_message<T: DeserializeOwned>(bytes: &BytesMut) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|_| malformed("a malformed message"))
}
