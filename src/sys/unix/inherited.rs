//! Descriptors that a process has inherited from the one that has started it.

use std::os::fd::RawFd;

use rustix::process::{Resource, getrlimit};

/// Closes what came to this process by its start, but for the standard streams and what it is to
/// have.
///
/// To be called before any code of the user's. What std and this crate open is closed at an `exec`,
/// and so is told from what was inherited.
pub(crate) fn close_inherited(wanted: &[RawFd]) {
    const STANDARD: [RawFd; 3] = [0, 1, 2];
    let is_wanted = |fd: &RawFd| STANDARD.contains(fd) || wanted.contains(fd);
    let unwanted =
        open_descriptors().into_iter().filter(|fd| !is_wanted(fd) && is_inheritable(*fd));
    for fd in unwanted {
        // SAFETY: nobody in this process owns it: its number came from another program, which has
        // told nobody here of it, and no code of the user's has run that could have looked for it.
        #[expect(unsafe_code, reason = "closes a descriptor that has no owner")]
        let _ = unsafe { libc::close(fd) };
    }
}

/// Those of which there may be one, if the system does not tell.
fn open_descriptors() -> Vec<RawFd> {
    const MOST: u64 = 4096;
    let all = || {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
        0..RawFd::try_from(most).unwrap_or_default()
    };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return all().collect() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether it is open, and would be in what this process starts.
fn is_inheritable(fd: RawFd) -> bool {
    // SAFETY: this command takes no argument, touches no memory, and fails if there is no such
    // descriptor.
    #[expect(unsafe_code, reason = "looks at a descriptor that has no owner")]
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_std_has_opened_was_not_inherited() {
        let file = File::open("/dev/null").unwrap();
        assert!(!is_inheritable(file.as_raw_fd()) && !is_inheritable(-1));
        let copy = rustix::io::dup(&file).unwrap();
        assert!(is_inheritable(copy.as_raw_fd()));
        assert!(open_descriptors().contains(&copy.as_raw_fd()));
    }
}
