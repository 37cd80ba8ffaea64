//! How much memory this process takes, and the most that it may.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Reads how much memory this process has in use; only on Linux.
#[derive(Debug)]
pub(crate) struct MemoryGauge(File);

impl MemoryGauge {
    pub(crate) fn new() -> io::Result<Self> {
        File::open("/proc/self/statm").map(Self)
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Ok(pages.ok_or(io::ErrorKind::InvalidData)? * page_size() as u64)
    }
}

/// Has this process's allocations fail beyond so many bytes; a stricter limit stays.
pub(crate) fn limit_memory(bytes: u64) -> io::Result<()> {
    let most = getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX).min(bytes);
    Ok(setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) })?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_sees_memory_that_is_in_use() {
        let block = vec![1_u8; 64 << 20];
        let resident = MemoryGauge::new().unwrap().resident().unwrap();
        assert!(resident >= block.len() as u64, "{resident}");
    }
}
