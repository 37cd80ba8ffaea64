//! How much memory a worker may have.

use std::io;

use crate::sys::resources::MemoryGauge;

/// How much memory this worker may leave in use when a task is over.
pub(super) struct MemoryLimit {
    gauge: MemoryGauge,
    most: u64,
}

impl MemoryLimit {
    /// What a forked worker has in use already is shared with the server and its siblings, and no
    /// other worker would have less.
    pub(super) fn new(most: u64, is_forked: bool) -> io::Result<Self> {
        let gauge = MemoryGauge::of_this_process()?;
        let inherited = if is_forked { gauge.resident()? } else { 0 };
        Ok(Self { gauge, most: most.saturating_add(inherited) })
    }

    /// So much is shared, and no concern of this worker's.
    pub(super) fn is_exceeded(&self, shared: u64) -> bool {
        self.gauge.resident_without(shared).is_ok_and(|resident| resident > self.most)
    }
}
