//! Forking a process that has one thread.

use std::io::{self, Write};
use std::ops::Range;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, setpgid, waitpid,
};

/// A process that was forked, as seen from the two sides.
#[derive(Debug)]
pub(crate) enum Fork {
    /// With the child's pid.
    Parent {
        child: u32,
    },
    Child,
}

/// Proof that no other thread of this process is in the middle of anything: a fork copies only the
/// thread that calls it, and a lock that another one holds would stay locked in the copy for ever.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Waits until there are no more than `most` threads, all of which are asleep but for this one.
    /// Threads that have been joined may still be seen for a moment. Returns their number if that
    /// does not happen.
    pub(crate) fn prove(most: usize) -> io::Result<Result<Self, usize>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let began = Instant::now();
        loop {
            let others = other_threads()?;
            let quiet = others.iter().all(|state| *state == 'S');
            match others.len() + 1 {
                count if count <= most && quiet => return Ok(Ok(Self(()))),
                count if began.elapsed() > PATIENCE => return Ok(Err(count)),
                _ => thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// Forks this process. The child leads a process group of its own.
    #[expect(clippy::unused_self, reason = "a proof is what it asks for")]
    pub(crate) fn fork(&self) -> io::Result<Fork> {
        // SAFETY: a copy of a process with one thread may do whatever the original may. Other
        // threads there are only those that `prove` was told of, which are asleep outside of any
        // lock.
        #[expect(unsafe_code, reason = "forks")]
        let pid = unsafe { libc::fork() };
        match pid {
            0 => {
                let _ = setpgid(None, None); // the parent sees to it as well
                Ok(Fork::Child)
            }
            ..0 => Err(io::Error::last_os_error()),
            pid => {
                let child = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?; // never 0 here
                // In both, as nobody knows which of the two runs first.
                let _ = setpgid(Some(child), Some(child));
                Ok(Fork::Parent { child: child.as_raw_pid().unsigned_abs() })
            }
        }
    }
}

/// The states of the other threads of this process.
fn other_threads() -> io::Result<Vec<char>> {
    let this = rustix::thread::gettid();
    let mut states = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_str() == Some(&this.to_string()) {
            continue;
        }
        // One that has just ended counts as well: it is looked at again.
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        states.push(state.unwrap_or('X'));
    }
    Ok(states)
}

