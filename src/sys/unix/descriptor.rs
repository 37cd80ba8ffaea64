//! Descriptors: what waits for them, and which of them a process has inherited.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::resources::{Resource, soft_limit};
use crate::sys::thread::start_thread;

/// What is open, and closed when this is dropped.
pub(crate) type Descriptor = OwnedFd;
/// The number of one, as another process may know it. Users know it by the system's name.
pub(crate) type RawDescriptor = RawFd;

/// The numbers of these, by which a process has them that they are [passed on](pass_on) to.
pub(crate) fn numbers(fds: &[Arc<Descriptor>]) -> Vec<RawDescriptor> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}

/// Registers a descriptor with the runtime's reactor.
///
/// # Panics
///
/// Outside of a runtime with an IO driver.
pub(super) fn watch_readable(fd: Arc<Descriptor>) -> io::Result<AsyncFd<Arc<Descriptor>>> {
    // What could go wrong is that somebody closes or replaces the descriptor meanwhile. The
    // `AsyncFd` keeps it open, and an `Arc` always refers to the same one.
    #[allow(deprecated, reason = "tokio's long-term lines do not have what comes after it")]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Blocks until the other end of a pipe is closed, or until this end is, or until the process has
/// ended.
pub(crate) fn wait_for_hangup(fd: impl AsFd, process: Option<&Descriptor>) {
    // No event is asked for, so data does not wake the thread; a hangup is always reported.
    wait_for(fd, PollFlags::empty(), process);
}

/// Blocks until a read would not block, and says so, or until the process has ended.
pub(crate) fn wait_for_input(fd: impl AsFd, process: Option<&Descriptor>) -> bool {
    wait_for(fd, PollFlags::IN, process)
}

/// False if the process has ended, which is what a pidfd tells.
fn wait_for(fd: impl AsFd, wanted: PollFlags, process: Option<&Descriptor>) -> bool {
    let first = PollFd::new(&fd, wanted);
    let second = process.map(|process| PollFd::new(process, PollFlags::IN));
    let mut fds: Vec<_> = [first].into_iter().chain(second).collect();
    loop {
        match poll(&mut fds, None) {
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => return fds.get(1).is_none_or(|process| process.revents().is_empty()),
        }
    }
}

/// Whether the other end is closed.
pub(crate) fn has_hung_up(fd: impl AsFd) -> bool {
    !events(fd, PollFlags::empty()).is_empty()
}

/// Whether a read would not block.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    !events(fd, PollFlags::IN).is_empty()
}

fn events(fd: impl AsFd, wanted: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&fd, wanted)];
    while let Err(Errno::INTR) = poll(&mut fds, Some(&Timespec::default())) {}
    fds[0].revents()
}

/// Closes something by a thread of its own: for what others have made, as a socket or a file may
/// take as long to close as they want.
pub(crate) fn close_elsewhere<T: Send + 'static>(what: T) {
    const STACK: usize = 64 << 10;
    // If there is no thread to be had it is closed here.
    drop(start_thread("procpool-closer", Some(STACK), move || drop(what)));
}

/// Copies a descriptor to a high number, where a task that closes "all the low ones", or uses a
/// wrong number, is unlikely to hit it.
pub(super) fn move_out_of_the_way(fd: BorrowedFd<'_>) -> io::Result<Descriptor> {
    const RESERVE: u64 = 16;
    let limit = soft_limit(Resource::Nofile).unwrap_or(1024).min(1024);
    let high = i32::try_from(limit.saturating_sub(RESERVE)).unwrap_or(0).max(3);
    Ok(fcntl_dupfd_cloexec(fd, high).or_else(|_| fcntl_dupfd_cloexec(fd, 3))?)
}

/// Closes what came to this process by its start, but for the standard streams and what it is to
/// have.
///
/// To be called before any code of the user's. What std and this crate open is closed at an `exec`,
/// and so is told from what was inherited.
pub(crate) fn close_inherited(wanted: &[RawDescriptor]) {
    const STANDARD: [RawDescriptor; 3] = [0, 1, 2];
    let is_wanted = |fd: &RawDescriptor| STANDARD.contains(fd) || wanted.contains(fd);
    let unwanted =
        open_descriptors().into_iter().filter(|fd| !is_wanted(fd) && is_inheritable(*fd));
    for fd in unwanted {
        // SAFETY: nobody in this process owns it: its number came from another program, which has
        // told nobody here of it, and no code of the user's has run that could have looked for it.
        #[expect(unsafe_code, reason = "closes a descriptor that has no owner")]
        let _ = unsafe { libc::close(fd) };
    }
}

