//! A fork server that several pools share, as its users hold it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::error::build::{BuildError, BuildFailure};
use crate::executor::builder::Builder;
use crate::executor::command::WorkerCommand;
use crate::function::{Call, Callable};
use crate::parent::birth::SharedServer;
use crate::parent::{Launch, StartMethod, WorkerOutput, program_limits, program_settings};
use crate::pool::{HookStage, prepare, ready_to_build};

/// A fork server that several pools share, as all pools of a Python program do. Preloaded data is
/// in memory once for all of them. The first worker of a further pool is forked at once, because
/// the server is already there. [`Builder::fork_server`] gives it to a pool.
///
/// This is a handle, cheap to clone. The server is started when a pool needs its first worker. If
/// the server dies, it is started again when it is needed. It ends when its last holder is gone:
/// handles, builders, and pools that have not ended. The [shutdown] of the last pool waits for
/// that. The chapter on [start methods] says what pools share by a server, and what they do not.
///
/// [shutdown]: crate::ProcessPoolExecutor::shutdown
/// [start methods]: crate::guide::start_methods#one-server-for-several-pools
///
/// ```
/// use procpool::{ForkServer, ProcessPoolExecutor};
///
/// fn load(words: u32) -> Vec<String> {
///     (0..words).map(|n| format!("word {n}")).collect()
/// }
///
/// fn look_up(n: usize) -> String {
///     procpool::preloaded::<Vec<String>>().expect("the server has a preload")[n].clone()
/// }
///
/// procpool::register!(load, look_up);
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     procpool::init();
/// #     run()
/// # }
/// # #[tokio::main]
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ForkServer::builder().preload(load, 1_000).build()?;
/// let builder = || ProcessPoolExecutor::builder().fork_server(&server);
/// let customers = builder().max_workers(2).build()?;
/// let reports = builder().max_workers(1).max_tasks_per_child(1).build()?;
/// assert_eq!(customers.run(look_up, 7).await?, "word 7");
/// assert_eq!(reports.run(look_up, 8).await?, "word 8");
/// # customers.shutdown().await;
/// # reports.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "hand it to `Builder::fork_server`"]
pub struct ForkServer(SharedServer);

impl ForkServer {
    /// One without a preload.
    ///
    /// # Errors
    ///
    /// See [`ForkServerBuilder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Configures a server.
    pub fn builder() -> ForkServerBuilder {
        ForkServerBuilder::default()
    }

    /// See [`ForkServerBuilder::name`].
    pub fn name(&self) -> &str {
        &self.0.launch().name
    }
}

impl fmt::Debug for ForkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkServer").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// # A shared fork server
impl Builder {
    /// Has this server fork the workers. Other pools may share the server. This sets the start
    /// method to [`StartMethod::ForkServer`].
    ///
    /// Some settings belong to the server: set them there. If a pool with a shared server has one,
    /// its build is refused. They are the [preload](Self::preload), the [environment](Self::env),
    /// the [directory](Self::current_dir), [`pass_fds`](Self::pass_fds),
    /// [`oom_score_adj`](Self::oom_score_adj), [`worker_command`](Self::worker_command),
    /// [`inner_threads`](Self::inner_threads), and the hooks that run in the server.
    ///
    /// Everything else is the pool's own:
    ///
    /// * Its [`after_fork`](Self::after_fork) hooks are called after those of the server.
    /// * Its [limits](Self::limits) and its [`cgroup`](Self::cgroup) replace those of the server.
    /// * Its [start timeout](Self::start_timeout) is at least that of the server, because a worker
    ///   may have to wait for the server.
    ///
    /// `None` takes the server back. The start method stays as it is. If that is
    /// [`StartMethod::ForkServer`], the pool has a server of its own.
    pub fn fork_server<'a>(mut self, server: impl Into<Option<&'a ForkServer>>) -> Self {
        self.settings.fork_server = server.into().map(|server| server.0.clone());
        if self.settings.fork_server.is_some() {
            self.settings.launch.start_method = StartMethod::ForkServer;
        }
        self
    }
}

/// Configures a [`ForkServer`]; see [`ForkServer::builder`]. The settings mean the same as those of
/// [`Builder`] with the same names.
#[derive(Clone, Debug, Default)]
#[must_use = "call `build` to make a fork server"]
pub struct ForkServerBuilder {
    launch: Launch,
    inner_threads: Option<usize>,
    preload: Option<Result<Call, BuildFailure>>,
    hooks: Vec<Result<(HookStage, Call), BuildFailure>>,
}

impl ForkServerBuilder {
    /// Its name in what is [logged](crate#features). In the preload, the name of the
    /// [process](crate::current_process) has it in place of a pool's name. Default: `procpool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.launch.name = name.into();
        self
    }

    /// A registered function that the server calls once; see [`Builder::preload`].
    pub fn preload<F, A, M>(mut self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.preload = Some(prepare(function, &args));
        self
    }

    /// A registered function that each worker of each pool calls right after the fork; see
    /// [`Builder::after_fork`].
    pub fn after_fork<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::After, function, &args)
    }

    /// A registered function that the server calls before each fork; see [`Builder::before_fork`].
    pub fn before_fork<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::Before, function, &args)
    }

    /// A registered function that the server calls after each fork; see
    /// [`Builder::after_fork_in_parent`].
    pub fn after_fork_in_parent<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::AfterInParent, function, &args)
    }

    fn hook<F: 'static, A: Serialize>(mut self, stage: HookStage, function: F, args: &A) -> Self {
        self.hooks.push(prepare(function, args).map(|call| (stage, call)));
        self
    }

    /// How long the server may take until its preload has ended. Default: 30 seconds.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.launch.start_timeout = limit;
        self
    }

    /// What becomes of the text that the server prints, for example in its preload. Each pool has
    /// its own setting for its workers. Default: [`WorkerOutput::Inherit`].
    pub fn output(mut self, output: impl Into<WorkerOutput>) -> Self {
        self.launch.output = output.into();
        self
    }

    /// Starts the server, and so the workers of all its pools, by this command; see
    /// [`Builder::worker_command`].
    pub fn worker_command(mut self, command: impl Into<WorkerCommand>) -> Self {
        self.launch.program.replace_by(command.into().into_program());
        self
    }

    /// How many threads numeric libraries may start in each worker of each pool; see
    /// [`Builder::inner_threads`]. Zero means one, because the server does not know how many
    /// workers will share the CPUs. Default: nothing is said.
    pub fn inner_threads(mut self, count: impl Into<Option<usize>>) -> Self {
        self.inner_threads = count.into().map(|count| count.max(1));
        self
    }

    program_limits! { launch.program }

    program_settings! { launch.program }

    /// Makes the handle. The server itself is started when it is needed.
    ///
    /// # Errors
    ///
    /// * If there is no tokio runtime. The server ends with the runtime in which this is called.
    /// * If the preload or a hook is not registered, or its arguments cannot be encoded.
    /// * If two registered functions have the same name.
    /// * In a worker that has not called [`init`](crate::init).
    pub fn build(self) -> Result<ForkServer, BuildError> {
        let runtime = ready_to_build()?;
        let preload = self.preload.transpose()?;
        let hooks = self.hooks.into_iter().collect::<Result<_, _>>()?;
        let launch = Launch { preload, hooks, ..self.launch };
        Ok(ForkServer(SharedServer::new(launch.of_server(self.inner_threads), &runtime)))
    }
}
