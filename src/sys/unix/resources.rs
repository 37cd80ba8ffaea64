//! The most that processes may take of memory and other resources.

use std::io;
use std::mem::MaybeUninit;

use rustix::io::Errno;
pub(crate) use rustix::process::Resource;
use rustix::process::{Rlimit, getrlimit, setrlimit};

/// The soft limit of this process. `None` if there is none, or if it may not ask: a filter of
/// system calls may refuse that, which rustix takes for impossible.
pub(super) fn soft_limit(resource: Resource) -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: it only writes to a place of our own, which is numbers, for which zero is a value.
    #[expect(unsafe_code, reason = "asks in a way that may fail")]
    let (result, limit) =
        unsafe { (libc::getrlimit(resource as _, limit.as_mut_ptr()), limit.assume_init()) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
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
    soft_limit(Resource::As).is_some()
}
