//! Functions of the user's that the workers of a pool call, and the fork server.

use std::sync::Arc;

use serde::Serialize;

use crate::executor::builder::Builder;
use crate::function::{Callable, TaskFn};
use crate::parent::StartMethod;
use crate::pool::{ExitHook, HookStage, prepare};

/// # Functions of yours
///
/// How workers are started, and what each calls before its first task and after its last one.
impl Builder {
    /// How workers are started. Default: [`StartMethod::Spawn`], which works everywhere.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.settings.launch.start_method = method;
        self
    }

    /// A registered function that is called once before workers are forked, to build what all of
    /// them need: a model, an index, a dictionary. Tasks find what it returned by
    /// [`procpool::preloaded()`](crate::preloaded). Its result need not be a serde type. Default:
    /// none.
    ///
    /// With [`StartMethod::ForkServer`] the server calls it, and calls it again only if the server
    /// has died. With [`StartMethod::Spawn`] there is no server. Each worker calls it, before the
    /// [initializer](Self::initializer). So the same program works with both, at the price of time
    /// and memory.
    ///
    /// A fork copies memory, descriptors and one thread. Therefore
    ///
    /// * the function must not be `async`, and must not leave threads or a runtime behind. Both are
    ///   refused, with an error that says so;
    /// * it must not leave a connection behind, or anything else that workers must not share. Make
    ///   that in the [initializer](Self::initializer), which each worker calls for itself;
    /// * state that must differ in each process, such as the seed of a generator, has to be reset
    ///   by [`after_fork`](Self::after_fork);
    /// * functions that it or a task registers by C's `atexit` are not called in forked workers.
    ///
    /// It fails if it panics, returns `Err`, or does not end within the [start
    /// timeout](Self::start_timeout). If it fails before any worker was ready, the pool is broken,
    /// and every error has its message. Later it is [tried again](Self::initializer_retries).
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use procpool::{ProcessPoolExecutor, StartMethod};
    ///
    /// type Dictionary = HashMap<String, u32>;
    ///
    /// fn load(words: u32) -> Dictionary {
    ///     (0..words).map(|n| (format!("word {n}"), n)).collect() // in earnest, from a file
    /// }
    ///
    /// fn look_up(word: String) -> Option<u32> {
    ///     let dictionary: &Dictionary = procpool::preloaded().expect("the pool has a preload");
    ///     dictionary.get(&word).copied()
    /// }
    ///
    /// procpool::register!(load, look_up);
    ///
    /// fn pool() -> Result<ProcessPoolExecutor, procpool::BuildError> {
    ///     let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    ///     builder.preload(load, 1_000_000).build()
    /// }
    /// # fn main() {}
    /// ```
    pub fn preload<F, A, M>(mut self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.settings.preload = Some(prepare(function, &args));
        self
    }

    /// A registered function that each worker calls once, before its first task. A worker that
    /// replaces another calls it, too. Tasks find what it returned by
    /// [`current().state()`](crate::Current::state). It may be `async`, and its result need not be
    /// a serde type. Default: none.
    ///
    /// It fails if it panics, returns `Err`, or does not end within the [start
    /// timeout](Self::start_timeout). If it fails before any worker was ready, the pool is broken,
    /// and every error has its message. Later it is [tried again](Self::initializer_retries).
    pub fn initializer<F, A, M>(mut self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.settings.initializer = Some(prepare(function, &args));
        self
    }

    /// A registered function that each worker calls once, after its last task, when the pool asks
    /// it to leave. It may be `async`. It finds what the [initializer](Self::initializer) returned
    /// by [`procpool::state()`](crate::state). What it returns is in the report of the shutdown,
    /// for each worker: [`ShutdownReport::exit_results`](crate::ShutdownReport::exit_results).
    /// Default: none.
    ///
    /// It must end within the [grace period](Self::grace_period). Otherwise its worker is killed,
    /// and has no result. It is not called in a worker that dies or is killed. So collect and tidy
    /// up in it, but let no data depend on it.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// fn open() -> Cell<u64> {
    ///     Cell::new(0)
    /// }
    ///
    /// fn total(unit: u64) -> u64 {
    ///     procpool::state::<Cell<u64>>().map_or(0, |count| count.get() * unit)
    /// }
    ///
    /// procpool::register!(open, total);
    ///
    /// fn pool() -> Result<procpool::ProcessPoolExecutor, procpool::BuildError> {
    ///     let builder = procpool::ProcessPoolExecutor::builder();
    ///     builder.initializer(open, ()).exit_hook(total, 1_000).build()
    /// }
    /// # fn main() {}
    /// ```
    pub fn exit_hook<F, A, M>(mut self, function: F, args: A) -> Self
    where
        F: TaskFn<A, M>,
        A: Serialize,
    {
        let hook = prepare(function, &args).map(ExitHook::new::<F::Output>);
        self.settings.exit_hook = Some(hook.map(Arc::new));
        self
    }

    /// A registered function that each worker calls right after it was forked, before the
    /// [initializer](Self::initializer). Use it to reset state that a fork has duplicated. Each
    /// call adds a hook, and hooks run in this order. They may be `async`, and may use what was
    /// [preloaded](Self::preload). What they return is dropped. If one returns an `Err` or panics,
    /// the start has failed, as with an initializer, and the error names the hook.
    ///
    /// For example, a generator of random numbers that the preload has used gives the same numbers
    /// in all workers. Ids that are made of them are the same, too. The chapter on [start methods]
    /// has a list of what a fork duplicates, and says which hook helps.
    ///
    /// With [`StartMethod::Spawn`](crate::StartMethod::Spawn) nothing is forked, and no hook is
    /// called. So the same program works with both methods.
    ///
    /// [start methods]: crate::guide::start_methods#what-a-fork-duplicates
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// use procpool::{ProcessPoolExecutor, StartMethod};
    ///
    /// thread_local! {
    ///     /// Of a small generator of random numbers.
    ///     static SEED: Cell<u64> = const { Cell::new(1) };
    /// }
    ///
    /// fn load() -> Vec<u64> {
    ///     let shuffle = |seed: u64| seed.wrapping_mul(6364136223846793005).wrapping_add(1);
    ///     (0..1000).map(|_| { SEED.set(shuffle(SEED.get())); SEED.get() }).collect()
    /// }
    ///
    /// /// Otherwise all workers would go on with the same numbers.
    /// fn reseed() {
    ///     SEED.set(SEED.get() ^ u64::from(std::process::id()));
    /// }
    ///
    /// procpool::register!(load, reseed);
    ///
    /// fn pool() -> Result<ProcessPoolExecutor, procpool::BuildError> {
    ///     let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    ///     builder.preload(load, ()).after_fork(reseed, ()).build()
    /// }
    /// # fn main() {}
    /// ```
    pub fn after_fork<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::After, function, &args)
    }

    /// A registered function that the fork server calls before each fork. It is for libraries that
    /// have to be prepared for a fork, such as an embedded interpreter (`PyOS_BeforeFork`). If
    /// there are several, the one that was added last is called first. With
    /// [`after_fork_in_parent`](Self::after_fork_in_parent) and [`after_fork`](Self::after_fork) it
    /// is the counterpart of Python's `os.register_at_fork`.
    ///
    /// It must not be `async` and must leave no threads behind. If it fails, no worker is forked,
    /// which is a failed start. The hooks that follow the fork in the server are called
    /// nevertheless. It makes each fork longer. The server has to answer within ten seconds, or
    /// within half of the [start timeout](Self::start_timeout) if that is shorter.
    pub fn before_fork<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::Before, function, &args)
    }

    /// A registered function that the fork server calls after each fork, also after one that has
    /// failed; see [`before_fork`](Self::before_fork). Several are called in the order in which
    /// they were added. If one fails, the worker that was forked is ended, and its start has
    /// failed.
    pub fn after_fork_in_parent<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::AfterInParent, function, &args)
    }

    fn hook<F: 'static, A: Serialize>(mut self, stage: HookStage, function: F, args: &A) -> Self {
        self.settings.hooks.push(prepare(function, args).map(|call| (stage, call)));
        self
    }
}
