//! What the workers of a pool are left with, as users say it.

use std::path::Path;

use crate::sys::sandbox::SandboxRules;

/// What the tasks of a pool may do to the rest of the machine, for
/// [`Builder::sandbox`](crate::Builder::sandbox). By default they may only compute.
///
/// A worker enters its sandbox after its [initializer](crate::Builder::initializer). What the
/// initializer has opened stays usable. It cannot leave it again:
///
/// | | a task can | a task cannot |
/// |---|---|---|
/// | files | open those below what [`read`](Self::read) and [`write`](Self::write) name; see names and sizes of all | open, make or remove others; change permissions, owners, times and attributes of any |
/// | network | use it if [`network`](Self::network) allows it | otherwise use it; connect to sockets of other processes |
/// | processes | start threads | start a process or a program; signal, trace or limit another process, the service included |
/// | other system calls | make those that a computation needs | mount, make namespaces, use keys, `io_uring`, `bpf`, or what a later kernel may bring |
///
/// A refused call fails with `EPERM` or `EACCES`, which a task can handle. With
/// [`kill_on_refusal`](Self::kill_on_refusal) it ends the worker. A sandbox does not limit CPU,
/// memory and disk: use [limits](crate::Builder::limits), a timeout, and control groups.
///
/// Arguments, results and `map` work as usual. A panic has its message and its location. For the
/// names in its backtrace the program must be readable: `read(std::env::current_exe()?)`.
///
/// It takes Linux 6.2 or later, on x86-64 or 64-bit ARM. It consists of Landlock and a seccomp
/// filter, by the crates `landlock` and `seccompiler`. On other systems no worker starts, unless
/// [`best_effort`](Self::best_effort) is set. `SECURITY.md` says what a sandbox protects from, and
/// what it does not.
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
///
/// It is a serde type: [`Settings`](crate::Settings) says how it is written in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "hand it to `Builder::sandbox`"]
#[cfg_attr(docsrs, doc(cfg(feature = "sandbox")))]
pub struct Sandbox(pub(crate) SandboxRules);

impl Sandbox {
    /// Allows nothing but computing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows to open this file for reading, or all files and directories below this directory. If
    /// the path does not exist when a worker starts, the start fails. A relative path is relative
    /// to the worker's directory.
    pub fn read(mut self, path: impl AsRef<Path>) -> Self {
        self.0.read.push(path.as_ref().into());
        self
    }

    /// As [`read`](Self::read), and for writing, too. Below a directory, files, directories and
    /// links may be made and removed.
    pub fn write(mut self, path: impl AsRef<Path>) -> Self {
        self.0.write.push(path.as_ref().into());
        self
    }

    /// Allows to make sockets of the internet, to connect and to listen, as far as the machine's
    /// own rules allow it. Looking up the address of a name also takes
    /// [`read("/etc")`](Self::read).
    pub fn network(mut self) -> Self {
        self.0.network = true;
        self
    }

    /// A refused system call ends the worker by SIGSYS, and its task fails with a
    /// [death](crate::TaskError::is_worker_death). So malicious code has no second try. But a
    /// library that would have worked without the call ends the worker, too. A file that may not be
    /// opened is still an error, and ends nothing.
    pub fn kill_on_refusal(mut self) -> Self {
        self.0.kills = true;
        self
    }

    /// Starts workers even if not all of the sandbox is there. By default such a worker does not
    /// start, and the pool is [broken](crate::BrokenProcessPool). With this, a kernel may be
    /// without Landlock or its newer parts, and the initializer may leave threads, which stay
    /// outside of the sandbox.
    pub fn best_effort(mut self) -> Self {
        self.0.best_effort = true;
        self
    }
}
