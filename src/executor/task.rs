//! A task with settings of its own.

mod attempts;

use std::any::type_name;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::ResourceLimits;
use crate::error::{Cause, RunError, SubmitError};
use crate::executor::blocking::block_on;
use crate::executor::deadline::Deadline;
use crate::executor::handle::TaskHandle;
use crate::function::{Call, TaskFn};
use crate::pool::task::{Extras, TaskCell, TaskContext, TaskPlace};
use crate::pool::{Pool, Wishes, submit_error};

/// Configures one task; see [`ProcessPoolExecutor::task`](crate::ProcessPoolExecutor::task).
///
/// ```
/// # fn convert(file: String) -> usize { file.len() }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// use std::time::Duration;
///
/// let size = pool
///     .task(convert, "film.mkv".to_owned())
///     .timeout(Duration::from_secs(60))
///     .retries(2)
///     .run()
///     .await?;
/// # let _: usize = size;
/// # Ok(())
/// # }
/// ```
///
/// `A` is the type of the arguments, and `R` that of the result. So it can be a field, or a
/// parameter:
///
/// ```
/// use procpool::{RunError, TaskBuilder};
/// use std::time::Duration;
///
/// async fn patiently<A, R>(task: TaskBuilder<'_, A, R>) -> Result<R, RunError>
/// where
///     R: serde::de::DeserializeOwned,
/// {
///     task.timeout(Duration::from_secs(3_600)).retries(5).run().await
/// }
/// ```
#[must_use = "a task is submitted by `submit`, `try_submit`, `run` or `try_run`"]
pub struct TaskBuilder<'a, A, R> {
    pool: &'a Pool,
    function: &'static str,
    /// Encodes the arguments for this function.
    prepare: fn(&Pool, &A) -> Result<Call, SubmitError>,
    args: A,
    wishes: Wishes,
    deadline: Deadline,
    begin_within: Option<Duration>,
    extras: Extras,
    /// Why its context cannot be sent.
    context_fault: Option<Cause>,
    /// `None`: only if it is run.
    aborts: Option<bool>,
    /// Set with a condition, which decodes the result.
    take_decoded: Option<fn(&TaskCell) -> Option<R>>,
    result: PhantomData<fn() -> R>,
}

/// Either way to hand a task to the pool.
type Enqueue = fn(&Pool, TaskPlace, Call, Wishes, Extras) -> Result<Arc<TaskCell>, SubmitError>;

impl<'a, A, R> TaskBuilder<'a, A, R> {
    pub(super) fn new<F, M>(pool: &'a Pool, _: F, args: A) -> Self
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        Self {
            pool,
            function: type_name::<F>(),
            prepare: Pool::prepare::<F, A>,
            args,
            wishes: pool.default_wishes(),
            deadline: Deadline::NEVER,
            begin_within: None,
            extras: Extras::default(),
            context_fault: None,
            aborts: None,
            take_decoded: None,
            result: PhantomData,
        }
    }

