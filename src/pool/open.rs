//! Settings in, a pool out.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::base::Clock;
use crate::codec::Fault;
use crate::error::build::{BuildError, BuildFailure};
use crate::function::{Call, Registry};
#[cfg(feature = "hosts")]
use crate::host::Host;
use crate::memory::{Arena, Payload, share};
use crate::parent::birth::{HostSite, SharedServer};
use crate::parent::message::HostListener;
use crate::parent::{FailedOutput, Launch, inner_threads};
use crate::pool::admission::Pool;
use crate::pool::commons::Commons;
use crate::pool::engine::{self, Engine};
use crate::pool::exits::ExitHook;
use crate::pool::places::TaskPlaces;
use crate::pool::size::{allowed_workers, cpus, default_workers};
use crate::scheduler::{Config, HostConfig, OnWorkerDeath, Scheduler};
use crate::wire::message::HookStage;
use crate::wire::role::{is_uninitialized_worker, report_missing_init};

/// The most tasks in the hands of one worker. It must leave room on the page of claims.
const MAX_PIPELINE: usize = 256;
/// So many brief tasks in a row are no accident.
const BRIEF_ROW: u32 = 64;

/// How a pool is to be; what each of them means the builder says.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// But for what a process calls once, which is below.
    pub(crate) launch: Launch,
    pub(crate) max_workers: Option<usize>,
    pub(crate) min_workers: usize,
    /// Zero: as many as there are CPUs for each worker.
    pub(crate) inner_threads: Option<usize>,
    pub(crate) shared_memory: Option<usize>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) surge: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) queue_bytes: Option<usize>,
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) on_worker_death: OnWorkerDeath,
    pub(crate) initializer_retries: u32,
    pub(crate) grace_period: Duration,
    pub(crate) preload: Option<Result<Call, BuildFailure>>,
    /// If it has its workers from one that others share.
    pub(crate) fork_server: Option<SharedServer>,
    pub(crate) hooks: Vec<Result<(HookStage, Call), BuildFailure>>,
    pub(crate) initializer: Option<Result<Call, BuildFailure>>,
    pub(crate) exit_hook: Option<Result<Arc<ExitHook>, BuildFailure>>,
    /// Where there are workers; none for this machine alone.
    #[cfg(feature = "hosts")]
    pub(crate) hosts: Vec<Host>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            launch: Launch::default(),
            max_workers: None,
            min_workers: 0,
            inner_threads: None,
            shared_memory: None,
            idle_timeout: None,
            max_age: None,
            surge: 1,
            queue_capacity: 10_000,
            queue_bytes: None,
            default_timeout: None,
            on_worker_death: OnWorkerDeath::default(),
            initializer_retries: 8,
            grace_period: Duration::from_secs(2),
            preload: None,
            fork_server: None,
            hooks: Vec::new(),
            initializer: None,
            exit_hook: None,
            #[cfg(feature = "hosts")]
            hosts: Vec::new(),
        }
    }
}

/// The runtime in which a pool, or a fork server, can be built here.
pub(crate) fn ready_to_build() -> Result<Handle, BuildFailure> {
    if is_uninitialized_worker(Registry::copy_id()) {
        report_missing_init();
        return Err(BuildFailure::NotInitialized);
    }
    if let Some(name) = Registry::global().ambiguity() {
        return Err(BuildFailure::AmbiguousFunction(name.to_owned()));
    }
    Handle::try_current().map_err(|_| BuildFailure::NoRuntime)
}

impl Configuration {
    /// More does not fit into a frame.
    pub(crate) const MAX_PAYLOAD: usize = crate::wire::frame::MAX_PAYLOAD;

    /// Makes the pool, and has it run.
    pub(crate) fn build(self) -> Result<Arc<Pool>, BuildError> {
        let runtime = ready_to_build()?;
        let settings = self.sharing()?.with_hosts()?;
        let config = settings.scheduler_config()?;
        let sites = settings.sites(&runtime);
        let (pool, work) = settings.open(config, &runtime, Clock::REAL, sites)?;
        runtime.spawn(work);
        Ok(pool)
    }