/// Those of which there may be one, if the system does not tell.
pub(crate) fn open_descriptors() -> Vec<RawDescriptor> {
    const MOST: u64 = 4096;
    let all = || {
        let most = soft_limit(Resource::Nofile).unwrap_or(MOST).min(MOST);
        0..RawDescriptor::try_from(most).unwrap_or_default()
    };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return all().collect() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether it is open, and would be in what this process starts.
fn is_inheritable(fd: RawDescriptor) -> bool {
    flags(fd).is_some_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// A program that is started has these, too, under their numbers. They are left as they are in this
/// process, so that nothing else has them that is started meanwhile.
pub(crate) fn pass_on(command: &mut Command, fds: &[Arc<Descriptor>]) {
    let inheritable = |fd: &&Arc<Descriptor>| is_inheritable(fd.as_raw_fd());
    // The command keeps them open: their numbers are nobody else's before it has run.
    let closed_on_exec: Vec<_> = fds.iter().filter(|fd| !inheritable(fd)).map(Arc::clone).collect();
    if closed_on_exec.is_empty() {
        return; // without a hook a start takes no copy of this process's page tables
    }
    let pass = move || closed_on_exec.iter().try_for_each(|fd| keep_on_exec(fd.as_raw_fd()));
    // SAFETY: all that runs between the fork and the exec is a system call for each of them, which
    // takes no lock and no memory; a vector is only looked at.
    #[expect(unsafe_code, reason = "runs in a copy of this process")]
    unsafe {
        command.pre_exec(pass)
    };
}

fn keep_on_exec(fd: RawDescriptor) -> io::Result<()> {
    // SAFETY: this command takes a number, touches no memory, and fails if there is no such
    // descriptor.
    #[expect(unsafe_code, reason = "looks at a descriptor that may have no owner")]
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether it belongs to anybody.
pub(super) fn is_open(fd: RawDescriptor) -> bool {
    flags(fd).is_some()
}

fn flags(fd: RawDescriptor) -> Option<i32> {
    // SAFETY: this command takes no argument, touches no memory, and fails if there is no such
    // descriptor.
    #[expect(unsafe_code, reason = "looks at a descriptor that may have no owner")]
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    (flags >= 0).then_some(flags)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::io::write;
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn a_hangup_is_seen_and_data_is_not() {
        let (reader, writer) = pipe().unwrap();
        write(&writer, b"data").unwrap();
        let waiter = std::thread::spawn(move || wait_for_hangup(reader, None));
        drop(writer);
        waiter.join().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_end_of_a_process_is_seen_though_its_pipe_is_open() {
        let (reader, _writer) = pipe().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let process = super::super::kernel::open_process(child.id()).unwrap();
        assert!(!wait_for_input(&reader, Some(&process)));
        wait_for_hangup(&reader, Some(&process));
        child.wait().unwrap();
    }

    #[test]
    fn looking_at_a_pipe_does_not_block() {
        let (reader, writer) = pipe().unwrap();
        assert!(!has_hung_up(&reader) && !is_readable(&reader));
        write(&writer, b"data").unwrap();
        assert!(!has_hung_up(&reader) && is_readable(&reader));
        drop(writer);
        assert!(has_hung_up(&reader));
    }

    #[test]
    fn a_descriptor_moves_to_a_high_number() {
        let (reader, _writer) = pipe().unwrap();
        assert!(move_out_of_the_way(reader.as_fd()).unwrap().as_raw_fd() > 8);
    }

    #[test]
    fn what_std_has_opened_was_not_inherited() {
        let file = File::open("/dev/null").unwrap();
        assert!(!is_inheritable(file.as_raw_fd()) && !is_inheritable(-1));
        let copy = rustix::io::dup(&file).unwrap();
        assert!(is_inheritable(copy.as_raw_fd()));
        assert!(open_descriptors().contains(&copy.as_raw_fd()));
    }
}
