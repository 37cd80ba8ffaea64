//! The operating system: the one place that knows platforms, and the only one with `unsafe`.
//!
//! Everything above enters it by what it looks for, and sees the same names whatever is below: each
//! face takes what only a system can give from `system`, which is `unix` today. Windows would be a
//! folder beside that, with the same names in files that are called the same: nothing else changes.

/// Memory for large values.
pub(crate) mod buffer;
/// What tests take of memory and time.
#[cfg(test)]
pub(crate) mod counting;
/// What is open: waiting for it, and closing what was inherited.
pub(crate) mod descriptor;
/// Processes that are forked, and what must be before one is.
pub(crate) mod fork;
/// Memory that processes share, who may look at it, and barriers between those who do.
pub(crate) mod memory;
/// Sequences of numbers, told by their type and copied as a whole.
pub(crate) mod numbers;
/// Pipes between a process and its parent.
pub(crate) mod pipe;
/// Processes: their start, their signals, their end.
pub(crate) mod process;
/// Bytes that nobody can guess.
pub(crate) mod random;
/// How much a process takes, and the most that it may.
pub(crate) mod resources;
/// What a process gives up for good.
pub(crate) mod sandbox;
/// What signals are called, and which of them get to a process.
pub(crate) mod signal;
/// Sockets between a process and its parent, by which more than bytes is sent.
pub(crate) mod socket;
/// How far a thread's stack reaches.
pub(crate) mod stack;
/// Threads of this crate's own.
pub(crate) mod thread;

mod carrier;
mod page;
mod peer;
mod segment;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use self::unix as system;
#[cfg(not(unix))]
compile_error!("procpool supports Linux and other Unix systems; Windows is not supported yet");
