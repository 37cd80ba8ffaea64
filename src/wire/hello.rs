//! Who the two sides are, said before anything else.

use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::frame::split_header;
use crate::base::{Identity, OomScore, ResourceLimits, WorkerId};
use crate::sys::memory::SharedPageRef;
use crate::sys::sandbox::SandboxRules;

/// What a worker must know before its first task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    pub(crate) worker: WorkerId,
    pub(crate) identity: Identity,
    pub(crate) max_payload: u64,
    /// A worker that takes more memory after a task, in bytes, is replaced.
    pub(crate) max_memory: Option<u64>,
    pub(crate) limits: ResourceLimits,
    pub(crate) oom_score: OomScore,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
    /// After so many tasks the worker leaves without being told to.
    pub(crate) max_tasks: Option<u64>,
    /// The functions that tasks name by their position here. `None`: those that the server that has
    /// forked the worker was told.
    pub(crate) functions: Option<Vec<FunctionName>>,
    /// If it is to be run in the worker itself. Its arguments are the beginning of the payload.
    pub(crate) preload: Option<CallHeader>,
    /// Hooks that a forked worker runs next, in this order. Their arguments follow.
    pub(crate) after_fork: Vec<CallHeader>,
    /// Position of the initializer.
    pub(crate) initializer: Option<u32>,
    /// What it gives up after that.
    pub(crate) sandbox: Option<SandboxRules>,
    pub(crate) claims: Option<SharedPageRef>,
    /// How much memory it may share with its parent, in bytes.
    pub(crate) shared_memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallHeader {
    /// The function's position.
    pub(crate) function: u32,
    /// How many bytes its arguments take.
    pub(crate) length: u64,
}

impl CallHeader {
    /// Takes its arguments off the front of what is left of those that are said one after the
    /// other: where they are, which is never beyond the end.
    pub(crate) fn take_arguments(self, left: &mut Range<usize>) -> Range<usize> {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX).min(left.len());
        let begin = left.start;
        left.start += length;
        begin..left.start
    }
}

/// What a fork server must know; the arguments of what it calls are the payload, in the order in
/// which they are named here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerHello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    /// That of the worker for which the server was started: the preload finds what it would find
    /// there.
    pub(crate) identity: Identity,
    /// The functions that tasks name by their position here.
    pub(crate) functions: Vec<FunctionName>,
    pub(crate) preload: Option<CallHeader>,
    /// Hooks that it runs around each fork, in the order in which they were asked for.
    pub(crate) before_fork: Vec<CallHeader>,
    pub(crate) after_fork_in_parent: Vec<CallHeader>,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
    pub(crate) oom_score: OomScore,
}

impl Hello {
    /// Whether something of the user's runs before the worker is ready, or it gives something up.
    pub(crate) fn calls_something(&self) -> bool {
        self.sandbox.is_some()
            || self.preload.is_some()
            || !self.after_fork.is_empty()
            || self.initializer.is_some()
    }

    pub(crate) fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

/// What a [`Process`](crate::Process) is told; its arguments are the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessHello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    pub(crate) max_payload: u64,
    pub(crate) function: FunctionName,
    /// Whether the result is wanted, not just an exit code.
    pub(crate) typed: bool,
    /// Whether it must not outlive its parent.
    pub(crate) ends_with_parent: bool,
    pub(crate) identity: Identity,
    pub(crate) limits: ResourceLimits,
    pub(crate) oom_score: OomScore,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
}

impl ProcessHello {
    pub(crate) fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

/// A function as both processes know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) signature: String,
}

/// A worker's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerHello {
    pub(crate) version: u32,
    /// Why it cannot take part in claims, as the system says it: it has not opened their page. Zero
    /// if there is no such reason.
    pub(crate) no_page: Option<i32>,
    /// If there are any, the worker leaves.
    pub(crate) differences: Vec<String>,
}

/// Why a worker was not started on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FarFailure {
    /// For people to read.
    pub(crate) text: String,
    pub(crate) class: FarFailureClass,
    /// What broke its pool there would be called; a word that this side need not know.
    pub(crate) kind: String,
}

/// What it says of other workers on that host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
pub(crate) enum FarFailureClass {
    /// Every one would meet the same.
    Fatal,
    /// What runs before the first task is to blame.
    Initialization,
    /// Nothing.
    Accident,
    Other,
}

/// Reads the version of a hello whose other contents may be unknown.
pub(crate) fn peek_version(hello: &[u8]) -> io::Result<u32> {
    Ok(split_header(hello)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_has_more_arguments_than_there_are() {
        let mut left = 0..7;
        let mut take = |length| CallHeader { function: 0, length }.take_arguments(&mut left);
        assert_eq!([take(3), take(0), take(2)], [0..3, 3..3, 3..5]);
        assert_eq!([take(u64::MAX), take(1)], [5..7, 7..7]);
    }
}
