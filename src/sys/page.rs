//! Memory that two processes share.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::peer::Peer;
use super::random::random_bytes;
use super::system::arrivals::Arrivals;
use super::system::descriptor::RawDescriptor;
use super::system::{Mapping, MemoryFile};

/// A multiple of every usual page size. What is never touched takes no memory.
const SIZE: usize = 64 << 10;
const ALL_WORDS: usize = SIZE / size_of::<AtomicU64>();
/// The last one holds what tells it from all other files.
const WORDS: usize = ALL_WORDS - 1;

/// Atomic words, zero at first, that live as long as one of their two sides.
#[derive(Debug)]
pub(crate) struct SharedPage(Mapping<ALL_WORDS>);

/// Names a shared page to a child on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedPageRef {
    pid: u32,
    fd: RawDescriptor,
    inode: u64,
    /// What nobody can guess. The process with that pid, as it is called here, may be a stranger.
    id: u64,
}

impl SharedPageRef {
    pub(crate) fn new(page: &SharedPage, file: &MemoryFile) -> io::Result<Self> {
        let (pid, fd, inode) = (std::process::id(), file.number(), file.inode()?);
        Ok(Self { pid, fd, inode, id: page.id() })
    }

    /// Lets the parent see which process has opened its page. To be called when it will not be
    /// opened any more.
    pub(crate) fn sign(self) -> io::Result<()> {
        self.open()?.1.sign()
    }

    fn open(self) -> io::Result<(SharedPage, MemoryFile)> {
        let which = (SIZE, self.inode);
        let file = MemoryFile::open(self.pid, self.fd, which, Arrivals::from_parent())?;
        let page = SharedPage(file.map()?);
        if page.id() != self.id {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((page, file))
    }
}

impl SharedPage {
    /// Makes a page that nobody can shrink, so that no access ever faults. The file can be closed
    /// as soon as the other side has opened it.
    pub(crate) fn create() -> io::Result<(Self, MemoryFile)> {
        let file = MemoryFile::sparse(SIZE)?;
        let page = Self(file.map()?);
        page.id_word().store(u64::from_ne_bytes(random_bytes()?), Ordering::Relaxed);
        Ok((page, file))
    }

    /// Opens the page that the parent made.
    pub(crate) fn open(page: SharedPageRef) -> io::Result<Self> {
        page.open().map(|(page, _)| page)
    }

    /// Who has opened the page of a child and [signed](SharedPageRef::sign) it; or that child.
    pub(crate) fn opener(page: &MemoryFile, child: u32) -> Peer {
        Peer::signer_or_child(page, child)
    }

    /// How many there are.
    pub(crate) const WORDS: usize = WORDS;

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        let [words @ .., _] = self.0.words();
        words
    }

    fn id_word(&self) -> &AtomicU64 {
        let [.., id] = self.0.words();
        id
    }

    fn id(&self) -> u64 {
        self.id_word().load(Ordering::Relaxed)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn both_sides_see_the_same_words() {
        let (page, file) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&page, &file).unwrap()).unwrap();
        page.words()[7].store(42, Ordering::Release);
        assert_eq!(other.words()[7].load(Ordering::Acquire), 42);
    }

    #[test]
    fn a_side_outlives_the_other_and_the_descriptor() {
        let (page, file) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&page, &file).unwrap()).unwrap();
        drop((page, file));
        other.words()[0].store(1, Ordering::Release);
    }

    #[test]
    fn a_descriptor_that_is_no_page_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let (page, file) = SharedPage::create().unwrap();
        let name = SharedPageRef::new(&page, &file).unwrap();
        let other = SharedPageRef { fd: null.as_raw_fd(), ..name };
        assert!(SharedPage::open(other).is_err());
        // A stranger's, of the same size, which is in the place of this one.
        let guessed = SharedPageRef { id: name.id + 1, ..name };
        assert!(SharedPage::open(guessed).is_err() && SharedPage::open(name).is_ok());
    }
}