/// Has children of this process wait to be reaped, also if who has started it does not care for its
/// own.
pub(crate) fn keep_exits() {
    // SAFETY: this sets the default, so no code of this process is called on the signal.
    #[expect(unsafe_code, reason = "rustix has nothing for handlers of signals")]
    let _ = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Whether this process has an epoll descriptor, by which a runtime waits for its events. Copies of
/// it in other processes would be one and the same.
pub(crate) fn has_event_poll() -> io::Result<bool> {
    for fd in fs::read_dir("/proc/self/fd")? {
        let target = fs::read_link(fd?.path()).unwrap_or_default();
        if target.to_string_lossy() == "anon_inode:[eventpoll]" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes what was printed and waits in buffers, so that no copy of this process writes it again.
pub(crate) fn flush_output() {
    let _ = io::stdout().flush();
    // SAFETY: without an argument it flushes all open streams, under their own locks.
    #[expect(unsafe_code, reason = "calls C")]
    let _ = unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Has the system put large blocks of this process's private memory into huge pages, where it can.
/// A fork copies the table of pages, which takes longer than everything else if there are many: ten
/// milliseconds for half a gigabyte of small pages, and less than one for huge ones.
pub(crate) fn use_huge_pages() {
    for block in
        fs::read_to_string("/proc/self/smaps").as_deref().map(dense_blocks).unwrap_or_default()
    {
        let address = std::ptr::without_provenance_mut(block.start);
        // SAFETY: this changes how the memory is laid out, and not what is in it. Should it not be
        // there any more, the call fails. Linux before 6.1 does not know it, and refuses.
        #[expect(unsafe_code, reason = "advises on memory that Rust knows nothing of")]
        let _ = unsafe { libc::madvise(address, block.len(), libc::MADV_COLLAPSE) };
    }
}

/// The private and anonymous mappings that are large and in use. Huge pages fill the gaps, so of
/// what is in use here and there only it might become many times as much.
fn dense_blocks(smaps: &str) -> Vec<Range<usize>> {
    const HUGE: usize = 2 << 20;
    let (mut blocks, mut candidate, mut size) = (Vec::new(), None, 0);
    for line in smaps.lines() {
        let Some((key, value)) = line.split_once(':').filter(|(key, _)| !key.contains(' ')) else {
            candidate = private_block(line);
            continue;
        };
        let kilobytes = value.trim().trim_end_matches(" kB").parse().unwrap_or(0_usize);
        match key {
            "Size" => size = kilobytes,
            "Rss" if kilobytes >= size / 8 * 7 => blocks.extend(candidate.take()),
            _ => {}
        }
    }
    let whole_pages =
        |block: Range<usize>| block.start.next_multiple_of(HUGE)..block.end / HUGE * HUGE;
    blocks.into_iter().map(whole_pages).filter(|block| !block.is_empty()).collect()
}

/// Reads the line that begins a mapping: range, permissions, offset, device, inode, and perhaps a
/// name.
fn private_block(line: &str) -> Option<Range<usize>> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (start, end) = fields.first()?.split_once('-')?;
    let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).ok());
    let is_memory = fields.get(1) == Some(&"rw-p") && fields.get(4) == Some(&"0");
    let is_stack = fields.get(5) == Some(&"[stack]");
    (is_memory && !is_stack).then_some(start?..end?)
}

/// Ends this process, which was forked, without what the one that has forked it has registered to
/// be done at its exit.
pub(crate) fn exit_forked() -> ! {
    flush_output();
    // SAFETY: it does not return, and runs nothing of this process's.
    #[expect(unsafe_code, reason = "calls C")]
    unsafe {
        libc::_exit(0)
    }
}

/// Ends a child that was forked and not reaped, and its group, even if the two have parted.
pub(crate) fn kill_group(child: u32) {
    if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Reaps a child that has exited, and returns how, in the form of `wait`.
pub(crate) fn reap_child(pid: u32) -> io::Result<i32> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|pid| *pid != getpid());
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.as_raw()),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_are_seen() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || receiver.recv());
        assert!(SingleThreaded::prove(1).unwrap().is_err());
        drop(sender);
        let _ = thread.join();
    }

    #[test]
    fn only_dense_private_memory_goes_into_huge_pages() {
        let block = |header: &str, rss: u32| {
            format!("{header}\nSize: 8192 kB\nKernelPageSize: 4 kB\nRss: {rss} kB\nPss: 8192 kB\n")
        };
        let smaps = [
            block("7f0000001000-7f0000801000 rw-p 00000000 00:00 0", 8192),
            block("7f0001000000-7f0001800000 rw-p 00000000 00:00 0 [heap]", 7200),
            block("7f0002000000-7f0002800000 rw-p 00000000 00:00 0", 4096),
            block("7f0003000000-7f0003800000 r--p 00000000 00:00 0", 8192),
            block("7f0004000000-7f0004800000 rw-s 00000000 00:01 7 /memfd:x (deleted)", 8192),
            block("7f0005000000-7f0005800000 rw-p 00000000 00:00 0 [stack]", 8192),
            "7f0006000000-7f0006001000 rw-p 00000000 00:00 0\nSize: 4 kB\nRss: 4 kB\n".to_owned(),
        ];
        let blocks = dense_blocks(&smaps.concat());
        assert_eq!(
            blocks,
            [0x7f00_0020_0000..0x7f00_0080_0000, 0x7f00_0100_0000..0x7f00_0180_0000]
        );
    }

    #[test]
    fn memory_keeps_what_is_in_it() {
        let table: Vec<u64> = (0..1 << 20).collect();
        use_huge_pages();
        assert!(table.iter().copied().eq(0..1 << 20));
    }

    #[test]
    fn a_poll_descriptor_is_seen() {
        let poll =
            rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        assert!(has_event_poll().unwrap());
        drop(poll);
    }
}
