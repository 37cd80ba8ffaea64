//! Settings in, a pool out.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::base::{Clock, ResourceLimits};
use crate::codec::Fault;
use crate::error::{BuildError, BuildErrorKind};
use crate::function::{Call, Registry};
use crate::memory::{Arena, Payload};
use crate::parent::birth::{ForkServer, ServerLaunch, Spawn, Start, StartMethod};
use crate::parent::{Launch, Program, WorkerOutput};
use crate::pool::admission::{Limits, Pool};
use crate::pool::commons::Commons;
use crate::pool::engine::{self, Engine};
use crate::pool::exits::ExitHook;
use crate::pool::size::{allowed_workers, cpus, default_workers};
use crate::scheduler::{Config, OnWorkerDeath, Scheduler};
use crate::wire::role::{is_uninitialised_worker, report_missing_init};

/// The most tasks in the hands of one worker. It must leave room on the page of claims.
const MAX_PIPELINE: usize = 256;
/// So many brief tasks in a row are no accident.
const BRIEF_ROW: u32 = 64;

/// How a pool is to be; what each of them means the builder says.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) max_workers: Option<usize>,
    pub(crate) min_workers: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_tasks_per_child: Option<u64>,
    pub(crate) max_memory_per_child: Option<u64>,
    pub(crate) limits: ResourceLimits,
    pub(crate) queue_capacity: usize,
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) on_worker_death: OnWorkerDeath,
    pub(crate) grace_period: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) max_payload: usize,
    pub(crate) shared_memory: usize,
    pub(crate) program: Program,
    pub(crate) start_method: StartMethod,
    pub(crate) preload: Option<Result<Arc<Call>, BuildErrorKind>>,
    pub(crate) output: WorkerOutput,
    pub(crate) initializer: Option<Result<Arc<Call>, BuildErrorKind>>,
    pub(crate) exit_hook: Option<Result<Arc<ExitHook>, BuildErrorKind>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "procpool".to_owned(),
            max_workers: None,
            min_workers: 0,
            idle_timeout: None,
            max_tasks_per_child: None,
            max_memory_per_child: None,
            limits: ResourceLimits::default(),
            queue_capacity: 10_000,
            default_timeout: None,
            on_worker_death: OnWorkerDeath::default(),
            grace_period: Duration::from_secs(2),
            start_timeout: Duration::from_secs(30),
            max_payload: 1 << 30,
            shared_memory: 256 << 20,
            program: Program::default(),
            start_method: StartMethod::default(),
            preload: None,
            output: WorkerOutput::default(),
            initializer: None,
            exit_hook: None,
        }
    }
}

impl Settings {
    /// More does not fit into a frame.
    pub(crate) const MAX_PAYLOAD: usize = crate::wire::frame::MAX_PAYLOAD;

    /// Makes the pool, and has it run.
    pub(crate) fn build(self) -> Result<Arc<Pool>, BuildError> {
        if is_uninitialised_worker() {
            report_missing_init();
            return Err(BuildErrorKind::NotInitialised.into());
        }
        if let Some(name) = Registry::global().ambiguity() {
            return Err(BuildErrorKind::AmbiguousFunction(name.to_owned()).into());
        }
        let runtime = Handle::try_current().map_err(|_| BuildErrorKind::NoRuntime)?;
        let config = self.scheduler_config()?;
        let preload = self.preload.clone().transpose()?;
        let start: Arc<dyn Start> = match self.start_method {
            StartMethod::Spawn => Arc::new(Spawn),
            StartMethod::ForkServer => {
                let (server, work) = ForkServer::new(ServerLaunch {
                    name: self.name.clone(),
                    program: self.program.clone(),
                    preload,
                    output: self.output.clone(),
                    start_timeout: self.start_timeout,
                });
                runtime.spawn(work);
                Arc::new(server)
            }
        };
        let (pool, work) = self.open(config, &runtime, Clock::REAL, start)?;
        runtime.spawn(work);
        Ok(pool)
    }