    /// A name for the task, beside that of its function. It is shown in errors, in
    /// [events](crate::PoolEvent), among the [workers](crate::ProcessPoolExecutor::workers), and in
    /// the log. It helps where one function does many things, as in a binding for another language.
    /// Default: none.
    ///
    /// ```
    /// # fn call(code: Vec<u8>) -> Vec<u8> { code }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// let result = pool.task(call, b"...".to_vec()).label("resize").run().await;
    /// if let Err(error) = result {
    ///     // task 7 "resize" (`service::call`) failed: worker 1 (pid 4711) was killed by signal 9 …
    ///     eprintln!("{error}");
    /// }
    /// # }
    /// ```
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.extras.label = Some(label.into());
        self
    }

    /// A value that goes with the task: the id of a request, a tenant, what a tracer calls its
    /// parent span. The task finds it by [`Current::context`](crate::Current::context), so no
    /// function needs a parameter for it. A later call replaces it. Default: none, which costs
    /// nothing.
    ///
    /// It is sent as arguments are, at each attempt, and not looked at by the pool. One that cannot
    /// be encoded is an error of `submit`.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Request {
    ///     id: String,
    ///     tenant: u32,
    /// }
    ///
    /// fn thumbnail(image: Vec<u8>) -> Result<Vec<u8>, String> {
    ///     let request: Option<Request> = procpool::current().context().map_err(|e| e.to_string())?;
    ///     if let Some(Request { id, tenant }) = request {
    ///         eprintln!("request {id} of tenant {tenant}: {} bytes", image.len());
    ///     }
    ///     Ok(image)
    /// }
    ///
    /// procpool::register!(thumbnail);
    ///
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
    /// let request = Request { id: "7f3a".to_owned(), tenant: 42 };
    /// let small = pool.task(thumbnail, vec![0; 100]).context(request).run().await?;
    /// # drop(small);
    /// # Ok(())
    /// # }
    /// # fn main() {}
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "it is the task's from now on")]
    pub fn context<C>(mut self, value: C) -> Self
    where
        C: Serialize + DeserializeOwned + 'static,
    {
        #[cfg(feature = "hosts")]
        let _far = self.pool.going_far();
        let context = TaskContext::new(&value, self.pool.max_payload);
        self.context_fault = context.as_ref().err().cloned();
        self.extras.context = context.ok();
        self
    }

    /// Limits on what this task may take of the machine, beside those of
    /// [the pool](crate::Builder::limits): memory, CPU time and more, as
    /// [`ResourceLimits`](ResourceLimits#of-one-task) says with an example. Each attempt has all of
    /// them. Later calls replace limits of the same kind; `None` takes all of them back. One that
    /// cannot be set for a task is an [error](SubmitError::is_unsupported_limit) of `submit`.
    /// Default: none, which costs nothing.
    pub fn limits(mut self, limits: impl Into<Option<ResourceLimits>>) -> Self {
        self.extras.set_limits(limits.into());
        self
    }

    /// Whether the task is [aborted](TaskHandle::abort) when what waits for it [is
    /// dropped](crate::guide::conventions#what-a-drop-does): the future of [`run`](Self::run) or
    /// [`try_run`](Self::try_run), or the handle that [`submit`](Self::submit) or
    /// [`try_submit`](Self::try_submit) returns. Default: `true` for the futures, `false` for the
    /// handle.
    ///
    /// ```
    /// # fn store(page: String) -> u64 { page.len() as u64 }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
    /// // Once it is accepted it is stored, be it that nobody waits for it any more.
    /// let size = pool.task(store, "a page".to_owned()).abort_on_drop(false).run().await?;
    /// # let _: u64 = size;
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort_on_drop(mut self, abort: bool) -> Self {
        self.aborts = Some(abort);
        self
    }

    /// Limits the running time of one attempt. Time in the queue does not count. When the time is
    /// up the task is ended, with its worker, and fails with
    /// [`is_timeout`](crate::TaskError::is_timeout). A task that checks
    /// [`is_cancelled`](crate::Current::is_cancelled) may return instead. Then it has a result. The
    /// [backtrace](crate::TaskPanic::backtrace) of a panic takes time that does not count.
    ///
    /// Default: the pool's [`default_timeout`](crate::Builder::default_timeout). `None` exempts
    /// this task from it.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.wishes.timeout = limit.into();
        self
    }

    /// When the task must be over. Everything counts: the wait for room in the
    /// queue, the time in the queue, and all attempts. It is a [`Duration`] from the submission on,
    /// or an [`Instant`].
    ///
    /// A task never begins after its deadline. One that runs is ended, as by a
    /// [`timeout`](Self::timeout). It fails with [`is_deadline`](crate::TaskError::is_deadline),
    /// and is not tried again. `None` takes it back. Default: none.
    pub fn deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// How long the task may wait to begin, for room in the queue and in the queue. One that waits
    /// longer fails with [`is_not_begun`](crate::TaskError::is_not_begun). (A task that its worker
    /// was about to begin when the time was up may still begin.) How long it runs is for
    /// [`timeout`](Self::timeout) to say. `None` takes it back. Default: no limit.
    ///
    /// So a service that has too much to do says so soon, and does not work for those who have gone
    /// away:
    ///
    /// ```
    /// # fn thumbnail(image: Vec<u8>) -> Vec<u8> { image }
    /// # async fn example(pool: procpool::ProcessPoolExecutor, image: Vec<u8>) -> (u16, Vec<u8>) {
    /// use std::time::Duration;
    ///
    /// let task = pool.task(thumbnail, image);
    /// let task = task.begin_within(Duration::from_secs(1)).timeout(Duration::from_secs(60));
    /// match task.run().await {
    ///     Ok(small) => (200, small),
    ///     Err(error) if error.is_not_begun() => (503, b"try again later".to_vec()),
    ///     Err(error) => (500, error.to_string().into_bytes()),
    /// }
    /// # }
    /// ```
    ///
    /// Only the first attempt counts: what is [tried again](Self::retries) has begun. A task that
    /// was sent to its worker, but not begun because that worker died, has not.
    pub fn begin_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.begin_within = limit.into();
        self
    }

    /// Tasks of a higher priority begin first. Tasks of the same priority and
    /// [tenant](Self::tenant) begin in the order of their submission. Default: 0. A task that runs
    /// is never interrupted. Quick tasks that were sent ahead to their workers, half a millisecond
    /// of work at most, may still come first.
    ///
    /// A steady flow of tasks with higher priorities can hold up lower ones for ever.
    pub fn priority(mut self, priority: i32) -> Self {
        self.wishes.priority = priority;
        self
    }

    /// Tasks with equal keys run on the same worker while it lives, one after the other. So they
    /// find there what earlier ones have left, such as a cache, or an open file. They wait for that
    /// worker even if others are idle. When it is gone, they go on with another one. Default: none.
    ///
    /// ```
    /// # fn reply(session: u64, text: String) -> String { format!("{session}: {text}") }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
    /// let session = 7;
    /// let greeting = pool.task(reply, (session, "hello".to_owned())).sticky(session).run().await?;
    /// # drop(greeting);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A new key belongs to the worker that gets its first task. That is the idle worker with the
    /// fewest keys. If no worker is idle, it is a new one. So keys that come one by one to an idle
    /// pool share a worker. To spread them, set [`min_workers`](crate::Builder::min_workers).
    ///
    /// The pool remembers the last 10,000 keys. Keys are compared by their hash, so now and then
    /// two different ones may share a worker, which does no harm.
    pub fn sticky(mut self, key: impl Hash) -> Self {
        self.wishes.key = Some(hash_of(key));
        self
    }

    /// For whom the task is: a customer, a user, a job of a batch. Tenants share the workers
    /// fairly, however many tasks each of them has, and however long these take. The tasks of one
    /// tenant run in the order of their submission. Tasks without a tenant are one more tenant.
    /// Default: none. If no task has a tenant, all of them run in the order of submission.
    ///
    /// ```
    /// # fn thumbnail(image: Vec<u8>) -> Vec<u8> { image }
    /// # struct Request { customer: u64, image: Vec<u8> }
    /// # async fn example(
    /// #     pool: procpool::ProcessPoolExecutor,
    /// #     request: Request,
    /// # ) -> Result<Vec<u8>, procpool::RunError> {
    /// pool.task(thumbnail, request.image).tenant(request.customer).run().await
    /// # }
    /// ```
    ///
    /// Running time is what is shared, by *deficit round robin*. The tenants who have tasks that
    /// wait take turns, half a millisecond at a time. A task that takes longer is paid for in later
    /// turns. If a task kills its worker, its tenant also pays for the start of the next one. So a
    /// tenant whose tasks hang or crash delays another one by no more than the tasks that run at
    /// that moment, and one turn. While others have nothing to do, a tenant may have all workers,
    /// and pays nothing for that later. But a task that still runs when another tenant comes counts
    /// in full, up to an hour.
    ///
    /// A higher [priority](Self::priority) comes before any share: tenants share by priority. A
    /// task that runs is never interrupted, so give long tasks a [`timeout`](Self::timeout). The
    /// [bounded queue](crate::Builder::queue_capacity) is one for all: a tenant who fills it makes
    /// the others wait for room. Where that can happen, bound what each of them may have in it, as
    /// by a [`tokio::sync::Semaphore`] for each.
    ///
    /// Tenants are compared by a hash of `key`, so two of many millions may share one share.
    pub fn tenant(mut self, key: impl Hash) -> Self {
        self.wishes.tenant = Some(hash_of(key));
        self
    }

    /// How many values that the task [emits](crate::Current::emit) may wait for the reader of
    /// [`TaskHandle::emitted`]. When there are as many, `emit` waits. It also waits while the
    /// values of this attempt take a megabyte, whatever is set here. (Shared memory in values does
    /// not count.) Default: 16. `None` and zero mean the default.
    ///
    /// A higher number makes many small values faster: the pool tells the task only once for each
    /// half of them that they were taken.
    ///
    /// ```
    /// # fn primes(limit: u64) -> u64 { limit }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::SubmitError> {
    /// let handle = pool.task(primes, 1_000_000).emit_capacity(1_000).submit().await?;
    /// let primes = handle.emitted::<u64>();
    /// # drop(primes);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_capacity(mut self, values: impl Into<Option<usize>>) -> Self {
        let values = values.into().filter(|values| *values != 0);
        self.extras.emit_capacity = values.map(|values| u32::try_from(values).unwrap_or(u32::MAX));
        self
    }

    /// Queues the task; see the pool's [`submit`](crate::ProcessPoolExecutor::submit).
    ///
    /// # Errors
    ///
    /// As the pool's [`submit`](crate::ProcessPoolExecutor::submit), and
    /// [`is_deadline`](SubmitError::is_deadline) if its [deadline](Self::deadline) passes while it
    /// waits for room in the queue, or [`is_not_begun`](SubmitError::is_not_begun) if the time
    /// passes in which it must [begin](Self::begin_within).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, nothing has been submitted.
    pub async fn submit(mut self) -> Result<TaskHandle<R>, SubmitError> {
        self.extras.is_held = true;
        self.submit_by(Pool::enqueue).await
    }

    fn prepare(&mut self) -> Result<Call, SubmitError> {
        let prepared = (self.prepare)(self.pool, &self.args)?;
        match self.context_fault.take().or_else(|| self.extras.fault()) {
            Some(cause) => Err(submit_error(prepared.name, cause)),
            None => Ok(prepared),
        }
    }

    async fn submit_by(mut self, enqueue: Enqueue) -> Result<TaskHandle<R>, SubmitError> {
        let until = set_deadlines(self.pool, &mut self.wishes, self.deadline, self.begin_within);
        let label = self.extras.label.clone();
        let labelled = |error: SubmitError| error.labelled(label.as_ref());
        let prepared = self.prepare().map_err(labelled)?;
        drop(self.args); // they need not live while the task waits for room
        let place = self.pool.take_place(&prepared, until).await.map_err(labelled)?;
        let enqueued = enqueue(self.pool, place, prepared, self.wishes, self.extras);
        let cell = enqueued.map_err(labelled)?;
        let handle = TaskHandle::new(cell, Arc::clone(&self.pool.commons));
        Ok(handle.abort_on_drop(self.aborts.unwrap_or(false)))
    }

    /// Queues the task without waiting; see the pool's
    /// [`try_submit`](crate::ProcessPoolExecutor::try_submit).
    ///
    /// # Errors
    ///
    /// As the pool's [`try_submit`](crate::ProcessPoolExecutor::try_submit).
    pub fn try_submit(mut self) -> Result<TaskHandle<R>, SubmitError> {
        self.extras.is_held = true;
        self.try_submit_as_is()
    }

    fn try_submit_as_is(mut self) -> Result<TaskHandle<R>, SubmitError> {
        set_deadlines(self.pool, &mut self.wishes, self.deadline, self.begin_within);
        let label = self.extras.label.clone();
        let labelled = |error: SubmitError| error.labelled(label.as_ref());
        let prepared = self.prepare().map_err(labelled)?;
        let place = self.pool.try_take_place(&prepared).map_err(labelled)?;
        let enqueued = self.pool.enqueue(place, prepared, self.wishes, self.extras);
        let cell = enqueued.map_err(labelled)?;
        let handle = TaskHandle::new(cell, Arc::clone(&self.pool.commons));
        Ok(handle.abort_on_drop(self.aborts.unwrap_or(false)))
    }

    /// Queues the task and awaits its result; see the pool's
    /// [`run`](crate::ProcessPoolExecutor::run).
    ///
    /// # Errors
    ///
    /// As the pool's [`run`](crate::ProcessPoolExecutor::run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task, and ends it if it runs, unless
    /// [`abort_on_drop`](Self::abort_on_drop) says otherwise.
    pub async fn run(self) -> Result<R, RunError>
    where
        R: DeserializeOwned,
    {
        let run = Self { aborts: self.aborts.or(Some(true)), ..self };
        let take_decoded = run.take_decoded;
        Ok(run.submit_by(Pool::enqueue_and_wait).await?.result(take_decoded).await?)
    }

    /// As [`run`](Self::run), but never waits for room in the queue; see
    /// the pool's [`try_run`](crate::ProcessPoolExecutor::try_run).
    ///
    /// # Errors
    ///
    /// As the pool's [`try_run`](crate::ProcessPoolExecutor::try_run).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task, and ends it if it runs, unless
    /// [`abort_on_drop`](Self::abort_on_drop) says otherwise.
    pub async fn try_run(self) -> Result<R, RunError>
    where
        R: DeserializeOwned,
    {
        let run = Self { aborts: self.aborts.or(Some(true)), ..self };
        let take_decoded = run.take_decoded;
        Ok(run.try_submit_as_is()?.result(take_decoded).await?)
    }

    /// As [`submit`](Self::submit), for threads outside of the runtime; see
    /// the pool's [`blocking_submit`](crate::ProcessPoolExecutor::blocking_submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    ///
    /// As the pool's [`blocking_submit`](crate::ProcessPoolExecutor::blocking_submit).
    #[track_caller]
    pub fn blocking_submit(self) -> Result<TaskHandle<R>, SubmitError> {
        block_on(self.submit())
    }

    /// As [`run`](Self::run), for threads outside of the runtime; see
    /// the pool's [`blocking_run`](crate::ProcessPoolExecutor::blocking_run).
    ///
    /// # Errors
    ///
    /// As the pool's [`run`](crate::ProcessPoolExecutor::run).
    ///
    /// # Panics
    ///
    /// As the pool's [`blocking_submit`](crate::ProcessPoolExecutor::blocking_submit).
    #[track_caller]
    pub fn blocking_run(self) -> Result<R, RunError>
    where
        R: DeserializeOwned,
    {
        block_on(self.run())
    }
}

