//! Tasks that end with their scope.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::TaskId;
use crate::error::SubmitError;
use crate::executor::completion::{Completed, Identified, ids};
use crate::executor::ending::Ending;
use crate::executor::handle::TaskHandle;
use crate::executor::pool::ProcessPoolExecutor;
use crate::function::TaskFn;

/// Tasks that belong together. They are taken as they end. [When the set is
/// dropped](crate::guide::conventions#what-a-drop-does), those that are left are aborted. It is to
/// a pool what [`tokio::task::JoinSet`] is to a runtime, and has the same methods.
///
/// All tasks have the same type of result. They may be of several pools; an id is unique within its
/// pool.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// use procpool::TaskSet;
///
/// let mut set = TaskSet::new();
/// for n in 0..10 {
///     set.submit(&pool, square, n).await?;
/// }
/// while let Some(finished) = set.join_next().await {
///     println!("{}: {:?}", finished.id, finished.result?); // an error ends the others
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Neighbors
///
/// A `JoinSet` yields bare results; here each comes as a [`Completed`] with the id that
/// [`submit`](Self::submit) returned. A panic is an error like any other, so nothing here panics.
/// Where a `JoinSet` of [`run`](ProcessPoolExecutor::run) futures would spawn a tokio task for
/// each, a set needs none.
///
/// [`as_completed`](crate::as_completed) is for tasks that outlive whoever waits for them: it owns
/// the handles that it is given, takes no more, and detaches what is left when it is dropped.
///
/// There is no `scope` as for threads, because it would have nothing to add. A scope of threads
/// does not return before its threads are over, so that they can borrow. Tasks do not borrow: their
/// arguments are encoded when they are submitted. A scope for futures could not insist on being
/// polled to its end either, so when it is dropped it could do no more than a set does.
#[must_use = "dropping the set aborts its tasks"]
pub struct TaskSet<R> {
    /// Each handle aborts its task or not, as the set does.
    tasks: FuturesUnordered<Identified<R>>,
    aborts: bool,
}

impl<R> TaskSet<R> {
    /// An empty set.
    pub fn new() -> Self {
        Self { tasks: FuturesUnordered::new(), aborts: true }
    }

    /// Whether the tasks that are left in the set are [aborted](TaskHandle::abort) when it is
    /// dropped. Default: yes; otherwise they are detached and go on. This replaces the setting of
    /// each handle.
    pub fn abort_on_drop(mut self, abort: bool) -> Self {
        self.aborts = abort;
        self.handles().for_each(|handle| handle.set_abort_on_drop(abort));
        self
    }

    /// How many tasks have not been taken. Some of them may be over.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether every task has been taken.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Queues a task in `pool`, and puts it into the set; see [`ProcessPoolExecutor::submit`]. A
    /// task with settings of its own is [inserted](Self::insert).
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::submit`]. The set is as before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, nothing has been submitted.
    pub async fn submit<F, A, M>(
        &mut self,
        pool: &ProcessPoolExecutor,
        f: F,
        args: A,
    ) -> Result<TaskId, SubmitError>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        Ok(self.insert(pool.submit(f, args).await?))
    }

    /// Puts a task into the set. From now on the set's [`abort_on_drop`](Self::abort_on_drop)
    /// counts for it, and not that of the handle.
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::SubmitError> {
    /// # let mut set = procpool::TaskSet::new();
    /// set.insert(pool.task(square, 12).retries(2).submit().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(&mut self, handle: TaskHandle<R>) -> TaskId {
        let id = handle.id();
        handle.set_abort_on_drop(self.aborts);
        self.tasks.push(Identified(handle));
        id
    }

    /// The tasks that have not been taken, in no order. Use it to ask for their status, or to end
    /// one.
    pub fn handles(&self) -> impl Iterator<Item = &TaskHandle<R>> {
        self.tasks.iter().map(|identified| &identified.0)
    }

    /// [Aborts](TaskHandle::abort) all tasks. They stay in the set, and are taken as cancelled once
    /// they are over, or with their results if these were faster.
    pub fn abort_all(&self) {
        self.handles().for_each(TaskHandle::abort);
    }

    /// Aborts all tasks and takes them out of the set. Once the [`Ending`] is ready they are over,
    /// and none runs any more.
    ///
    /// It begins when this is called. The `shutdown` of a `JoinSet` begins when it is polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn shutdown(&mut self) -> Ending<()> {
        self.abort_all();
        let tasks: Vec<_> = self.handles().map(TaskHandle::untyped).collect();
        self.tasks.clear();
        Ending::new(async move {
            for task in tasks {
                let _ = poll_fn(|cx| task.poll_end(cx)).await;
            }
        })
    }

    /// Takes all tasks out of the set without aborting them: they go on, and their results are
    /// lost.
    pub fn detach_all(&mut self) {
        self.handles().for_each(|handle| handle.set_abort_on_drop(false));
        self.tasks.clear();
    }
}

impl<R: DeserializeOwned> TaskSet<R> {
    /// Waits until one of the tasks is over, and takes it out of the set; `None` if the set is
    /// empty.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped no task has been taken.
    pub async fn join_next(&mut self) -> Option<Completed<R>> {
        self.next().await
    }

    /// Takes a task that is over already; `None` if none is.
    pub fn try_join_next(&mut self) -> Option<Completed<R>> {
        self.next().now_or_never().flatten()
    }

    /// Waits until all tasks are over, and returns them in the order in which they ended. It does
    /// not panic at the first failure, as that of a `JoinSet` does.
    ///
    /// # Cancel safety
    ///
    /// It owns the set: if the future is dropped, the tasks that are left are aborted and all
    /// results are lost.
    pub async fn join_all(self) -> Vec<Completed<R>> {
        self.collect().await
    }
}

/// As [`join_next`](TaskSet::join_next). The end of the stream is not final: it goes on when
/// another task is put into the set.
impl<R: DeserializeOwned> Stream for TaskSet<R> {
    type Item = Completed<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.tasks.poll_next_unpin(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<R> Default for TaskSet<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Extend<TaskHandle<R>> for TaskSet<R> {
    fn extend<I: IntoIterator<Item = TaskHandle<R>>>(&mut self, handles: I) {
        for handle in handles {
            self.insert(handle);
        }
    }
}

impl<R> FromIterator<TaskHandle<R>> for TaskSet<R> {
    fn from_iter<I: IntoIterator<Item = TaskHandle<R>>>(handles: I) -> Self {
        let mut set = Self::new();
        set.extend(handles);
        set
    }
}

impl<R> fmt::Debug for TaskSet<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet").field("tasks", &ids(&self.tasks)).finish_non_exhaustive()
    }
}
