//! Groups and sessions of processes, for those that may not see them.

pub(super) use std::process::id as own_pid;

/// The id of a process's group. `None` if there is no such process, or none that this one can see:
/// it may be outside of its namespace, for which rustix has no value.
pub(super) fn group_of(pid: u32) -> Option<u32> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?; // zero would be this one
    // SAFETY: it takes and returns a number, and touches no memory.
    #[expect(unsafe_code, reason = "rustix takes it for granted that it can be seen")]
    let group = unsafe { libc::getpgid(pid) };
    u32::try_from(group).ok().filter(|group| *group > 0)
}

/// The id of this process's session, as far as it can be seen.
pub(super) fn own_session() -> Option<u32> {
    // SAFETY: it takes and returns a number, and touches no memory.
    #[expect(unsafe_code, reason = "rustix takes it for granted that it can be seen")]
    let session = unsafe { libc::getsid(0) };
    u32::try_from(session).ok().filter(|session| *session > 0)
}
