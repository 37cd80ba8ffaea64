//! A host, as its user describes it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::error::build::BuildFailure;
use crate::function::Registry;
use crate::host::allocation::Allocation;
use crate::host::own_copy::{FarProgram, OwnCopy};
use crate::host::slurm::{Slurm, SlurmNode};
use crate::host::ssh::Ssh;
use crate::wire::host::Build;
use crate::wire::role::{Flag, Role};

/// How long a host may be silent, unless it is said.
const LEASE: Duration = Duration::from_secs(15);

/// Any clock can tell the end of the longer one, and signs of life come within the shorter one.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_hours(365 * 24);

/// A machine on which a pool has workers, for [`Builder::hosts`](crate::Builder::hosts).
///
/// On a host that is not this one runs an *agent*: this program once more, which starts workers
/// there and ends them. What starts the agent is a command that you have already: `ssh`, `podman
/// exec -i`, or any other that hands its standard input and output on. When that connection ends,
/// or is silent for the length of the [lease](Self::lease), the agent ends with all of its workers.
///
/// The chapter on [hosts](crate::guide::hosts) says how `ssh` is set up, what is promised when a
/// host is lost, and what does not work on hosts yet.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), procpool::BuildError> {
/// use procpool::{Host, ProcessPoolExecutor};
///
/// let hosts = [
///     Host::local().workers(4),
///     Host::ssh("node1"), // as many workers as it has CPUs
///     Host::command(["podman", "exec", "-i", "box", "/opt/service"]).workers(2).name("box"),
/// ];
/// let pool = ProcessPoolExecutor::builder().hosts(hosts).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
///
/// In a file it is a table, one of the `hosts` of [`Settings`](crate::Settings). Formats that are
/// not for people, such as postcard, cannot read it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "hand it to `Builder::hosts`"]
pub struct Host {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) reach: Reach,
    pub(crate) workers: Option<usize>,
    pub(crate) lease: Duration,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is this one.
    Local,
    /// By a program with arguments, to which the role is added.
    Command(Vec<OsString>),
    Ssh(Ssh),
    /// Several nodes, until it is known where they are.
    Slurm(Slurm),
    SlurmNode(SlurmNode),
}

impl Reach {
    /// The command that starts the agent, and the copy of this program that the host may want.
    pub(super) fn command(&self, build: Build) -> io::Result<(Command, Option<OwnCopy>)> {
        let role = Flag::new(Role::Agent, Registry::copy_id(), true).text();
        let words: &[OsString] = match self {
            // Not reached: no agent is needed, or these are nodes by now.
            Self::Local | Self::Slurm(_) => &[],
            Self::Command(words) => words,
            Self::Ssh(ssh) => return ssh.command(build, &role),
            Self::SlurmNode(node) => return node.command(build, &role),
        };
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).arg(role);
        Ok((command, None))
    }

    /// What has to be requested before it is there.
    pub(super) fn allocation(&self) -> Option<&Arc<Allocation>> {
        match self {
            Self::SlurmNode(node) => node.allocation(),
            _ => None,
        }
    }

    /// What is started there, if there is a choice.
    fn program(&mut self) -> Option<&mut FarProgram> {
        match self {
            Self::Ssh(ssh) => Some(&mut ssh.program),
            Self::Slurm(slurm) => Some(&mut slurm.program),
            _ => None,
        }
    }
}

impl Host {
    fn new(reach: Reach) -> Self {
        Self { name: None, reach, workers: None, lease: LEASE }
    }

    /// This machine. Its workers are started as those of a pool without hosts are, without an
    /// agent.
    pub fn local() -> Self {
        Self::new(Reach::Local)
    }

    /// A machine, or a container, that a command reaches. The command has to start this program
    /// there, and to hand on its standard input and output as they are. One argument is added to
    /// its words. What it writes to its standard error is logged. Until the host is connected, it
    /// stands in the error instead.
    ///
    /// The program has to be there already, and to be the same build as this one. Another one is
    /// refused.
    pub fn command(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Self::new(Reach::Command(words.collect()))
    }

