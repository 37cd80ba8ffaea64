//! How a task gets into a pool: a place in the queue, an id, a cell, a command.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::base::TaskId;
use crate::error::{BrokenCause, BrokenProcessPool, Cause, ErrorReport, Subject, SubmitError};
use crate::function::{Call, Registry};
use crate::memory::Payload;
#[cfg(feature = "hosts")]
use crate::memory::shared::GoingFar;
use crate::pool::commons::{Command, Commons};
use crate::pool::engine::Engine;
use crate::pool::places::NoPlace;
use crate::pool::shutdown::{CloseReason, Shutdown, ShutdownReport};
use crate::pool::task::cell::TaskCell;
use crate::pool::task::harvest::{Harvest, RepeatedItem};
use crate::pool::task::ledger::Entry;
use crate::pool::task::{Extras, TaskPlace};
use crate::scheduler::{Force, Task, Wishes};

/// A pool, as all of its handles share it. It is shut down when the last of them is dropped.
pub(crate) struct Pool {
    pub(crate) engine: Arc<Engine>,
    pub(crate) commons: Arc<Commons>,
    pub(crate) closed: watch::Receiver<Option<ShutdownReport>>,
    pub(super) next_task: AtomicU64,
    /// Its hosts have no more together.
    pub(super) most_workers: usize,
    pub(crate) max_payload: usize,
    pub(super) queue_capacity: usize,
    pub(super) default_timeout: Option<Duration>,
    /// Whether it matters how many tasks a worker has run.
    pub(crate) counts_tasks: bool,
    /// The names of its hosts that are other ones.
    #[cfg(feature = "hosts")]
    pub(crate) far_hosts: Vec<Arc<str>>,
}

impl Pool {
    /// The error for a task that comes to a pool that accepts no more.
    pub(crate) fn refusal(&self, function: &'static str) -> SubmitError {
        self.refused(Subject::Submission(function))
    }

    pub(crate) fn refused(&self, subject: Subject) -> SubmitError {
        error_of(subject, self.commons.refusal())
    }

