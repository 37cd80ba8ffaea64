//! The most that processes may take of memory and other resources.

use std::io;
use std::mem::MaybeUninit;

use rustix::io::Errno;
pub(crate) use rustix::process::Resource;
use rustix::process::{Rlimit, setrlimit};

/// The limit of this process that counts at this moment. `None` if there is none, or if it may not
/// ask.
pub(super) fn soft_limit(resource: Resource) -> Option<u64> {
    own_limit(resource).ok()?.current
}

/// A filter of system calls may refuse to tell, which rustix takes for impossible.
fn own_limit(resource: Resource) -> io::Result<Rlimit> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: it only writes to a place of our own, which is numbers, for which zero is a value.
    #[expect(unsafe_code, reason = "asks in a way that may fail")]
    let (result, limit) =
        unsafe { (libc::getrlimit(resource as _, limit.as_mut_ptr()), limit.assume_init()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let finite = |limit| (limit != libc::RLIM_INFINITY).then_some(limit);
    Ok(Rlimit { current: finite(limit.rlim_cur), maximum: finite(limit.rlim_max) })
}

/// Limits this process; a stricter limit stays. The second number is for ever.
pub(crate) fn limit_resource(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let before = own_limit(resource)?;
    let stricter = |limit: Option<u64>, other: u64| limit.map_or(other, |limit| limit.min(other));
    let maximum = stricter(before.maximum, hard);
    let current = stricter(before.current, soft).min(maximum);
    Ok(setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?)
}

/// A limit of this process that is stricter for a while: what it was before is back when this is
/// dropped.
#[derive(Debug)]
#[must_use = "the limit holds until this is dropped"]
pub(crate) struct LoweredLimit {
    resource: Resource,
    before: Option<u64>,
}

impl LoweredLimit {
    /// `None` if it is as strict already.
    pub(crate) fn lower(resource: Resource, most: u64) -> io::Result<Option<Self>> {
        let limit = own_limit(resource)?;
        if limit.current.is_some_and(|current| current <= most) {
            return Ok(None);
        }
        setrlimit(resource, Rlimit { current: Some(most), maximum: limit.maximum })?;
        Ok(Some(Self { resource, before: limit.current }))
    }
}

impl Drop for LoweredLimit {
    fn drop(&mut self) {
        // It can be higher than it was only if what ran meanwhile has not given that up for good.
        let Ok(Rlimit { maximum, .. }) = own_limit(self.resource) else { return };
        let current = maximum
            .map_or(self.before, |most| Some(self.before.map_or(most, |before| before.min(most))));
        let _ = setrlimit(self.resource, Rlimit { current, maximum });
    }
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

/// With more words, if they are needed: what is short now is waited for, and known by its number.
pub(crate) fn described(error: &io::Error, text: String) -> io::Error {
    match error.raw_os_error() {
        Some(code) if is_shortage(error) => io::Error::from_raw_os_error(code),
        _ => io::Error::new(error.kind(), text),
    }
}

/// Whether the system does not let one process have what is another's.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [Errno; 3] = [Errno::ACCESS, Errno::NOENT, Errno::PERM];
    Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno))
}

/// Whether there may be too little room for what others share with this process.
pub(crate) fn is_address_space_limited() -> bool {
    soft_limit(Resource::As).is_some()
}

#[cfg(all(test, target_os = "linux"))] // `UNUSED` is a limit of Linux only
mod tests {
    use super::*;

    fn set(resource: Resource, current: Option<u64>, maximum: Option<u64>) {
        setrlimit(resource, Rlimit { current, maximum }).unwrap();
    }

    /// One that nothing in this process depends on.
    const UNUSED: Resource = Resource::Msgqueue;

    #[test]
    fn a_lowered_limit_comes_back_as_far_as_it_may() {
        let limits = || {
            let Rlimit { current, maximum } = own_limit(UNUSED).unwrap();
            (current, maximum)
        };
        set(UNUSED, Some(1000), Some(2000));
        assert!(LoweredLimit::lower(UNUSED, 1000).unwrap().is_none(), "it is as strict");
        let lowered = LoweredLimit::lower(UNUSED, 10).unwrap();
        assert_eq!(limits(), (Some(10), Some(2000)));
        drop(lowered);
        assert_eq!(limits(), (Some(1000), Some(2000)));
        let lowered = LoweredLimit::lower(UNUSED, 10).unwrap();
        set(UNUSED, Some(5), Some(500));
        drop(lowered);
        assert_eq!(limits(), (Some(500), Some(500)), "the rest was given up for good");
    }
}
