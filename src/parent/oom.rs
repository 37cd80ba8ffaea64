//! Whether the kernel has killed a worker for want of memory, as far as that can be known: it
//! counts those that it kills for that in a control group, and does not say which they are.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::descriptor::room_for;
use crate::sys::resources::MemoryCgroup;

/// Up to which of the kernel's kills each has its worker, whichever pool that was in: none is told
/// of two.
static EXPLAINED: AtomicU64 = AtomicU64::new(0);

/// Looks at the count from the start of a worker on.
pub(super) struct OomWatch {
    group: Option<&'static MemoryCgroup>,
    at_start: Option<u64>,
}

impl OomWatch {
    pub(super) fn new(group: Option<&'static MemoryCgroup>) -> Self {
        // To look takes a descriptor. Where there is none for a start, none is taken for this.
        let group = group.filter(|_| room_for(1).is_ok());
        let at_start = group.and_then(MemoryCgroup::oom_kills);
        Self { group, at_start }
    }

    /// Whether a worker that was killed by somebody else than its pool may be one of those. `None`
    /// if nobody counts.
    pub(super) fn explains_kill(&self) -> Option<bool> {
        let (before, now) = (self.at_start?, self.group?.oom_kills()?);
        Some(explains(&EXPLAINED, before, now))
    }
}

fn explains(explained: &AtomicU64, before: u64, now: u64) -> bool {
    let next = |explained: u64| {
        let last = explained.max(before);
        (now > last).then_some(last + 1)
    };
    explained.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_explains_one_death() {
        let explained = AtomicU64::new(0);
        assert!(!explains(&explained, 3, 3), "they were before it was started");
        assert!(explains(&explained, 3, 5));
        assert!(explains(&explained, 2, 5));
        assert!(!explains(&explained, 1, 5));
        assert!(!explains(&explained, 5, 5));
        assert!(explains(&explained, 5, 6));
    }
}
