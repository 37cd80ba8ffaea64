//! What is called around each fork of a fork server.

use serde::Serialize;

use crate::executor::builder::Builder;
use crate::function::Callable;
use crate::pool::{HookStage, prepare};

impl Builder {
    /// A registered function that each worker calls right after it was forked, before the
    /// [initializer](Self::initializer): the place to mend what a fork has duplicated. If it is
    /// called several times there are several such hooks, which run in this order. They may be
    /// `async`, and find what was [preloaded](Self::preload). What they return is dropped, but an
    /// `Err`, or a panic, is a failed start, as one of the initializer is, and the error names the
    /// hook.
    ///
    /// A generator of random numbers that the preload has used would give the same numbers in all
    /// workers, so do ids that are made of them. The chapter on [start methods] has a list of
    /// such things, and says which hook helps.
    ///
    /// With [`StartMethod::Spawn`](crate::StartMethod::Spawn) nothing is forked, and no hook is
    /// called: so the same program works with both methods.
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

    /// A registered function that the fork server calls before each fork. With
    /// [`after_fork_in_parent`](Self::after_fork_in_parent) and [`after_fork`](Self::after_fork) it
    /// is the counterpart of Python's `os.register_at_fork`, for libraries that have to be prepared
    /// for a fork, as an embedded interpreter has (`PyOS_BeforeFork`). If there are several, the
    /// one that was added last is called first, as in Python.
    ///
    /// It must not be `async` and must leave no threads behind. If it fails, no worker is forked,
    /// which is a failed start; what was to follow the fork in the server is called nevertheless.
    /// It makes each fork longer, and the server has to answer within ten seconds, or half of the
    /// [start timeout](Self::start_timeout).
    pub fn before_fork<F, A, M>(self, function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        self.hook(HookStage::Before, function, &args)
    }

    /// A registered function that the fork server calls after each fork, or after one that has
    /// failed; see [`before_fork`](Self::before_fork). Several are called in this order. If one
    /// fails, the worker that was forked is ended, and its start has failed.
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
