//! The program that child processes run, and how one is started without being left behind.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::base::timer::within;
use crate::base::{OomScore, ResourceLimits};
use crate::function::{Registry, TestWorker};
use crate::parent::cgroup::Cgroup;
use crate::parent::surroundings::Surroundings;
/// What a child may have of this process.
pub(crate) use crate::sys::descriptor::Descriptor;
use crate::sys::descriptor::pass_on;
use crate::sys::process::own_command;
use crate::sys::resources::{OwnCgroup, described};
use crate::sys::thread::start_thread;
use crate::wire::role::{Flag, Role};

/// A program with its circumstances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Program and arguments; `None` for this process's own program.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) env: Environment,
    pub(crate) current_dir: Option<PathBuf>,
    /// What it finds but for these two. `None`: what there is when it is started.
    pub(super) surroundings: Option<Arc<Surroundings>>,
    /// What it has of this process's descriptors. They are kept open as long as it may be started.
    pub(crate) pass_fds: Vec<Arc<Descriptor>>,
    /// What it may take; it sees to that itself.
    pub(crate) limits: ResourceLimits,
    /// Each process that is started has such a one for itself.
    pub(crate) cgroup: Option<Cgroup>,
    /// By which it is taken before this process when memory is short; it sees to that, too.
    pub(crate) oom_score: OomScore,
}

/// What all builders let their users limit of a program, which is this field of theirs.
macro_rules! program_limits {
    ($($program:ident).+) => {
        /// Limits what each process that is started may take of the machine: memory, CPU time, the
        /// size of files, descriptors. Default: no limits but those that this process has. A later
        /// value for a limit replaces an earlier one, and `None` takes all of them back.
        pub fn limits(mut self, limits: impl Into<Option<$crate::ResourceLimits>>) -> Self {
            let earlier = self.$($program).+.limits;
            self.$($program).+.limits =
                limits.into().map_or_else(Default::default, |limits| limits.or(earlier));
            self
        }

        /// Which process Linux kills first when the memory of the machine, of a container or of a
        /// systemd unit is used up. Each process that is started sets its `oom_score_adj` to this
        /// number before it runs anything of yours, unless it has inherited a higher one. `None`
        /// leaves the number as inherited.
        ///
        /// Default: 1000, the highest. Then the kernel kills workers before this process, however
        /// much memory this process has. So a leak costs a task and not the service. Of several
        /// processes with the same number the kernel takes the largest, most likely the one that
        /// leaks. What a task starts inherits the number.
        ///
        /// The number counts on the whole machine. So workers are killed before other programs,
        /// too, whoever has used up the memory. (Chromium gives its dispensable processes 300 to
        /// 1000.) With a lower number this process may be killed first, if it has much more memory
        /// than any worker: each thousandth of the machine's memory, or of the limit, counts as
        /// one.
        ///
        /// Raising the number needs no privilege. Lowering does, so it is never lowered. If the
        /// process may not write to its own `/proc`, the number stays as it was.
        ///
        /// ```
        /// # fn score() -> String { std::fs::read_to_string("/proc/self/oom_score_adj").unwrap() }
        /// # procpool::register!(score);
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// #     procpool::init();
        /// #     tokio::runtime::Runtime::new()?.block_on(run())
        /// # }
        /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
        /// # if score().trim() != "0" || !cfg!(target_os = "linux") { return Ok(()) }
        /// let pool = procpool::ProcessPoolExecutor::builder().oom_score_adj(500).build()?;
        /// assert_eq!(pool.run(score, ()).await?.trim(), "500");
        /// let process = procpool::Process::builder(score, ()).spawn();
        /// assert_eq!(process.await?.trim(), "1000");
        /// # Ok(())
        /// # }
        /// ```
        pub fn oom_score_adj(mut self, score: impl Into<Option<i16>>) -> Self {
            self.$($program).+.oom_score = $crate::base::OomScore::new(score.into());
            self
        }

        /// A control group (cgroup) of its own for each process that is started. Its limits hold
        /// for the process and all that it starts, together; see [`Cgroup`](crate::Cgroup).
        /// Default: `None`, the group of this process. The process enters the group before it runs
        /// any task, initializer or hook. When it ends, whatever is left in the group is killed,
        /// even in a session of its own, and the group is removed.
        ///
        /// It needs Linux with cgroups v2, and a group that is delegated to this process. Under
        /// systemd that is its own group, or the nearest one above, that has `Delegate=yes`. In a
        /// container that may write to `/sys/fs/cgroup` it is the topmost group. The kernel allows
        /// no limits below a group that has processes. So processes in the delegated group, this
        /// one among them, are first moved to a group `service` in it. The new groups are called
        /// `procpool-PID-NUMBER`.
        ///
        /// If no group is delegated, or not the controller of a limit, nothing is started. That
        /// breaks a pool, and the error says what is missing.
        /// [Deploying](crate::guide::deploying#a-cgroup-for-each-worker) shows units of systemd.
        ///
        /// A fork server has no group of its own; its workers have. A
        /// [`worker_command`](crate::Builder::worker_command) has to be in its group before it
        /// starts anything. So each of its starts copies the page tables of this process, which
        /// takes tens of milliseconds for each gigabyte that this process has.
        ///
        /// A task of the same user can move itself to another group, if it may write to the files
        /// of cgroups. In a sandbox (`Builder::sandbox`) it may not.
        ///
        /// ```no_run
        /// # fn render() {}
        /// # procpool::register!(render);
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), procpool::BuildError> {
        /// use procpool::{Cgroup, Process, ProcessPoolExecutor};
        ///
        /// let each = Cgroup::new().memory_max(1 << 30).pids_max(32);
        /// let pool = ProcessPoolExecutor::builder().cgroup(each.clone()).build()?;
        /// let process = Process::builder(render, ()).cgroup(each).build();
        /// # drop((pool, process));
        /// # Ok(())
        /// # }
        /// ```
        pub fn cgroup(mut self, cgroup: impl Into<Option<$crate::Cgroup>>) -> Self {
            self.$($program).+.cgroup = cgroup.into();
            self
        }
    };
}

