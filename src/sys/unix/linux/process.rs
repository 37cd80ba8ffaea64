//! What Linux tells of processes: by descriptors that stand for them, and by `/proc`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, dumpable_behavior, pidfd_open, pidfd_send_signal,
};

use super::super::descriptor::Descriptor;
use super::calls::page_size;
use super::pidfd::parent_of_open;

/// Whether `/proc` calls processes as this process does. It does not if this is in a PID namespace
/// and has the `/proc` of another one.
pub(crate) fn names_own_processes() -> bool {
    static DOES: OnceLock<bool> = OnceLock::new();
    *DOES.get_or_init(|| {
        let own = fs::read_link("/proc/self").ok();
        own.is_some_and(|own| own.to_str() == Some(&std::process::id().to_string()))
    })
}

/// Has this process called so by `ps` and `top`, which know 15 bytes: of a longer name what comes
/// before the last hyphen is cut, as a number follows it.
pub(crate) fn name_own_process(name: &str) {
    const MOST: usize = 15;
    let (front, number) = name.split_at(name.rfind('-').unwrap_or(name.len()));
    let front = &front[..front.floor_char_boundary(MOST.saturating_sub(number.len()))];
    let _ = fs::write("/proc/self/comm", format!("{front}{number}")); // it is for people only
}

/// Whether other processes of the same user may open what this one has open, by its pid. They may
/// not if this has a capability of its file, or has changed its user since it was started.
pub(crate) fn is_accessible() -> bool {
    let is_dumpable = dumpable_behavior().is_ok_and(|is| is == DumpableBehavior::Dumpable);
    is_dumpable && names_own_processes()
}

/// What `/proc` calls this thread, whatever the system calls it here.
pub(super) fn own_thread() -> io::Result<(String, String)> {
    let link = fs::read_link("/proc/thread-self")?;
    let mut names = link.to_str().unwrap_or_default().split("/task/").map(str::to_owned);
    let both = names.next().zip(names.next());
    both.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A descriptor that is readable once a process, which is alive, has ended.
pub(crate) fn open_process(pid: u32) -> io::Result<Descriptor> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// As [`open_process`], of a child of that parent, which has not reaped it.
pub(crate) fn open_child(pid: u32, parent: u32) -> io::Result<Descriptor> {
    let process = open_process(pid)?;
    // Looked at only now that the pid belongs to the descriptor: nobody else is to be signalled,
    // whatever the other one says, and whoever has that pid if it has died.
    let found = if names_own_processes() { parent_of(pid)? } else { parent_of_open(&process)? };
    if found != Some(parent) {
        return Err(io::Error::other("it is no child of the fork server"));
    }
    Ok(process)
}

/// The parent of any process, by `/proc`.
fn parent_of(pid: u32) -> io::Result<Option<u32>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name, in brackets, may contain anything.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    Ok(fields.and_then(|mut fields| fields.nth(1)?.parse().ok()))
}

/// How many threads this process has. Those that were joined may be counted for a moment.
///
/// Not by looking into `/proc/self/task`: what was seen there is forgotten when the process ends,
/// and that takes milliseconds.
pub(crate) fn count_threads() -> io::Result<usize> {
    const PLACE: usize = 17; // behind its name
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let count = fields.and_then(|mut fields| fields.nth(PLACE)?.parse().ok());
    count.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// To a process that was [opened](open_process), and to nobody else.
pub(crate) fn signal_process(process: &Descriptor, signal: Signal) -> io::Result<()> {
    Ok(pidfd_send_signal(process, signal)?)
}

/// Whether its pid is still that of a process that was [opened](open_process), be it as a zombie.
/// No signal is sent for that, as who may not send any has to know it most.
pub(crate) fn is_unreaped(process: &Descriptor) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()));
    info.is_ok_and(|info| pid_in_info(&info).is_some_and(|pid| pid >= 0))
}

/// It is -1 once the process is reaped.
fn pid_in_info(info: &str) -> Option<i32> {
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Whether a process can tell how much memory it takes, and have its CPU time told.
pub(crate) const MEASURES_ITSELF: bool = true;

/// Reads how much memory a process has in use.
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
        self.read().map(|statm| statm.resident)
    }

    /// As [`Self::resident`], without what is shared of memory that other processes answer for, of
    /// which there is so much at most.
    pub(crate) fn resident_without(&self, shared: u64) -> io::Result<u64> {
        let Statm { resident, shareable, .. } = self.read()?;
        Ok(resident - shared.min(shareable).min(resident))
    }

    /// The bytes of its addresses, and of those that are private and writable. They need not be in
    /// RAM. The main stack is among the latter, though the system's limit does not count it.
    pub(crate) fn mapped(&self) -> io::Result<(u64, u64)> {
        self.read().map(|statm| (statm.addresses, statm.data))
    }

    fn read(&self) -> io::Result<Statm> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0)?;
        let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
        let mut pages = text.trim_end().split(' ').map(|pages| pages.parse::<u64>().ok());
        let mut next = || {
            let pages = pages.next().flatten().ok_or(io::ErrorKind::InvalidData)?;
            Ok::<u64, io::Error>(pages.saturating_mul(page_size() as u64))
        };
        let [addresses, resident, shareable, _program, _, data] =
            [next()?, next()?, next()?, next()?, next()?, next()?];
        Ok(Statm { addresses, resident, shareable, data })
    }
}

/// What `/proc/…/statm` tells, in bytes.
struct Statm {
    addresses: u64,
    /// What is in RAM.
    resident: u64,
    /// What of that is shared or comes from files.
    shareable: u64,
    /// What is private and writable.
    data: u64,
}

/// As the gauge of that process tells; `None` if it is gone, or there is no gauge.
pub(crate) fn resident_memory(pid: u32) -> Option<u64> {
    let gauge = names_own_processes().then(|| MemoryGauge::of_process(pid));
    gauge?.and_then(|gauge| gauge.resident()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted() {
        let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(std::thread::park)).collect();
        assert!(count_threads().unwrap() >= 3);
        for thread in threads {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }

    #[test]
    fn memory_that_is_in_use_is_seen() {
        let block = vec![1_u8; 64 << 20];
        let resident = resident_memory(std::process::id()).unwrap();
        assert!(resident >= block.len() as u64, "{resident}");
    }

    #[test]
    fn addresses_are_counted_whether_they_are_in_use_or_not() {
        let gauge = MemoryGauge::of_this_process().unwrap();
        let (addresses, data) = gauge.mapped().unwrap();
        let block = std::hint::black_box(Vec::<u8>::with_capacity(1 << 30));
        let (more_addresses, more_data) = gauge.mapped().unwrap();
        let least = 1 << 29; // other tests free memory meanwhile
        assert!(more_addresses - addresses > least && more_data - data > least);
        drop(block);
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
    fn a_process_has_its_pid_until_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = open_process(child.id()).unwrap();
        while !super::super::super::descriptor::is_readable(&process) {
            std::thread::yield_now();
        }
        assert!(is_unreaped(&process), "a zombie has it, too");
        child.wait().unwrap();
        assert!(!is_unreaped(&process));
    }

    #[test]
    fn a_process_that_is_gone_has_no_memory() {
        assert_eq!(resident_memory(u32::MAX), None);
    }
}