    /// The pool, and the task that has to run it.
    pub(crate) fn open(
        self,
        config: Config,
        runtime: &Handle,
        clock: Clock,
        start: Arc<dyn Start>,
    ) -> Result<(Arc<Pool>, impl Future<Output = ()> + Send + use<>), BuildError> {
        let max_workers = config.max_workers;
        let (scheduler, arena) = (Scheduler::new(config), Arena::new(self.shared_memory));
        let (name, capacity) = (self.name.clone(), self.queue_capacity);
        let (commons, receiver) = Commons::new(name, scheduler, capacity, arena, clock);
        let engine = Engine::new(commons);
        let hook = prepared_hook(self.exit_hook, self.max_payload)?;
        let launch = Arc::new(Launch {
            name: self.name,
            program: self.program,
            forked: start.forks(),
            preload: self.preload.transpose()?,
            initializer: self.initializer.transpose()?,
            exit_hook: hook.as_ref().map(|hook| Arc::clone(&hook.call)),
            max_payload: self.max_payload,
            shared_memory: self.shared_memory,
            max_tasks: self.max_tasks_per_child,
            max_memory: self.max_memory_per_child,
            limits: self.limits,
            output: self.output,
            start_timeout: self.start_timeout,
        });
        let (closed, closing) = watch::channel(None);
        let (own, runtime) = (Arc::clone(&engine), runtime.clone());
        let work = engine::run(own, start, launch, hook, runtime, receiver, closed);
        let limits = Limits {
            max_workers: AtomicUsize::new(max_workers),
            max_payload: self.max_payload,
            queue_capacity: self.queue_capacity,
            default_timeout: self.default_timeout,
            counts_tasks: self.max_tasks_per_child.is_some(),
        };
        Ok((Pool::new(engine, closing, limits), work))
    }

    fn scheduler_config(&self) -> Result<Config, BuildErrorKind> {
        let max_workers = match self.max_workers {
            _ if self.queue_capacity == 0 => return Err(BuildErrorKind::NoQueue),
            Some(count) => allowed_workers(count, cfg!(windows))?,
            None => default_workers(cfg!(windows)),
        };
        if self.min_workers > max_workers {
            let (min, max) = (self.min_workers, max_workers);
            return Err(BuildErrorKind::MinOverMax { min, max });
        }
        if self.max_tasks_per_child == Some(0) {
            return Err(BuildErrorKind::NoTasks);
        }
        Ok(Config {
            max_workers,
            min_workers: self.min_workers,
            idle_timeout: self.idle_timeout,
            max_tasks: self.max_tasks_per_child,
            on_worker_death: self.on_worker_death,
            start_timeout: self.start_timeout,
            grace_period: self.grace_period,
            max_pipeline: MAX_PIPELINE,
            cpus: cpus(),
            brief_row: BRIEF_ROW,
        })
    }
}

/// What a worker calls once.
pub(crate) fn prepare<F: 'static, A: Serialize>(_: F, args: &A) -> Result<Call, BuildErrorKind> {
    let encode = |choice: &_| Payload::encode(args, usize::MAX, choice);
    Call::prepare::<F, _>(encode, BuildErrorKind::Unregistered, |function, error| {
        BuildErrorKind::Arguments { function, source: error.of(function) }
    })
}

/// A worker takes no larger payload, not even with its last frame.
fn prepared_hook(
    hook: Option<Result<Arc<ExitHook>, BuildErrorKind>>,
    limit: usize,
) -> Result<Option<Arc<ExitHook>>, BuildErrorKind> {
    let hook = hook.transpose()?;
    match &hook {
        Some(hook) if hook.call.arguments.len() > limit => {
            let source = Fault::TooLarge { limit }.into();
            Err(BuildErrorKind::Arguments { function: hook.call.name, source })
        }
        _ => Ok(hook),
    }
}