/// What all builders let their users choose of what is around a program.
macro_rules! program_settings {
    ($($program:ident).+) => {
        /// Sets an environment variable. All others are inherited. Workers of a pool inherit the
        /// variables that this process had when the pool was built, even if they are started later.
        /// A later value for a variable replaces an earlier one.
        pub fn env(
            mut self,
            key: impl AsRef<::std::ffi::OsStr>,
            value: impl AsRef<::std::ffi::OsStr>,
        ) -> Self {
            self.$($program).+.env.set(key.as_ref(), value.as_ref());
            self
        }

        /// Removes an environment variable that is inherited, or was set before.
        pub fn env_remove(mut self, key: impl AsRef<::std::ffi::OsStr>) -> Self {
            self.$($program).+.env.remove(key.as_ref());
            self
        }

        /// Inherits no environment variables, and forgets those that were set before, as
        /// [`std::process::Command::env_clear`] does. So tasks find no secrets of this process
        /// there. procpool itself needs no variable.
        ///
        /// ```
        /// # fn work() {}
        /// # procpool::register!(work);
        /// # #[tokio::main(flavor = "current_thread")]
        /// # async fn main() -> Result<(), procpool::BuildError> {
        /// let pool = procpool::ProcessPoolExecutor::builder()
        ///     .env_clear()
        ///     .env("PATH", "/usr/bin:/bin") // for what tasks start
        ///     .build()?;
        /// let process = procpool::Process::builder(work, ()).env_clear().env("LANG", "C").build();
        /// # drop((pool, process));
        /// # Ok(())
        /// # }
        /// ```
        pub fn env_clear(mut self) -> Self {
            self.$($program).+.env.clear();
            self
        }

        /// Passes these descriptors to each process that is started, under the same numbers.
        /// Default: none. A later call replaces an earlier one.
        ///
        /// The builder owns them, because a number must not come to mean another file. They stay
        /// open in this process as long as one more process may be started: until the builder is
        /// dropped, and a [`Process`](crate::Process) has been started, or a pool has ended. Share
        /// one in an [`Arc`](std::sync::Arc) to keep it for longer, or to pass it twice. Each
        /// process that gets a descriptor closes its own copy, at its end at the latest.
        ///
        /// They may be close-on-exec, as all descriptors of Rust are, and remain so. Then no other
        /// program that this process starts gets them. Programs that a task starts inherit them.
        ///
        /// ```
        /// use std::io::{PipeWriter, Write};
        /// use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
        ///
        /// fn tell(fd: RawFd) -> Result<(), String> {
        ///     // SAFETY: it was passed on for this, and nobody else here uses it.
        ///     let mut writer = unsafe { PipeWriter::from_raw_fd(fd) };
        ///     writer.write_all(b"hello").map_err(|error| error.to_string())
        /// }
        /// # procpool::register!(tell);
        ///
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// #     procpool::init();
        /// #     tokio::runtime::Runtime::new()?.block_on(run())
        /// # }
        /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
        /// let (reader, writer) = std::io::pipe()?;
        /// let fd = writer.as_raw_fd();
        /// procpool::Process::builder(tell, fd).pass_fds([OwnedFd::from(writer)]).spawn().await??;
        /// assert_eq!(std::io::read_to_string(reader)?, "hello");
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// Code in C may leave other descriptors open for children by mistake. They are closed
        /// before anything of yours runs there. So connections close when the service closes them,
        /// and tasks cannot use its descriptors. Descriptors opened by Rust are never inherited.
        /// With [`StartMethod::ForkServer`](crate::StartMethod::ForkServer) this holds for the
        /// server, and workers inherit everything from the server.
        ///
        /// It is the parameter of this name of Python's `subprocess.Popen`.
        pub fn pass_fds(
            mut self,
            fds: impl IntoIterator<
                Item = impl Into<::std::sync::Arc<$crate::parent::Descriptor>>,
            >,
        ) -> Self {
            self.$($program).+.pass_fds = fds.into_iter().map(Into::into).collect();
            self
        }

        /// The directory to start in. A relative path is relative to the directory that this
        /// process is in now. Default: the directory of this process: for a pool, the one when the
        /// pool is built, even if a worker is started later; for a [`Process`](crate::Process), the
        /// one when it is started.
        ///
        /// If the directory is missing or cannot be entered, nothing is started. That breaks a
        /// pool, and the error names the directory.
        pub fn current_dir(mut self, directory: impl AsRef<::std::path::Path>) -> Self {
            self.$($program).+.set_directory(directory.as_ref());
            self
        }
    };
}