impl<A: fmt::Debug, R> fmt::Debug for TaskBuilder<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("function", &self.function)
            .field("args", &self.args)
            .field("label", &self.extras.label)
            .field("options", &self.wishes)
            .finish_non_exhaustive()
    }
}

/// Counts the limits of time from now on, and on the pool's clock. Returns until when the task may
/// wait for room, and what fails it then. Not generic, so users' crates do not compile it.
fn set_deadlines(
    pool: &Pool,
    wishes: &mut Wishes,
    deadline: Deadline,
    begin_within: Option<Duration>,
) -> Option<(Instant, Cause)> {
    let (clock, began) = (pool.commons.clock, pool.commons.began);
    let on_clock = |at: Instant| at.saturating_duration_since(began);
    let deadline = deadline.instant(clock);
    let begin_deadline = begin_within.and_then(|limit| {
        let at = clock.now().checked_add(limit)?; // or it is too far away to matter
        Some((at, limit))
    });
    wishes.deadline = deadline.map(on_clock);
    wishes.begin = begin_deadline.map(|(at, limit)| (on_clock(at), limit));
    let expires = deadline.map(|at| (at, Cause::Expired));
    let begins = begin_deadline.map(|(at, limit)| (at, Cause::NotBegun(limit)));
    expires.into_iter().chain(begins).min_by_key(|(at, _)| *at)
}

/// What a key is known by.
pub(super) fn hash_of(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
