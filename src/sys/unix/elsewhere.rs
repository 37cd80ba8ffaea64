//! What other Unix systems do where Linux has something of its own: most often without it.

use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

fn missing<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is none, so nothing is ever asked of one.
#[derive(Debug)]
pub(crate) enum MemoryFile {}

impl MemoryFile {
    pub(crate) fn sparse(_size: usize) -> io::Result<Self> {
        missing()
    }

    pub(crate) fn filled(_size: usize) -> io::Result<Self> {
        missing()
    }

    pub(crate) fn open(_pid: u32, _number: RawFd, _size: usize) -> io::Result<Self> {
        missing()
    }

    pub(crate) fn open_named(
        _pid: u32,
        _number: RawFd,
        _size: usize,
        _inode: u64,
    ) -> io::Result<Self> {
        missing()
    }

    pub(crate) fn number(&self) -> RawFd {
        match *self {}
    }

    pub(crate) fn inode(&self) -> io::Result<u64> {
        match *self {}
    }

    pub(crate) fn write_at(&self, _offset: usize, _bytes: &[u8]) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn give_memory_back(&self, _offset: usize) {
        match *self {}
    }

    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn try_lock_shared(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn unlock(&self) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn sign(self) -> io::Result<()> {
        match self {}
    }

    pub(crate) fn signer(&self) -> Option<u32> {
        match *self {}
    }

    pub(crate) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(crate) enum Mapping<const WORDS: usize> {}

impl<const WORDS: usize> Mapping<WORDS> {
    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        match *self {}
    }

    pub(crate) fn start(&self) -> *mut u8 {
        match *self {}
    }

    pub(crate) fn populate(&self, _pages: Range<usize>) {
        match *self {}
    }
}

/// Not reached: these numbers are in mappings.
pub(crate) fn wake_all(_number: &AtomicU32) {}

/// Not reached, either.
pub(crate) fn wait_for_change(_number: &AtomicU32, _seen: u32, limit: Option<Duration>) {
    std::thread::sleep(limit.unwrap_or(Duration::MAX));
}
