//! Which process is at the other end, if it may not be the one that was started.
//!
//! A command may start the real worker as a child of its own. What that one shares is opened by its
//! pid, and it could name any. So it *signs*: it takes a lock on a file that both have open, and
//! the system says which process has that lock.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use rustix::fs::{FlockOperation, fcntl_lock};

use super::system::child::open_process;
use super::system::descriptor::is_readable;

/// Lets those who have the file open see that it is this process. It is so until this process ends,
/// or closes a descriptor of that file.
pub(super) fn sign(file: OwnedFd) -> io::Result<()> {
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let _ = file.into_raw_fd(); // never closed, as the lock would go
    Ok(())
}

/// Who has signed, if that is a process that has a number here.
fn signer(file: &OwnedFd) -> Option<u32> {
    let mut lock = exclusive();
    // SAFETY: the descriptor is open, and the call reads and writes a structure that is there.
    #[expect(unsafe_code, reason = "calls the system")]
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    let is_locked = done == 0 && i32::from(lock.l_type) != libc::F_UNLCK;
    // A lock of another kind has no process, and is said to be that of -1.
    is_locked.then(|| u32::try_from(lock.l_pid).ok()).flatten().filter(|pid| *pid > 0)
}

/// A lock on the whole file.
fn exclusive() -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "the constant is small")]
    let kind = libc::F_WRLCK as libc::c_short;
    libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}

/// The process whose descriptors may be opened.
#[derive(Debug)]
pub(crate) struct Peer {
    pid: u32,
    /// Readable once it has ended. A child needs none: its pid is its own until it is reaped.
    end: Option<OwnedFd>,
}

impl Peer {
    /// A child that was not reaped yet, and will not be as long as this is used.
    pub(crate) fn child(pid: u32) -> Self {
        Self { pid, end: None }
    }

    /// Whoever has signed the file; the child, if nobody else has.
    pub(super) fn signer_or_child(file: &OwnedFd, child: u32) -> Self {
        let pid = signer(file).filter(|pid| *pid != child);
        // If it is still the signer now, then what was opened by its pid is it.
        let open = |pid: &u32| open_process(*pid).filter(|_| signer(file) == Some(*pid));
        let end = pid.as_ref().and_then(open);
        match (pid, end) {
            (Some(pid), Some(end)) => Self { pid, end: Some(end) },
            _ => Self::child(child),
        }
    }

    /// Opens something of the process with this pid, if that is the one.
    pub(crate) fn open<T>(&self, pid: u32, open: impl FnOnce() -> Option<T>) -> Option<T> {
        let opened = (pid == self.pid).then(open).flatten();
        // If it lives now, nobody else had its pid meanwhile.
        opened.filter(|_| self.end.as_ref().is_none_or(|end| !is_readable(end)))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;
    use std::process::{Command, Stdio};

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn file() -> OwnedFd {
        memfd_create("test", MemfdFlags::CLOEXEC).unwrap()
    }

    /// Opens it once more, as another process would.
    fn reopen(file: &OwnedFd) -> OwnedFd {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        File::options().read(true).write(true).open(path).unwrap().into()
    }

    #[test]
    fn without_a_signature_it_is_the_child() {
        let (file, own) = (file(), std::process::id());
        let peer = Peer::signer_or_child(&file, own);
        assert_eq!(peer.open(own, || Some(7)), Some(7));
        assert_eq!(peer.open(own + 1, || Some(7)), None);
        sign(reopen(&file)).unwrap();
        assert_eq!(signer(&file), None, "nobody else has signed");
    }

    #[test]
    fn a_lock_that_has_no_process_is_no_signature() {
        let file = file();
        let other = reopen(&file);
        let lock = exclusive();
        // SAFETY: the descriptor is open, and the structure is there.
        #[expect(unsafe_code, reason = "calls the system")]
        let done = unsafe { libc::fcntl(other.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
        assert_eq!(done, 0);
        assert_eq!(signer(&file), None);
    }

    #[test]
    fn nothing_is_opened_of_a_process_that_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let peer = Peer { pid, end: open_process(pid) };
        assert_eq!(peer.open(pid, || Some(7)), Some(7));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(peer.open(pid, || Some(7)), None, "the pid may be another one's");
    }
}
