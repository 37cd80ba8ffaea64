//! Which process is at the other end, if it may not be the one that was started.
//!
//! A command may start the real worker as a child of its own. What that one shares is opened by its
//! pid, and it could name any. So it *signs*: it takes a lock on a file that both have open, and
//! the system says which process has that lock.

use std::io;

use super::system::arrivals::Arrivals;
use super::system::descriptor::{Descriptor, close_elsewhere, is_readable};
use super::system::{MemoryFile, is_memory, open_process};

/// The process whose descriptors may be opened.
#[derive(Debug)]
pub(crate) struct Peer {
    pid: u32,
    /// Readable once it has ended. A child needs none: its pid is its own until it is reaped.
    end: Option<Descriptor>,
    /// What it has sent, where nobody may open what it has.
    arrivals: Arrivals,
}

impl Peer {
    /// A child that was not reaped yet, and will not be as long as this is used.
    pub(crate) fn child(pid: u32) -> Self {
        Self { pid, end: None, arrivals: Arrivals::new() }
    }

    /// Whoever has signed the file; the child, if nobody else has.
    pub(super) fn signer_or_child(file: &MemoryFile, child: u32) -> Self {
        let pid = file.signer().filter(|pid| *pid != child);
        // If it is still the signer now, then what was opened by its pid is it.
        let open = |pid: &u32| open_process(*pid).ok().filter(|_| file.signer() == Some(*pid));
        let end = pid.as_ref().and_then(open);
        match (pid, end) {
            (Some(pid), Some(end)) => Self { pid, end: Some(end), arrivals: Arrivals::new() },
            _ => Self::child(child),
        }
    }

    /// What came from it over a socket; false at the end, or if that is broken.
    pub(crate) fn heard(&self, received: io::Result<(usize, Vec<Descriptor>)>) -> bool {
        let Ok((count, descriptors)) = received else { return false };
        self.receive(descriptors).is_ok() && count > 0
    }

    /// It has sent these.
    ///
    /// # Errors
    ///
    /// If that is not only memory.
    pub(crate) fn receive(&self, descriptors: Vec<Descriptor>) -> io::Result<()> {
        // To look closer at what is none, or to close it, may take as long as who has sent it
        // wants.
        let (memory, strange): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_memory);
        self.arrivals.add(memory);
        if strange.is_empty() {
            return Ok(());
        }
        close_elsewhere(strange);
        Err(io::Error::new(io::ErrorKind::InvalidData, "it sent a descriptor that is no memory"))
    }

    /// Opens something of the process with this pid, if that is the one.
    pub(crate) fn open<T>(&self, pid: u32, open: impl FnOnce(&Arrivals) -> Option<T>) -> Option<T> {
        let opened = (pid == self.pid).then(|| open(&self.arrivals)).flatten();
        // If it lives now, nobody else had its pid meanwhile.
        opened.filter(|_| self.end.as_ref().is_none_or(|end| !is_readable(end)))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const SIZE: usize = 4096;

    fn file() -> MemoryFile {
        MemoryFile::sparse(SIZE).unwrap()
    }

    /// Opens it once more, as another process would.
    fn reopen(file: &MemoryFile) -> MemoryFile {
        let which = (SIZE, file.inode().unwrap());
        MemoryFile::open(std::process::id(), file.number(), which, &Arrivals::new()).unwrap()
    }

    #[test]
    fn without_a_signature_it_is_the_child() {
        let (file, own) = (file(), std::process::id());
        let peer = Peer::signer_or_child(&file, own);
        assert_eq!(peer.open(own, |_| Some(7)), Some(7));
        assert_eq!(peer.open(own + 1, |_| Some(7)), None);
        reopen(&file).sign().unwrap();
        assert_eq!(file.signer(), None, "nobody else has signed");
    }

    #[test]
    fn a_lock_that_has_no_process_is_no_signature() {
        let file = file();
        let other = reopen(&file);
        assert!(other.try_lock().unwrap());
        assert_eq!(file.signer(), None);
    }

    #[test]
    fn what_is_no_memory_is_not_received() {
        let (peer, file) = (Peer::child(1), file());
        let memory = || file.descriptor().unwrap();
        peer.receive(vec![memory(), memory()]).unwrap();
        let other = std::fs::File::open("/dev/null").unwrap().into();
        peer.receive(vec![other, memory()]).unwrap_err();
        let inode = file.inode().unwrap();
        let found = std::iter::from_fn(|| peer.arrivals.find(inode)).count();
        assert_eq!(found, 3);
    }

    #[test]
    fn nothing_is_opened_of_a_process_that_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let peer = Peer { end: open_process(pid).ok(), ..Peer::child(pid) };
        assert_eq!(peer.open(pid, |_| Some(7)), Some(7));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(peer.open(pid, |_| Some(7)), None, "the pid may be another one's");
    }
}
