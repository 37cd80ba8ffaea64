//! What `/proc` tells of this process: its threads, what it has open, and which libraries.

use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{fs, io};

use super::super::descriptor::{RawDescriptor, is_open};
use super::super::survey::{HeldOpen, OtherThread};
use super::process::own_thread;

/// The other threads of this process. It may be called otherwise in the `/proc` that it has.
pub(crate) fn other_threads() -> io::Result<Vec<OtherThread>> {
    let (first, this) = own_thread()?;
    let mut threads = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        let tid = task.file_name();
        if tid.to_str() == Some(&this) {
            continue;
        }
        // One that has just ended counts as well: it is looked at again.
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let (begin, rest) = stat.rsplit_once(") ").unwrap_or_default();
        threads.push(OtherThread {
            name: begin.split_once('(').map_or("", |(_, name)| name).to_owned(),
            is_asleep: rest.starts_with('S'),
            is_first: tid.to_str() == Some(&first),
        });
    }
    Ok(threads)
}

/// What threads are called that this one starts and gives no name.
pub(crate) fn inherited_thread_name() -> Option<String> {
    let name = fs::read_to_string("/proc/thread-self/comm").ok()?;
    Some(name.trim_end_matches('\n').to_owned())
}

/// Whether a library is loaded whose file has this in its name.
pub(crate) fn has_loaded(part: &str) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut files = maps.lines().filter_map(|line| Path::new(line).file_name()?.to_str());
    files.any(|name| name.contains(".so") && name.contains(part))
}

/// What is open and would be shared by copies of this process, but for connections and locks of
/// descriptors that are known.
///
/// To be called where no other thread closes anything.
pub(crate) fn held(known: &[RawDescriptor]) -> io::Result<Vec<HeldOpen>> {
    let mut held = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let fd = entry.file_name().to_str().and_then(|number| number.parse().ok());
        let Some(fd) = fd else { continue };
        held.extend(match &*target {
            "anon_inode:[eventpoll]" => Some(HeldOpen::EventPoll(fd)),
            _ if known.contains(&fd) => None,
            socket if socket.starts_with("socket:") => connection(fd),
            // A lock of memory says who looks at it, and is meant to be shared.
            memory if memory.starts_with("/memfd:") => None,
            path if path.starts_with('/') => lock(fd, path),
            _ => None,
        });
    }
    held.sort_unstable_by_key(HeldOpen::descriptor);
    Ok(held)
}

/// Who only sends, as to a system's log, has no connection that could be mixed up.
fn connection(fd: RawDescriptor) -> Option<HeldOpen> {
    if !is_open(fd) {
        return None;
    }
    // SAFETY: it is open, and nobody closes it meanwhile, as the caller sees to.
    #[expect(unsafe_code, reason = "looks at a descriptor whose owner is not known")]
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    is_connected_stream(socket).then(|| HeldOpen::Connection(fd, peer_of(socket)))
}

fn is_connected_stream(socket: BorrowedFd<'_>) -> bool {
    const fn size<T>() -> libc::socklen_t {
        #[expect(clippy::cast_possible_truncation, reason = "they are small")]
        let size = size_of::<T>() as libc::socklen_t;
        size
    }
    let (fd, mut kind, mut length) = (socket.as_raw_fd(), 0, size::<libc::c_int>());
    let mut peer = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut room = size::<libc::sockaddr_storage>();
    // SAFETY: each call writes no more to a place of our own than is said to be there.
    #[expect(unsafe_code, reason = "std asks this only of sockets of a known kind")]
    let told = unsafe {
        let kind = (&raw mut kind).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, kind, &raw mut length) == 0
            && libc::getpeername(fd, peer.as_mut_ptr().cast(), &raw mut room) == 0
    };
    told && matches!(kind, libc::SOCK_STREAM | libc::SOCK_SEQPACKET)
}

/// If it has a name.
fn peer_of(socket: BorrowedFd<'_>) -> Option<String> {
    let copy = || socket.try_clone_to_owned().ok();
    if let Ok(address) = TcpStream::from(copy()?).peer_addr() {
        return Some(address.to_string());
    }
    let address = UnixStream::from(copy()?).peer_addr().ok()?;
    address.as_pathname().map(|path| format!("`{}`", path.display()))
}

fn lock(fd: RawDescriptor, path: &str) -> Option<HeldOpen> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let is_locked = info.lines().any(|line| line.starts_with("lock:"));
    is_locked.then(|| HeldOpen::Lock(fd, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// What is held by these, of all that the other tests of this process hold.
    fn held_by(descriptors: &[&dyn AsRawFd]) -> Vec<HeldOpen> {
        let own: Vec<_> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
        let mut held = held(&[]).unwrap();
        held.retain(|held| own.contains(&held.descriptor()));
        held
    }

    #[test]
    fn connections_are_seen_and_what_only_listens_or_sends_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (end, _other_end) = UnixStream::pair().unwrap();
        let (datagram, _other_datagram) = UnixDatagram::pair().unwrap();
        let mut expected = [
            HeldOpen::Connection(client.as_raw_fd(), Some(address.to_string())),
            HeldOpen::Connection(end.as_raw_fd(), None),
        ];
        expected.sort_unstable_by_key(HeldOpen::descriptor);
        assert_eq!(held_by(&[&listener, &client, &end, &datagram]), expected);
        let known = [client.as_raw_fd()];
        assert!(held(&known).unwrap().iter().all(|held| !known.contains(&held.descriptor())));
    }

    #[test]
    fn a_poll_descriptor_is_seen_also_if_it_is_known() {
        let flags = rustix::event::epoll::CreateFlags::CLOEXEC;
        let poll = rustix::event::epoll::create(flags).unwrap();
        let known = [poll.as_raw_fd()];
        assert!(held(&known).unwrap().contains(&HeldOpen::EventPoll(poll.as_raw_fd())));
    }

    #[test]
    fn locks_are_seen() {
        let path = std::env::temp_dir().join(format!("procpool-lock-{}", std::process::id()));
        let (free, locked) = (File::create(&path).unwrap(), File::create(&path).unwrap());
        locked.lock().unwrap();
        let seen = held_by(&[&free, &locked]);
        fs::remove_file(&path).unwrap();
        assert_eq!(seen, [HeldOpen::Lock(locked.as_raw_fd(), path.to_str().unwrap().to_owned())]);
    }

    #[test]
    fn libraries_are_told_by_their_files() {
        assert!(has_loaded("libc") && !has_loaded("libnowhere"));
    }

    #[test]
    fn threads_have_names() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let builder = std::thread::Builder::new().name("rocks (db):low".to_owned());
        let thread = builder.spawn(move || receiver.recv()).unwrap();
        let is_there = || {
            let threads = other_threads().unwrap();
            threads.iter().any(|thread| thread.name == "rocks (db):low" && !thread.is_first)
        };
        while !is_there() {
            std::thread::yield_now(); // it gives itself its name
        }
        drop(sender);
        let _ = thread.join();
    }
}