pub(crate) use {program_limits, program_settings};

/// By which libraries that compute with threads are told how many to have: rayon and Polars, and
/// those that joblib tells in its loky backend.
const INNER_THREADS: [&str; 9] = [
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

/// How many threads libraries have in each of so many workers. If zero are asked for: as many as
/// there are CPUs for each, but one at least.
pub(crate) fn inner_threads(asked: usize, workers: usize) -> usize {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    if asked == 0 { (cpus() / workers.max(1)).max(1) } else { asked }
}

/// How an environment differs from that of this process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// It inherits nothing.
    clear: bool,
    /// In the order in which they were asked for. `None` removes a variable.
    changes: Vec<(OsString, Option<OsString>)>,
}

impl Environment {
    pub(crate) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.changes.push((key.to_owned(), Some(value.to_owned())));
    }

    pub(crate) fn remove(&mut self, key: &OsStr) {
        self.changes.push((key.to_owned(), None));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { clear: true, changes: Vec::new() };
    }

    fn is_untouched(&self) -> bool {
        !self.clear && self.changes.is_empty()
    }

    fn prepare(&self, command: &mut Command) {
        if self.clear {
            command.env_clear();
        }
        for (key, value) in &self.changes {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
    }
}

impl Program {
    /// With no arguments and nothing changed.
    pub(crate) fn named(program: &OsStr) -> Self {
        Self::in_words([program])
    }

    /// With arguments; without a first word it is none, and cannot be started.
    pub(crate) fn in_words(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut words = words.into_iter();
        let program = words.next().map(|program| locate(program.as_ref()));
        let arguments = words.map(|word| word.as_ref().to_owned());
        Self { command: Some(program.into_iter().chain(arguments).collect()), ..Self::default() }
    }

    /// As far as a command tells: not whether its environment was cleared.
    pub(crate) fn of(command: &Command) -> Self {
        let args = command.get_args().map(OsStr::to_owned);
        let words = std::iter::once(locate(command.get_program())).chain(args);
        let changes = command.get_envs();
        let changes = changes.map(|(key, value)| (key.into(), value.map(Into::into)));
        Self {
            command: Some(words.collect()),
            env: Environment { clear: false, changes: changes.collect() },
            current_dir: command.get_current_dir().map(absolute),
            ..Self::default()
        }
    }

    /// By another one, which has the last word on all that it says.
    pub(crate) fn replace_by(&mut self, other: Self) {
        self.command = other.command;
        self.env.changes.extend(other.env.changes);
        self.current_dir = other.current_dir.or(self.current_dir.take());
    }

    /// From now on it does not matter what changes in this process. Libraries are told how many
    /// threads to have, if that is said, unless they are told otherwise. A program that was settled
    /// before, such as that of a shared server, stays as it was.
    pub(crate) fn settle(&mut self, inner_threads: Option<usize>) {
        if self.surroundings.is_some() {
            return;
        }
        let surroundings = Surroundings::now();
        if let Some(count) = inner_threads {
            let is_inherited = |name: &&str| !self.env.clear && surroundings.has_variable(name);
            let told = INNER_THREADS.into_iter().filter(|name| !is_inherited(name));
            let told = told.map(|name| (name.into(), Some(count.to_string().into())));
            self.env.changes.splice(..0, told.collect::<Vec<_>>());
        }
        self.surroundings = Some(Arc::new(surroundings));
    }

