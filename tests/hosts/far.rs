//! Hosts with a real `sshd` on which this program is, and tasks that leave files behind, by which
//! one sees what runs there, whatever has become of the network and of the host.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use procpool::Host;
use rustix::time::{ClockId, clock_gettime};

use crate::common::{process_exited, wait_until};
use crate::container::Container;
use crate::sshd::Sshd;
use crate::tools::run;

/// Short, and yet far more than a busy machine needs to say that it is there.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// What makes this program an agent.
pub(crate) const ROLE: [&str; 5] =
    ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];

pub(crate) struct Far {
    sshd: Sshd,
    /// Its home directory. What is there can be read when the host is no more.
    home: File,
}

impl Far {
    /// `None` where that cannot be done, which has been said.
    #[track_caller]
    pub(crate) fn start_all<const N: usize>(names: [&str; N]) -> Option<[Self; N]> {
        Some(Sshd::start_all(names)?.map(|sshd| {
            let home = sshd.root().join("root");
            let test = std::env::current_exe().unwrap();
            run(Command::new("cp").args([&test, &home.join("program")]), "");
            Self { sshd, home: File::open(home).unwrap() }
        }))
    }

    /// As a pool has it.
    pub(crate) fn host(&self, workers: usize) -> Host {
        Host::command(self.words()).workers(workers).name(self.name())
    }

    /// One that is soon taken for lost.
    pub(crate) fn leased(&self, workers: usize) -> Host {
        self.host(workers).lease(LEASE)
    }

    pub(crate) fn words(&self) -> Vec<OsString> {
        let [ssh, words @ ..] = self.ssh();
        let options = ["-T", "./program"].map(OsString::from);
        let words = words.into_iter().map(OsString::from).chain(options);
        std::iter::once(ssh.into()).chain(words).chain(ROLE.map(OsString::from)).collect()
    }

    /// What tasks are told, who leave files in its home directory.
    pub(crate) fn place() -> PathBuf {
        "/root".into()
    }

    /// That directory as it is reached from here.
    pub(crate) fn seen(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.home.as_raw_fd()).into()
    }

    /// How many clients of this machine are connected, or try to be.
    pub(crate) fn clients(&self) -> Vec<u32> {
        let config = self.config().to_str().unwrap().to_owned();
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_client = |pid: &u32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.starts_with("ssh\0") && words.split('\0').any(|word| word == config)
        };
        pids.filter(is_client).collect()
    }
}

impl Deref for Far {
    type Target = Sshd;

    fn deref(&self) -> &Sshd {
        &self.sshd
    }
}

impl DerefMut for Far {
    fn deref_mut(&mut self) -> &mut Sshd {
        &mut self.sshd
    }
}

/// Waits until nothing that anybody has started runs on a host, and says when.
pub(crate) async fn nothing_runs(host: &Container) -> Instant {
    wait_until("nothing of the pool's runs there", || {
        host.processes().iter().all(|process| process_exited(process.pid))
    })
    .await;
    Instant::now()
}

// ----- tasks that leave files behind -----

/// The clock that all hosts of a test have in common, in nanoseconds.
fn clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The life of one attempt, which writes one line each two milliseconds.
fn live(place: &Path, name: &str, is_over: impl Fn() -> bool) -> u32 {
    let (attempt, pid) = (procpool::current().attempt(), std::process::id());
    let path = place.join(format!("{name}.{attempt}"));
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    let mut write = |what| file.write_all(format!("{what} {pid} {}\n", clock()).as_bytes());
    write("begins").unwrap();
    while !is_over() {
        std::thread::sleep(Duration::from_millis(2));
        write("lives").unwrap();
    }
    write("ends").unwrap();
    pid
}

/// Stays until there is a file `go`.
pub(crate) fn stay(place: PathBuf, name: String) -> u32 {
    live(&place, &name, || place.join("go").exists())
}

/// The first attempt takes so long, or until there is a file `go`, and the others no time.
pub(crate) fn take(place: PathBuf, name: String, first: Duration) -> u32 {
    let began = Instant::now();
    let takes = if procpool::current().attempt() == 1 { first } else { Duration::ZERO };
    live(&place, &name, || began.elapsed() >= takes || place.join("go").exists())
}

procpool::register!(stay, take);

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Of the worker, as its host calls it.
    pub(crate) pid: u32,
    /// So often it has begun, which must be once.
    pub(crate) begins: usize,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) has_ended: bool,
}

impl Trace {
    /// `None` if the attempt has not begun there.
    pub(crate) fn find(seen: &Path, name: &str, attempt: u32) -> Option<Self> {
        let text = fs::read_to_string(seen.join(format!("{name}.{attempt}"))).ok()?;
        let whole = text.rsplit_once('\n')?.0; // the last line may be half written
        let mut lines = whole.lines().map(|line| {
            let mut words = line.split(' ');
            let mut next = || words.next().unwrap();
            (next().to_owned(), next().parse::<u32>().unwrap(), next().parse::<u64>().unwrap())
        });
        let (_, pid, first) = lines.next()?;
        let mut trace = Self { pid, begins: 1, first, last: first, has_ended: false };
        for (what, _, time) in lines {
            trace.begins += usize::from(what == "begins");
            trace.has_ended |= what == "ends";
            trace.last = time;
        }
        Some(trace)
    }

    /// Waits until it has begun.
    pub(crate) async fn of(seen: &Path, name: &str, attempt: u32) -> Self {
        let mut found = None;
        wait_until(&format!("attempt {attempt} of {name} has begun"), || {
            found = Self::find(seen, name, attempt);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// Lets all go that stay there.
pub(crate) fn let_go(seen: &Path) {
    File::create(seen.join("go")).unwrap();
}