    /// Encodes a task's arguments, if it can be accepted at all.
    pub(crate) fn prepare<F: 'static, A: Serialize>(&self, args: &A) -> Result<Call, SubmitError> {
        let name = std::any::type_name::<F>();
        if self.commons.closed.get().is_some() && Registry::global().lookup::<F>().is_some() {
            return Err(self.refusal(name));
        }
        let (limit, arena) = (self.max_payload, &self.commons.arena);
        let encode = |choice: &_| {
            #[cfg(feature = "hosts")]
            let _far = self.going_far();
            Payload::encode_in(args, limit, arena, choice)
        };
        let call = Call::prepare::<F, _>(encode, Cause::Unregistered, Cause::encoding);
        call.map_err(|cause| submit_error(name, cause))
    }

    /// To be kept while something is encoded that may go to another host, if the pool has one.
    #[cfg(feature = "hosts")]
    pub(crate) fn going_far(&self) -> Option<GoingFar> {
        (!self.far_hosts.is_empty()).then(GoingFar::new)
    }

    pub(crate) fn max_workers(&self) -> usize {
        self.commons.max_workers.load(Ordering::Relaxed)
    }

    /// The places for tasks.
    pub(crate) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(self.commons.places.free())
    }

    /// Takes a place in the queue for a task that is [enqueued](Self::enqueue) at once. Waits for
    /// it, but no longer than until a moment, after which it fails for a cause.
    pub(crate) async fn take_place(
        &self,
        prepared: &Call,
        until: Option<(Instant, Cause)>,
    ) -> Result<TaskPlace, SubmitError> {
        // Who submits without a pause lets others run now and then, above all the supervisor.
        tokio::task::consume_budget().await;
        let (places, bytes) = (&self.commons.places, prepared.arguments.len());
        if let Ok(place) = places.try_take(bytes) {
            return Ok(place);
        }
        let place = match until {
            None => places.take(bytes).await,
            Some((moment, cause)) => {
                let clock = self.commons.clock;
                let time_is_up = clock.sleep(moment.saturating_duration_since(clock.now()));
                match select(pin!(places.take(bytes)), time_is_up).await {
                    Either::Left((place, _)) => place,
                    Either::Right(_) => return Err(submit_error(prepared.name, cause)),
                }
            }
        };
        place.map_err(|_| self.refusal(prepared.name))
    }

    pub(crate) fn try_take_place(&self, prepared: &Call) -> Result<TaskPlace, SubmitError> {
        let place = self.commons.places.try_take(prepared.arguments.len());
        place.map_err(|reason| match reason {
            NoPlace::Closed => self.refusal(prepared.name),
            NoPlace::OfTasks => {
                submit_error(prepared.name, Cause::QueueFull { capacity: self.queue_capacity })
            }
            NoPlace::OfBytes { limit } => {
                submit_error(prepared.name, Cause::QueueFullOfBytes { limit })
            }
        })
    }

    /// What a task is given that asks for nothing.
    pub(crate) fn default_wishes(&self) -> Wishes {
        Wishes { timeout: self.default_timeout, ..Wishes::default() }
    }

    /// Hands a task to the supervisor.
    pub(crate) fn enqueue(
        &self,
        place: TaskPlace,
        prepared: Call,
        wishes: Wishes,
        extras: Extras,
    ) -> Result<Arc<TaskCell>, SubmitError> {
        self.enqueue_by(Engine::send, place, prepared, wishes, extras)
    }

    /// As [`enqueue`](Self::enqueue), for whoever then waits for nothing but that task.
    pub(crate) fn enqueue_and_wait(
        &self,
        place: TaskPlace,
        prepared: Call,
        wishes: Wishes,
        extras: Extras,
    ) -> Result<Arc<TaskCell>, SubmitError> {
        self.enqueue_by(Engine::send_and_wait, place, prepared, wishes, extras)
    }

    fn enqueue_by(
        &self,
        send: fn(&Engine, Command) -> bool,
        place: TaskPlace,
        prepared: Call,
        wishes: Wishes,
        extras: Extras,
    ) -> Result<Arc<TaskCell>, SubmitError> {
        let Call { name, function, arguments } = prepared;
        let id = TaskId(self.next_task.fetch_add(1, Ordering::Relaxed));
        let task = Task::with(id, wishes);
        let cell = TaskCell::new(id, function, arguments, true, extras);
        if let TaskPlace(Some(bytes)) = place {
            cell.keep_bytes(bytes);
        }
        let entry = Entry::new(Arc::clone(&cell));
        if send(&self.engine, Command::Submit(task, entry)) {
            Ok(cell)
        } else {
            Err(self.refusal(name))
        }
    }

    /// Hands items of a map to the supervisor, as one task, whose place in the queue has been
    /// taken. They have consecutive ids, so that each part can become a task of its own.
    pub(crate) fn enqueue_chunk(
        &self,
        harvest: &Arc<Harvest>,
        (first, count): (u64, u32),
        items: Payload,
    ) {
        let id = TaskId(self.next_task.fetch_add(harvest.names(count), Ordering::Relaxed));
        let cell = harvest.add(id, (first, count), items);
        // If it cannot be sent the pool has ended, and the items are told.
        let entry = Entry::chunk(cell, harvest);
        let task = Task::chunk(id, count, harvest.limits());
        self.commons.send(Command::Submit(task, entry));
    }

    /// Hands an item of a map to the supervisor once more; false if the attempt before is not over
    /// yet. It takes no place in the queue: the pool has accepted it before.
    pub(crate) fn repeat_item(&self, harvest: &Arc<Harvest>, item: &RepeatedItem) -> bool {
        let Some(cell) = harvest.repeat(item) else { return false };
        let entry = Entry::chunk(cell, harvest);
        let task = Task::repeated_item(item.task, item.attempt, harvest.limits());
        self.commons.send(Command::Submit(task, entry));
        true
    }

    /// Has the first workers made ready, and what is sent when they are; it is dropped if the pool
    /// ends before.
    pub(crate) fn warm_up(&self) -> oneshot::Receiver<()> {
        let (waiter, ready) = oneshot::channel();
        self.commons.send(Command::WarmUp(waiter));
        ready
    }

    /// Has all workers replaced. Nothing is sent: what waits is dropped when they are gone.
    pub(crate) fn recycle(&self, limit: Option<Duration>) -> oneshot::Receiver<()> {
        let (waiter, gone) = oneshot::channel();
        self.commons.send(Command::Recycle(waiter, limit));
        gone
    }

    /// Changes how many workers there may be. If it cannot be sent the pool has ended.
    pub(crate) fn resize(&self, max_workers: usize) {
        let max_workers = max_workers.min(self.most_workers);
        self.commons.max_workers.store(max_workers, Ordering::Relaxed);
        self.commons.send(Command::Resize(max_workers));
    }

    /// Ends all workers at once. If it cannot be sent the pool has ended already.
    pub(crate) fn end_workers(&self, force: Force) {
        self.commons.close(CloseReason::ShutDown);
        self.commons.send(Command::EndWorkers(force));
    }

    /// Breaks it at once. If it cannot be sent the pool has ended already.
    pub(crate) fn abort(&self, reason: Box<dyn Error + Send + Sync>) {
        let cause = BrokenCause::aborted(reason);
        self.commons.close(CloseReason::Broken(BrokenProcessPool(cause.clone())));
        self.commons.send(Command::Break(Box::new(cause)));
    }

    pub(crate) fn shut_down(&self, how: Shutdown) {
        self.commons.close(CloseReason::ShutDown);
        let Shutdown { cancel_futures, limit, .. } = how;
        // If it cannot be sent the pool has ended already.
        self.commons.send(Command::ShutDown { cancel_futures, limit });
    }

    /// Waits until it has ended. An error says that its runtime has gone, and with it the workers.
    pub(crate) fn ended(&self) -> impl Future<Output = ShutdownReport> + Send + use<> {
        let mut closed = self.closed.clone();
        async move {
            let report = closed.wait_for(Option::is_some).await;
            report.map_or(None, |report| report.clone()).unwrap_or_default()
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shut_down(Shutdown::new());
    }
}

pub(crate) fn submit_error(function: &'static str, cause: Cause) -> SubmitError {
    error_of(Subject::Submission(function), cause)
}

fn error_of(subject: Subject, cause: Cause) -> SubmitError {
    SubmitError::new(ErrorReport { subject, label: None, worker: None, attempt: 1, cause })
}