    /// The name of one of the settings that were made, but for limits, which workers see to, and
    /// control groups, which this process makes for each worker.
    pub(crate) fn first_setting(&self) -> Option<&'static str> {
        let made = [
            (self.command.is_some(), "worker_command"),
            (!self.env.is_untouched(), "env"),
            (self.current_dir.is_some(), "current_dir"),
            (!self.pass_fds.is_empty(), "pass_fds"),
            (self.oom_score != OomScore::default(), "oom_score_adj"),
        ];
        made.into_iter().find(|(is_made, _)| *is_made).map(|(_, name)| name)
    }

    /// A control group for one process, if each has one. To make it may block for a moment.
    pub(crate) fn new_cgroup(&self) -> io::Result<Option<OwnCgroup>> {
        let rules = self.cgroup.as_ref();
        let made = rules.map(|rules| OwnCgroup::create(rules.home(), rules.values()));
        made.transpose().map_err(|error| {
            described(&error, format!("its control group cannot be made: {error}"))
        })
    }

    /// Has another program be in its group from its beginning, as it might start something at once.
    /// This one runs nothing of the user's before its hello, until which it is put there: so its
    /// start takes no copy of this process's page tables.
    pub(crate) fn start_in(
        &self,
        cgroup: Option<&OwnCgroup>,
        command: &mut Command,
    ) -> io::Result<()> {
        cgroup.filter(|_| self.command.is_some()).map_or(Ok(()), |group| group.start_in(command))
    }

    /// Waits for a moment until those are removed that nobody needs any more: this program may end.
    pub(crate) async fn cgroups_removed(&self) {
        const PATIENCE: Duration = Duration::from_millis(500);
        if self.cgroup.is_some() {
            let _ = within(PATIENCE, OwnCgroup::removed()).await; // or it is left behind, empty
        }
    }

    pub(crate) fn set_directory(&mut self, directory: &Path) {
        self.current_dir = Some(absolute(directory));
    }

    /// The command that starts it in a role. Its standard streams and its group are left to the
    /// caller.
    pub(crate) fn command(&self, role: Role) -> io::Result<Command> {
        let mut command = match &self.command {
            Some(words) => {
                let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            None => own_program()?,
        };
        let for_any = self.command.is_some();
        command.arg(Flag::new(role, Registry::copy_id(), for_any).text());
        if let Some(surroundings) = &self.surroundings {
            surroundings.prepare(&mut command);
        }
        self.env.prepare(&mut command);
        pass_on(&mut command, &self.pass_fds);
        if let Some(directory) = &self.current_dir {
            command.current_dir(directory);
        }
        command.get_current_dir().map_or(Ok(()), assert_enterable)?;
        Ok(command)
    }
}

/// A program is found where this process sees it, whichever directory it starts in.
fn locate(program: &OsStr) -> OsString {
    let path = Path::new(program);
    let is_bare = path.file_name() == Some(program); // it is looked for in `PATH`
    if is_bare { program.to_owned() } else { absolute(path).into() }
}

/// Without a directory to start from it stays as it is, and fails where it is used.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Spawning would fail with the same error, but as if it were the program that is missing.
fn assert_enterable(directory: &Path) -> io::Result<()> {
    let entered = std::fs::metadata(directory.join("."));
    entered.map(drop).map_err(|error| {
        let text = format!("its directory `{}` cannot be entered: {error}", directory.display());
        io::Error::new(error.kind(), text)
    })
}

/// This process's own program, as a child.
fn own_program() -> io::Result<Command> {
    let mut command = own_command()?;
    command.args(own_arguments());
    Ok(command)
}

/// With what it is started as a child, before what it is to be.
pub(crate) fn own_arguments() -> Vec<String> {
    let Some(test) = TestWorker::name() else { return Vec::new() };
    // The test harness is told to run the one test that turns into the worker. What comes after
    // `--` it takes for the names of further tests.
    let words = [&*test, "--exact", "--nocapture", "--test-threads=1", "--"];
    words.map(str::to_owned).into()
}

/// Runs what starts a child process, which blocks for a moment. It has a thread of its own, because
/// those that the runtime has for what blocks may all be taken for long.
pub(crate) async fn start_child<T: Send + 'static>(
    start: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, started) = oneshot::channel();
    let runtime = Handle::current();
    start_thread("procpool-spawner", None, move || {
        let _entered = runtime.enter();
        let started = catch_unwind(AssertUnwindSafe(start));
        let _ = sender.send(started.unwrap_or_else(|panic| Err(unsupported(&*panic))));
    })?;
    started.await.unwrap_or_else(|_| Err(io::ErrorKind::Unsupported.into()))
}

/// This is how tokio says that a runtime lacks something.
fn unsupported(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    io::Error::new(io::ErrorKind::Unsupported, text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_programs_are_made_absolute() {
        assert_eq!(locate(OsStr::new("worker")), "worker");
        assert_eq!(locate(OsStr::new("/bin/worker")), "/bin/worker");
        let here = std::env::current_dir().unwrap();
        assert_eq!(locate(OsStr::new("./worker")), here.join("worker"));
        assert_eq!(locate(OsStr::new("bin/worker")), here.join("bin/worker"));
    }
}