    /// A machine that OpenSSH reaches. The destination is what `ssh` is called with: a name of its
    /// configuration, `host` or `user@host`. It must let this user in without a question, by a key
    /// for example.
    ///
    /// This program gets there by itself. If the host does not have it yet, it is copied to the
    /// [cache](Self::cache) there, under a name that is a hash of it. So a new build is copied
    /// once, and an old one is never started. The host has to be of the same architecture. It needs
    /// `sh` with its usual tools, and the shared libraries of this program. The copying counts as a
    /// part of the [`start_timeout`](crate::Builder::start_timeout), which a slow connection may
    /// exceed. [`program`](Self::program) names a file that is there already.
    ///
    /// One `ssh` serves all workers of the host. It starts with `-T` and `BatchMode=yes`, and with
    /// what [`ssh_options`](Self::ssh_options) says; all else is up to your configuration.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), procpool::BuildError> {
    /// use procpool::{Host, ProcessPoolExecutor};
    ///
    /// let nodes = ["node1", "node2"].map(Host::ssh);
    /// let pool = ProcessPoolExecutor::builder().hosts(nodes).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ssh(destination: impl AsRef<OsStr>) -> Self {
        let destination = destination.as_ref().to_owned();
        let ssh = Ssh { destination, options: Vec::new(), program: FarProgram::default() };
        Self::new(Reach::Ssh(ssh))
    }

    /// The most workers of the host. Default: as many as it has CPUs for this program, which are
    /// fewer where an affinity or a control group says so. A far host is asked for that as soon as
    /// it is connected. Until then it has one worker, and it has no more than 1,024 without being
    /// told so here.
    pub fn workers(mut self, most: impl Into<Option<usize>>) -> Self {
        self.workers = most.into();
        self
    }

    /// Nodes of Slurm. A pool has as many hosts of this as there are [`nodes`](Self::nodes), each
    /// with as many workers as [`workers`](Self::workers) says.
    ///
    /// Within an allocation (`salloc`, `sbatch`, where `SLURM_JOB_ID` is set) these are its nodes.
    /// Anywhere else an allocation is made by `salloc` when work first wants a worker there, and is
    /// released when the pool is over. It may wait in the queue for hours: that counts as no start
    /// of a worker, other hosts of the pool work meanwhile, and
    /// [`HostsAwaited`](crate::PoolEvent::HostsAwaited) says what it waits for. When an allocation
    /// ends, because of its time limit for example, its hosts are lost. Another one is requested
    /// when there is work for it. When this process ends, even by SIGKILL, the request is withdrawn
    /// or the allocation released at once, unless `salloc` is killed with it. So set `--time`.
    ///
    /// On each node is one step of `srun`, which shares all that the allocation has there with
    /// others. There is a step for each node, as `srun` mixes what several tasks of a step write.
    ///
    /// This program gets there by itself, as by [`ssh`](Self::ssh). The cache is in the home
    /// directory of the user, which most clusters share between their nodes. Then a program is not
    /// copied again once it is there. [`program`](Self::program) names a file that all nodes have.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), procpool::BuildError> {
    /// use procpool::{Host, ProcessPoolExecutor};
    ///
    /// let nodes = Host::slurm().nodes(4).slurm_options(["--partition=short", "--time=01:00:00"]);
    /// let pool = ProcessPoolExecutor::builder().hosts([Host::local().workers(2), nodes]).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn slurm() -> Self {
        Self::new(Reach::Slurm(Slurm::default()))
    }

    /// How many nodes of [`slurm`](Self::slurm) there are to be. Default: all of the allocation in
    /// which this program runs, or one where an allocation has to be made. A host that is no node
    /// has no use for it.
    pub fn nodes(mut self, nodes: impl Into<Option<usize>>) -> Self {
        if let Reach::Slurm(slurm) = &mut self.reach {
            slurm.nodes = nodes.into();
        }
        self
    }

    /// Arguments for `salloc`, such as `["--partition=short", "--time=01:00:00", "--mem=8G"]`, if
    /// an allocation has to be made. Default: none. They come after those that it always has, and
    /// count: `--job-name`, `--nodes`, `--ntasks-per-node=1`, and `--cpus-per-task` with the number
    /// of [`workers`](Self::workers), or `--exclusive` if that is not said. `--no-shell` must not
    /// be among them, as nobody would release what it leaves. A host that is no node of Slurm has
    /// no use for them.
    pub fn slurm_options(mut self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        if let Reach::Slurm(slurm) = &mut self.reach {
            slurm.options = to_words(options);
        }
        self
    }

    /// Arguments for `ssh`, such as `["-F", "cluster.conf"]` or `["-p", "2222"]`. Default: none. A
    /// host that `ssh` does not reach has no use for them.
    pub fn ssh_options(mut self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        if let Reach::Ssh(ssh) = &mut self.reach {
            ssh.options = to_words(options);
        }
        self
    }

    /// The program that `ssh` or `srun` starts, with arguments: the same build as this one, in a
    /// file on that host. Default: a copy of this program. Other hosts have no use for it.
    pub fn program(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        if let Some(program) = self.reach.program() {
            program.words = to_words(words);
        }
        self
    }

    /// The directory for copies of this program on a host that `ssh` or `srun` reaches. It is made
    /// if it is not there, and must belong to the user there. Only the eight files that were used
    /// last stay in it, so keep nothing else there. Default: `procpool` in `$XDG_CACHE_HOME` or
    /// `~/.cache` of that host. Other hosts have no use for it.
    pub fn cache(mut self, directory: impl AsRef<OsStr>) -> Self {
        if let Some(program) = self.reach.program() {
            program.cache = Some(directory.as_ref().to_owned());
        }
        self
    }

    /// What errors, events and [`WorkerInfo`](crate::WorkerInfo) call it. Default: `local`, the
    /// destination of `ssh`, the words of the command, or `slurm`. Nodes of Slurm are `slurm[0]`,
    /// `slurm[1]`, and so on; those of an allocation that is there have their own names, unless
    /// you give one.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.name = Some(name.as_ref().into());
        self
    }

    /// How long nothing may be heard of the host before it is taken for lost. Default: 15 seconds.
    ///
    /// A host that is connected says several times in this time that it is there. When it is silent
    /// for this long, tasks that may have begun there fail as
    /// [`is_host_lost`](crate::TaskError::is_host_lost), and all others go elsewhere.
    ///
    /// The agent waits no longer, either. When it has not heard from this process for this long, or
    /// for three quarters of it, it ends all of its workers. So nothing runs for nobody, and a task
    /// with [retries](crate::TaskBuilder::retries) is begun elsewhere only when it cannot run there
    /// any more. There are two exceptions. Somebody stops the agent, but not its workers. Or the
    /// host is suspended: then its clock stands still, and its workers go on for the rest of this
    /// time when it wakes.
    ///
    /// A large value that is under way may delay the sign of life by a moment. So on a slow
    /// connection the time should be some seconds at least. Less than 100 milliseconds counts as
    /// that, and more than a year as a year.
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time.clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self
    }

    pub(crate) fn name_of(&self) -> Arc<str> {
        if let Some(name) = &self.name {
            return Arc::clone(name);
        }
        match &self.reach {
            Reach::Local => "local".into(),
            Reach::Ssh(ssh) => ssh.destination.to_string_lossy().into(),
            Reach::Slurm(_) | Reach::SlurmNode(_) => "slurm".into(),
            Reach::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ").into()
            }
        }
    }

    /// As the hosts that a pool has of it. What they share they share within that pool.
    pub(crate) fn expanded(self) -> Result<Vec<Self>, BuildFailure> {
        let Reach::Slurm(slurm) = &self.reach else { return Ok(vec![self]) };
        let nodes = slurm.nodes(self.name.as_ref(), self.workers)?;
        let node = |(name, node)| Self { name: Some(name), reach: Reach::SlurmNode(node), ..self };
        Ok(nodes.into_iter().map(node).collect())
    }

    /// It has to be requested before workers can be started there.
    pub(crate) fn is_away(&self) -> bool {
        self.reach.allocation().is_some()
    }

    pub(crate) fn is_local(&self) -> bool {
        matches!(self.reach, Reach::Local)
    }

    pub(crate) fn wanted_workers(&self) -> Option<usize> {
        self.workers
    }
}

fn to_words(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<OsString> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}
