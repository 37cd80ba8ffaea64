//! A host, as its user describes it.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::function::Registry;
use crate::wire::role::{Flag, Role};

/// How long a host may be silent, unless it is said.
const LEASE: Duration = Duration::from_secs(15);

/// A machine on which a pool has workers, for [`Builder::hosts`](crate::Builder::hosts).
///
/// On a host that is not this one runs an *agent*: this program once more, which starts workers
/// there and ends them. What starts the agent is a command that you have already: `ssh`, `podman
/// exec -i`, or any other that hands its standard input and output on. The agent ends, with all of
/// its workers, when the command does.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), procpool::BuildError> {
/// use procpool::{Host, ProcessPoolExecutor};
///
/// let hosts = [
///     Host::local(4),
///     Host::command(["ssh", "-T", "node1", "/opt/service"], 16).name("node1"),
///     Host::command(["podman", "exec", "-i", "box", "/opt/service"], 2).name("box"),
/// ];
/// let pool = ProcessPoolExecutor::builder().hosts(hosts).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "hand it to `Builder::hosts`"]
pub struct Host {
    name: Option<Arc<str>>,
    pub(super) reach: Reach,
    pub(super) workers: usize,
    pub(super) lease: Duration,
}

/// How it is reached.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// It is this one.
    Local,
    /// By a program with arguments, to which the role is added.
    Command(Vec<OsString>),
}

impl Reach {
    pub(super) fn command(&self) -> Command {
        let words: &[OsString] = match self {
            Self::Local => &[], // not reached: no agent is needed
            Self::Command(words) => words,
        };
        let mut command = Command::new(words.first().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words.iter().skip(1));
        command.arg(Flag::new(Role::Agent, Registry::copy_id(), true).text());
        command
    }
}

impl Host {
    fn new(reach: Reach, workers: usize) -> Self {
        Self { name: None, reach, workers, lease: LEASE }
    }

    /// This machine, with so many workers at most. They are started as those of a pool without
    /// hosts are, without an agent.
    pub fn local(workers: usize) -> Self {
        Self::new(Reach::Local, workers)
    }

    /// A machine, or a container, that a command reaches, with so many workers at most. The command
    /// has to start this program there, with one argument more, and to hand on its standard input
    /// and output as they are. What it writes to its standard error is logged.
    ///
    /// The program has to be the same build as this one. The host's agent refuses another one.
    pub fn command(words: impl IntoIterator<Item = impl AsRef<OsStr>>, workers: usize) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Self::new(Reach::Command(words.collect()), workers)
    }

    /// What errors, events and [`WorkerInfo`](crate::WorkerInfo) call it. Default: `local`, or the
    /// words of the command.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.name = Some(name.as_ref().into());
        self
    }

    /// How long nothing may be heard of the host before it is taken for lost. Default: 15 seconds.
    ///
    /// A host that is connected says several times in this time that it is there. When it is silent
    /// for this long, tasks that may have begun there fail as
    /// [`is_host_lost`](crate::TaskError::is_host_lost), and all others go elsewhere. The agent
    /// counts, too: when it has not heard from this process for this long, it ends all of its
    /// workers. So nothing runs for nobody, and a task with
    /// [retries](crate::TaskBuilder::retries) is begun elsewhere only when it cannot run there any
    /// more. (Unless the host stops the agent, but not its workers.)
    ///
    /// A large value that is under way may delay the sign of life by a moment. So on a slow
    /// connection the time should be some seconds at least.
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time;
        self
    }

    pub(crate) fn name_of(&self) -> Arc<str> {
        if let Some(name) = &self.name {
            return Arc::clone(name);
        }
        match &self.reach {
            Reach::Local => "local".into(),
            Reach::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ").into()
            }
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.reach, Reach::Local)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }
}