    /// The pool, and the task that has to run it. There must be a site for each host of `config`,
    /// in the same order; they are made when it is known how workers are started, and who is to be
    /// told of hosts.
    pub(crate) fn open(
        self,
        config: Config,
        runtime: &Handle,
        clock: Clock,
        sites: impl FnOnce(&Arc<Launch>, &Arc<dyn HostListener>) -> Vec<HostSite>,
    ) -> Result<(Arc<Pool>, BoxFuture<'static, ()>), BuildError> {
        let max_workers = config.max_workers;
        let most_workers = self.most_on_hosts().unwrap_or(usize::MAX);
        let sharing = self.sharing_workers(max_workers);
        let preload = self.preload.transpose()?;
        let hooks = self.hooks.into_iter().collect::<Result<_, _>>()?;
        let hook = prepared_hook(self.exit_hook, self.launch.max_payload)?;
        let exit_hook = hook.as_ref().map(|hook| hook.call.clone());
        let initializer = self.initializer.transpose()?;
        // A builder may make several pools, each of which prints what its own workers say.
        let failed_output = FailedOutput::default();
        let mut launch =
            Launch { failed_output, preload, hooks, initializer, exit_hook, ..self.launch };
        launch.settle(self.inner_threads.map(|count| inner_threads(count, max_workers)));
        let share = || sharing.map_or(0, |workers| share(launch.memory_limit(), workers));
        launch.shared_memory = self.shared_memory.unwrap_or_else(share);
        let launch = Arc::new(launch);
        let (scheduler, arena) = (Scheduler::new(config), Arena::new(launch.shared_memory));
        let places = TaskPlaces::new(self.queue_capacity, self.queue_bytes, max_workers);
        let name = launch.name.clone();
        let (commons, receiver) = Commons::new(name, scheduler, places, arena, clock);
        let engine = Engine::new(commons);
        let sites = sites(&launch, &(Arc::clone(&engine) as _));
        let names = sites.iter().filter_map(|site| site.launch.host.clone());
        engine.commons.view().observer.hosts = names.collect();
        let (closed, closing) = watch::channel(None);
        let pool = Arc::new(Pool {
            engine: Arc::clone(&engine),
            commons: Arc::clone(&engine.commons),
            closed: closing,
            next_task: AtomicU64::new(1),
            most_workers,
            max_payload: launch.max_payload,
            queue_capacity: self.queue_capacity,
            default_timeout: self.default_timeout,
            counts_tasks: launch.max_tasks_per_child.is_some(),
            #[cfg(feature = "hosts")]
            far_hosts: self.hosts.iter().filter(|it| !it.is_local()).map(Host::name_of).collect(),
        });
        let work = engine::run(engine, sites, hook, runtime.clone(), receiver, closed);
        Ok((pool, work.boxed()))
    }

    fn scheduler_config(&self) -> Result<Config, BuildFailure> {
        let hosts = self.host_configs()?;
        let (first, most) = (first_on(&hosts), self.most_on_hosts());
        let follows_hosts = self.max_workers.is_none() && first.is_some() && most.is_none();
        let max_workers = match self.max_workers {
            Some(count) => allowed_workers(count, cfg!(windows))?,
            None => first.unwrap_or_else(|| default_workers(cfg!(windows))),
        };
        let max_workers = most.map_or(max_workers, |most| max_workers.min(most));
        if self.min_workers > max_workers && !follows_hosts {
            let (min, max) = (self.min_workers, max_workers);
            return Err(BuildFailure::MinOverMax { min, max });
        }
        if self.launch.max_tasks_per_child == Some(0) {
            return Err(BuildFailure::NoTasks);
        }
        if self.max_age == Some(Duration::ZERO) {
            return Err(BuildFailure::NoAge);
        }
        if self.queue_bytes == Some(0) {
            return Err(BuildFailure::NoQueueBytes);
        }
        Ok(Config {
            max_workers,
            min_workers: self.min_workers,
            idle_timeout: self.idle_timeout,
            max_tasks: self.launch.max_tasks_per_child,
            max_age: self.max_age,
            surge: self.surge,
            on_worker_death: self.on_worker_death,
            initializer_retries: self.initializer_retries,
            start_timeout: self.launch.start_timeout,
            grace_period: self.grace_period,
            max_pipeline: MAX_PIPELINE,
            // The CPUs of other machines are for their own workers.
            cpus: if self.is_elsewhere() { max_workers } else { cpus() },
            brief_row: BRIEF_ROW,
            seed: RandomState::new().hash_one(()),
            hosts,
            follows_hosts,
        })
    }
}

/// So many workers such hosts may have together at first; `None` for any number.
fn first_on(hosts: &[HostConfig]) -> Option<usize> {
    let limits = hosts.iter().map(|host| host.workers);
    limits.reduce(|sum, limit| Some(sum?.saturating_add(limit?)))?
}

/// What a worker calls once.
pub(crate) fn prepare<F: 'static, A: Serialize>(_: F, args: &A) -> Result<Call, BuildFailure> {
    let encode = |choice: &_| Payload::encode(args, usize::MAX, choice);
    Call::prepare::<F, _>(encode, BuildFailure::Unregistered, |function, error| {
        BuildFailure::Arguments { function, error: error.of(function) }
    })
}

/// A worker takes no larger payload, not even with its last frame.
fn prepared_hook(
    hook: Option<Result<Arc<ExitHook>, BuildFailure>>,
    limit: usize,
) -> Result<Option<Arc<ExitHook>>, BuildFailure> {
    let hook = hook.transpose()?;
    match &hook {
        Some(hook) if hook.call.arguments.len() > limit => {
            let error = Fault::TooLarge { limit }.into();
            Err(BuildFailure::Arguments { function: hook.call.name, error })
        }
        _ => Ok(hook),
    }
}
