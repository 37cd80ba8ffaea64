//! What the workers of a pool are left with, as users say it.

use std::path::Path;

use crate::sys::sandbox::SandboxRules;

/// What the tasks of a pool may do to the rest of the machine, for
/// [`Builder::sandbox`](crate::Builder::sandbox): to begin with, compute.
///
/// A worker enters its sandbox after its [initializer](crate::Builder::initializer), which may
/// open what tasks need: that stays usable. From there on, and for good, a task
///
/// * opens no files but below what [`read`](Self::read) and [`write`](Self::write) name, makes or
///   removes none elsewhere, and changes nobody's permissions, owners, times and attributes. Names
///   and sizes of other files can be seen;
/// * has no [network](Self::network), and no sockets of other processes;
/// * starts no process, and no program. Threads it may start;
/// * signals, traces or limits no other process, the service included;
/// * makes none of those system calls that a computation does not need: mounts, namespaces, keys,
///   `io_uring`, `bpf`, and what a later kernel may bring.
///
/// What it is refused fails with `EPERM` or `EACCES`, as an error that a task can handle; see
/// [`kill_on_refusal`](Self::kill_on_refusal). CPU, memory and disk are not bounded by this: for
/// that there are [limits](crate::Builder::limits), a timeout, and control groups.
///
/// Arguments, results and `map` work as ever. Panics have their message and their place; for
/// the names in their backtraces the program has to be readable: `read(std::env::current_exe()?)`.
///
/// It is Landlock and a seccomp filter, by the crates `landlock` and `seccompiler`, for Linux 6.2
/// or later on x86-64 and 64-bit ARM: elsewhere no worker starts, unless [what there
/// is](Self::best_effort) is enough. `SECURITY.md` says what this protects from, and what it does
/// not.
///
/// ```
/// use procpool::{ProcessPoolExecutor, Sandbox};
///
/// fn passwords() -> Result<String, String> {
///     std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())
/// }
///
/// procpool::register!(passwords);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     procpool::init();
/// #     tokio::runtime::Runtime::new()?.block_on(run())
/// # }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let sandbox = Sandbox::new().read("/usr/share").write("/tmp").best_effort();
/// let pool = ProcessPoolExecutor::builder().sandbox(sandbox).build()?;
/// println!("{:?}", pool.run(passwords, ()).await?); // Err("Permission denied (os error 13)")
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "hand it to `Builder::sandbox`"]
#[cfg_attr(docsrs, doc(cfg(feature = "sandbox")))]
pub struct Sandbox(pub(crate) SandboxRules);

impl Sandbox {
    /// Leaves nothing but computing.
    pub fn new() -> Self {
        Self::default()
    }

    /// This file, or all files and directories below this one, may be opened for reading. It has to
    /// be there when a worker starts, or that fails. A relative path counts from the worker's
    /// directory.
    pub fn read(mut self, path: impl AsRef<Path>) -> Self {
        self.0.read.push(path.as_ref().into());
        self
    }

    /// As [`read`](Self::read), and for writing, too; below a directory, files, directories and
    /// links may be made and removed.
    pub fn write(mut self, path: impl AsRef<Path>) -> Self {
        self.0.write.push(path.as_ref().into());
        self
    }

    /// Sockets of the internet may be made, connected and listened at: whatever the machine's own
    /// rules let through. To find an address by its name takes [`read("/etc")`](Self::read).
    pub fn network(mut self) -> Self {
        self.0.network = true;
        self
    }

    /// A refused system call ends the worker, by SIGSYS, so that its task fails by a
    /// [death](crate::TaskError::is_worker_death). That leaves code that is up to something no
    /// second try; libraries that would have done without are ended, too. Files that may not be
    /// opened are not meant: of them tasks are told.
    pub fn kill_on_refusal(mut self) -> Self {
        self.0.kills = true;
        self
    }

    /// A worker that cannot have all that was asked for does not start, and the pool is
    /// [broken](crate::BrokenProcessPool) by that. With this it makes do with what there is: a
    /// kernel without Landlock or its newer parts, and threads of the initializer, which stay
    /// outside.
    pub fn best_effort(mut self) -> Self {
        self.0.best_effort = true;
        self
    }
}
