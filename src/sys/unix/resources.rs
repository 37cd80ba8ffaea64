//! How much memory processes take, and the most that they may take of this and other resources.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;
use rustix::param::page_size;
pub(crate) use rustix::process::Resource;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// Reads how much memory a process has in use. Only on Linux.
#[derive(Debug)]
pub(crate) struct MemoryGauge(File);

impl MemoryGauge {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        File::open("/proc/self/statm").map(Self)
    }

    fn of_process(pid: u32) -> io::Result<Self> {
        File::open(format!("/proc/{pid}/statm")).map(Self)
    }

    /// The bytes that are in RAM at this moment.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        self.read().map(|[resident, _]| resident)
    }

    /// As [`Self::resident`], without what is shared of memory that other processes answer for, of
    /// which there is so much at most.
    pub(crate) fn resident_without(&self, shared: u64) -> io::Result<u64> {
        let [resident, shareable] = self.read()?;
        Ok(resident - shared.min(shareable).min(resident))
    }

    /// What is in RAM, and what of that is shared or comes from files.
    fn read(&self) -> io::Result<[u64; 2]> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
        let mut pages = text.split(' ').skip(1).map(|pages| pages.parse::<u64>().ok());
        let mut next = || {
            let pages = pages.next().flatten().ok_or(io::ErrorKind::InvalidData)?;
            Ok::<u64, io::Error>(pages.saturating_mul(page_size() as u64))
        };
        Ok([next()?, next()?])
    }
}

/// As the gauge of that process tells; `None` if it is gone, or there is no gauge.
pub(crate) fn resident_memory(pid: u32) -> Option<u64> {
    MemoryGauge::of_process(pid).and_then(|gauge| gauge.resident()).ok()
}

/// Limits this process; a stricter limit stays. The second number is for ever.
pub(crate) fn limit_resource(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let before = getrlimit(resource);
    let stricter = |limit: Option<u64>, other: u64| limit.map_or(other, |limit| limit.min(other));
    let maximum = stricter(before.maximum, hard);
    let current = stricter(before.current, soft).min(maximum);
    Ok(setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?)
}

/// Whether the system had not enough of something at this moment: descriptors, processes, memory. A
/// program that somebody is just writing counts as well.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [Errno; 5] =
        [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::TXTBSY];
    error
        .raw_os_error()
        .is_some_and(|code| SHORTAGES.iter().any(|known| known.raw_os_error() == code))
}

/// Whether there may be too little room for what others share with this process.
pub(crate) fn is_address_space_limited() -> bool {
    getrlimit(Resource::As).current.is_some()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_in_use_is_seen() {
        let block = vec![1_u8; 64 << 20];
        let resident = resident_memory(std::process::id()).unwrap();
        assert!(resident >= block.len() as u64, "{resident}");
    }

    #[test]
    fn shared_memory_is_left_out() {
        let mut segment = crate::sys::memory::Segment::create(64 << 20).unwrap();
        segment.as_mut_slice().fill(1);
        let gauge = MemoryGauge::of_this_process().unwrap();
        let (all, own) =
            (gauge.resident().unwrap(), gauge.resident_without(segment.len() as u64).unwrap());
        assert!(own + (32 << 20) < all, "{own} of {all}");
        assert!(gauge.resident_without(u64::MAX).unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_gone_has_no_memory() {
        assert_eq!(resident_memory(u32::MAX), None);
    }
}
