//! What the kernel has counted of processes.

use std::fs;
use std::io;
use std::ops::Sub;

/// The sum over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Calls of `read` and its kin; not those that receive from sockets.
    pub(crate) reads: u64,
    /// Calls of `write` and its kin; not those that send to sockets.
    pub(crate) writes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// How often a thread waited, which it can do no more than once for each time that it is woken.
    pub(crate) wake_ups: u64,
    /// How often a thread had to make room for another one.
    pub(crate) preemptions: u64,
    /// Pages that were mapped when they were touched.
    pub(crate) faults: u64,
    /// Nanoseconds on a CPU.
    pub(crate) cpu: u64,
    /// Nanoseconds in which a thread could have run, and had no CPU.
    pub(crate) delay: u64,
}

impl Usage {
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        pids.iter().try_fold(Self::default(), |sum, &pid| Ok(sum.plus(Self::of_process(pid)?)))
    }

    fn of_process(pid: u32) -> io::Result<Self> {
        let process = format!("/proc/{pid}");
        let io = fs::read_to_string(format!("{process}/io"))?;
        let mut usage = Self {
            reads: field(&io, "syscr:")?,
            writes: field(&io, "syscw:")?,
            bytes_read: field(&io, "rchar:")?,
            bytes_written: field(&io, "wchar:")?,
            faults: faults(&fs::read_to_string(format!("{process}/stat"))?)?,
            ..Self::default()
        };
        for thread in fs::read_dir(format!("{process}/task"))? {
            usage = usage.plus(Self::of_thread(&thread?.file_name().to_string_lossy(), pid)?);
        }
        Ok(usage)
    }

    /// What is counted for each thread. One that has just ended has taken nothing.
    pub(crate) fn of_thread(thread: &str, pid: u32) -> io::Result<Self> {
        let folder = format!("/proc/{pid}/task/{thread}");
        let Ok(status) = fs::read_to_string(format!("{folder}/status")) else {
            return Ok(Self::default());
        };
        let schedstat = fs::read_to_string(format!("{folder}/schedstat")).unwrap_or_default();
        let mut times = schedstat.split(' ').filter_map(|time| time.parse().ok());
        Ok(Self {
            wake_ups: field(&status, "voluntary_ctxt_switches:")?,
            preemptions: field(&status, "nonvoluntary_ctxt_switches:")?,
            cpu: times.next().unwrap_or(0),
            delay: times.next().unwrap_or(0),
            ..Self::default()
        })
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b)
    }

    fn combine(self, other: Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            reads: both(self.reads, other.reads),
            writes: both(self.writes, other.writes),
            bytes_read: both(self.bytes_read, other.bytes_read),
            bytes_written: both(self.bytes_written, other.bytes_written),
            wake_ups: both(self.wake_ups, other.wake_ups),
            preemptions: both(self.preemptions, other.preemptions),
            faults: both(self.faults, other.faults),
            cpu: both(self.cpu, other.cpu),
            delay: both(self.delay, other.delay),
        }
    }
}

/// Never below nothing: a thread may have ended meanwhile.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        self.combine(earlier, u64::saturating_sub)
    }
}

fn field(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).ok_or_else(|| missing(name))
}

/// The tenth field; the second one is a name in parentheses, which may have blanks.
fn faults(stat: &str) -> io::Result<u64> {
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split(' ').nth(7));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| missing("faults"))
}

fn missing(name: &str) -> io::Error {
    io::Error::other(format!("/proc has no `{name}`"))
}
