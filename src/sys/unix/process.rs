//! What a process is to its system: its program, its group, its parent.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
pub(crate) use std::os::unix::process::parent_id;
use std::process::Command;

use super::descriptor::{Descriptor, move_out_of_the_way};
use super::kernel::open_process;

/// The child is to lead a group of its own, so that it does not get what a terminal sends to this
/// one: Ctrl-C belongs to the parent.
pub(crate) fn new_group(command: &mut Command) {
    command.process_group(0);
}

/// Without its IO driver tokio would panic only after the child was spawned.
///
/// # Panics
///
/// In a runtime without an IO driver; tokio has no other way to tell.
pub(crate) fn require_io_driver() -> io::Result<()> {
    tokio::net::unix::pipe::pipe().map(drop)
}

/// As [`open_process`], of the process with that pid if it is the parent of this one: then that pid
/// cannot have become another's meanwhile.
pub(crate) fn open_parent(pid: u32) -> Option<Descriptor> {
    let process = open_process(pid).ok()?;
    let process = move_out_of_the_way(process.as_fd()).ok()?;
    (parent_id() == pid).then_some(process)
}
