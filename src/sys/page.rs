//! Memory that two processes share.

use std::io;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::system::descriptor::RawDescriptor;
use super::system::{Mapping, MemoryFile};

/// A multiple of every usual page size. What is never touched takes no memory.
const SIZE: usize = 64 << 10;
const WORDS: usize = SIZE / size_of::<AtomicU64>();

/// Atomic words, zero at first, that live as long as one of their two sides.
#[derive(Debug)]
pub(crate) struct SharedPage(Mapping<WORDS>);

/// Names a shared page to a child on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedPageRef {
    pid: u32,
    fd: RawDescriptor,
}

impl SharedPageRef {
    pub(crate) fn new(file: &MemoryFile) -> Self {
        Self { pid: std::process::id(), fd: file.number() }
    }

    /// Lets the parent see which process has opened its page. To be called when it will not be
    /// opened any more.
    pub(crate) fn sign(self) -> io::Result<()> {
        self.open()?.sign()
    }

    fn open(self) -> io::Result<MemoryFile> {
        MemoryFile::open(self.pid, self.fd, SIZE)
    }
}

impl SharedPage {
    /// Makes a page that nobody can shrink, so that no access ever faults. The file can be closed
    /// as soon as the other side has opened it.
    pub(crate) fn create() -> io::Result<(Self, MemoryFile)> {
        let file = MemoryFile::sparse(SIZE)?;
        Ok((Self(file.map()?), file))
    }

    /// Opens the page that the parent made.
    pub(crate) fn open(page: SharedPageRef) -> io::Result<Self> {
        page.open()?.map().map(Self)
    }

    /// Who has opened the page of a child and [signed](SharedPageRef::sign) it; or that child.
    pub(crate) fn opener(page: &MemoryFile, child: u32) -> Peer {
        Peer::signer_or_child(page, child)
    }

    /// How many there are.
    pub(crate) const WORDS: usize = WORDS;

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        self.0.words()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn both_sides_see_the_same_words() {
        let (page, fd) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&fd)).unwrap();
        page.words()[7].store(42, Ordering::Release);
        assert_eq!(other.words()[7].load(Ordering::Acquire), 42);
    }

    #[test]
    fn a_side_outlives_the_other_and_the_descriptor() {
        let (page, fd) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&fd)).unwrap();
        drop((page, fd));
        other.words()[0].store(1, Ordering::Release);
    }

    #[test]
    fn a_descriptor_that_is_no_page_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let name = SharedPageRef { pid: std::process::id(), fd: file.as_raw_fd() };
        assert!(SharedPage::open(name).is_err());
    }
}
