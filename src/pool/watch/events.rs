//! What happens in a pool, as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

use crate::base::{TaskId, WorkerId};
use crate::error::kind::TaskOutcome;
use crate::error::{BrokenProcessPool, HostLoss, WorkerDeath};
use crate::pool::watch::serial;
use crate::scheduler::LeaveReason;

/// How far a reader may lag behind: some milliseconds of the quickest tasks, minutes of slow ones,
/// and less than a hundred kilobytes; each death among them keeps up to 32 KiB of output.
const CAPACITY: usize = 1024;

/// Something that happened in a pool; what [`Events`] yields.
///
/// A task has `TaskQueued`, at most one `TaskStarted` for each time that a worker turned to it, and
/// exactly one `TaskFinished`, unless the pool's runtime ends first. An item of a map that is
/// [begun again](crate::Map::retry_if) is queued and finished once for each further attempt.
///
/// A worker has `WorkerStarted`, then `WorkerReady` if it becomes ready, and at last one of
/// `WorkerLeft`, `WorkerDied`, `WorkerKilled`, `WorkerLost` and `WorkerNotStarted`. If no process
/// could be started, `WorkerNotStarted` comes alone.
///
/// It can be serialized, for a log in JSON or a stream of server-sent events. Its field `event` has
/// the name of the variant.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolEvent {
    /// A worker's process was started. If it cannot open this process's shared memory, and has to
    /// get it over a socket, it is started once more under the same id before it is ready.
    #[non_exhaustive]
    WorkerStarted {
        /// The worker.
        worker: WorkerId,
        /// Its process id.
        pid: u32,
        /// The name of the host that it is on; `None` in a pool that was built without hosts.
        #[serde(serialize_with = "serial::label")]
        host: Option<Arc<str>>,
    },
    /// A worker is initialized and takes tasks.
    #[non_exhaustive]
    WorkerReady {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker shares no memory with this process. Everything works without it, but small tasks,
    /// the items of maps and large values are slower. The log warns of the first one.
    #[non_exhaustive]
    WorkerUnshared {
        /// The worker.
        worker: WorkerId,
        /// Why, and what helps, for people to read.
        reason: String,
    },
    /// A worker was sent a task and has not begun it within a second, so it is
    /// [given up](crate::WorkerState::Stuck).
    #[non_exhaustive]
    WorkerStuck {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has left as the pool had asked it to, and its process is gone.
    #[non_exhaustive]
    WorkerLeft {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: LeaveReason,
    },
    /// A worker has died, and the pool had not told it to go.
    #[non_exhaustive]
    WorkerDied {
        /// Who, and how.
        #[serde(serialize_with = "serial::death")]
        death: WorkerDeath,
    },
    /// A worker was ended by the pool: its task was aborted or ran too long, the pool is broken, or
    /// the worker did not leave in time.
    #[non_exhaustive]
    WorkerKilled {
        /// Who, and how.
        #[serde(serialize_with = "serial::death")]
        death: WorkerDeath,
        /// The task that it was ended for. `None` if it was for no task, or if the task has ended
        /// in time after all. For items of a [map](crate::ProcessPoolExecutor::map) that were sent
        /// together it is the id of the first one, or, with [`retry_if`](crate::Map::retry_if), one
        /// of their chunk's own.
        task: Option<TaskId>,
        /// Why, for people to read.
        reason: String,
    },
    /// The host of a worker was lost, so that nobody knows how the worker ends.
    #[non_exhaustive]
    WorkerLost {
        /// Who, and how.
        #[serde(serialize_with = "serial::loss")]
        loss: HostLoss,
    },
    /// A worker has ended before it was initialized, or could not be started at all.
    #[non_exhaustive]
    WorkerNotStarted {
        /// The worker.
        worker: WorkerId,
        /// The name of the host that it was to be on; `None` in a pool without hosts.
        #[serde(serialize_with = "serial::label")]
        host: Option<Arc<str>>,
        /// Why, for people to read.
        reason: String,
    },
    /// Hosts that have to be requested, such as [`Host::slurm`](crate::Host::slurm), are not there
    /// yet. This comes each time that there is something new to say of it.
    #[non_exhaustive]
    HostsAwaited {
        /// The name of these hosts.
        #[serde(serialize_with = "serial::name")]
        hosts: Arc<str>,
        /// What they wait for, for people to read.
        message: String,
    },
    /// Hosts that were requested are there: workers can be started on them.
    #[non_exhaustive]
    HostsGranted {
        /// The name of these hosts.
        #[serde(serialize_with = "serial::name")]
        hosts: Arc<str>,
        /// Where they are, for people to read.
        message: String,
    },
    /// Hosts that were requested are not there any more, or cannot be had. They are requested again
    /// when there is work for them.
    #[non_exhaustive]
    HostsGone {
        /// The name of these hosts.
        #[serde(serialize_with = "serial::name")]
        hosts: Arc<str>,
        /// Why, for people to read.
        reason: String,
    },
    /// The pool has accepted a task.
    #[non_exhaustive]
    TaskQueued {
        /// The task.
        task: TaskId,
        /// The name of its function.
        function: &'static str,
        /// The [label](crate::TaskBuilder::label) of the task, if it has one.
        #[serde(serialize_with = "serial::label")]
        label: Option<Arc<str>>,
    },
    /// A worker begins a task. If the worker dies at this very moment, another one may have to
    /// start the task again, at the same attempt.
    #[non_exhaustive]
    TaskStarted {
        /// The task.
        task: TaskId,
        /// Who runs it.
        worker: WorkerId,
        /// Counts from one.
        attempt: u32,
    },
    /// A task is sent to a worker again, after an attempt that was not the last one.
    #[non_exhaustive]
    TaskRetried {
        /// The task.
        task: TaskId,
        /// The attempt that begins: two or more.
        attempt: u32,
    },
    /// A task is over. This comes before its handle resolves, unless the handle itself has
    /// cancelled the task.
    #[non_exhaustive]
    TaskFinished {
        /// The task.
        task: TaskId,
        /// The name of its function.
        function: &'static str,
        /// The [label](crate::TaskBuilder::label) of the task, if it has one.
        #[serde(serialize_with = "serial::label")]
        label: Option<Arc<str>>,
        /// How it ended.
        outcome: TaskOutcome,
    },
    /// The pool is broken: all of its tasks fail and it accepts no more.
    #[non_exhaustive]
    PoolBroken {
        /// Why.
        #[serde(serialize_with = "serial::broken")]
        error: BrokenProcessPool,
    },
    /// The pool is shut down, by a call or because its last handle was dropped: it accepts no more
    /// tasks. When all is over the stream ends.
    #[non_exhaustive]
    PoolShutDown,
    /// The reader was too slow, and this many events are lost to it. What follows is complete
    /// again.
    #[serde(serialize_with = "serial::missed")]
    Missed(u64),
}

/// A stream of what happens in a pool from now on; what
/// [`ProcessPoolExecutor::events`](crate::ProcessPoolExecutor::events) returns.
///
/// It yields events in the order in which the pool came to know of them. It ends with the pool, or
/// with the runtime that the pool was built on. It does not keep the pool alive.
///
/// The pool never waits for a reader. A reader that lags more than about a thousand events behind
/// loses the oldest, and [`PoolEvent::Missed`] says how many.
///
/// ```
/// use futures::StreamExt;
/// use procpool::{PoolEvent, ProcessPoolExecutor, TaskOutcome};
///
/// fn watch(pool: &ProcessPoolExecutor) {
///     let mut events = pool.events();
///     tokio::spawn(async move {
///         while let Some(event) = events.next().await {
///             match event {
///                 PoolEvent::WorkerDied { death, .. } => {
///                     eprintln!("{death}; it printed last:\n{}", death.stderr_tail());
///                 }
///                 PoolEvent::TaskFinished { task, outcome: TaskOutcome::TimedOut, .. } => {
///                     eprintln!("{task} ran too long");
///                 }
///                 PoolEvent::Missed(count) => eprintln!("{count} events were missed"),
///                 _ => {}
///             }
///         }
///     });
/// }
/// ```
///
/// # Cancel safety
///
/// `next` is cancel safe: no event is lost by it, and none comes twice.
#[must_use = "streams do nothing unless polled"]
pub struct Events(Pin<Box<dyn Stream<Item = PoolEvent> + Send + Sync>>);

impl Events {
    fn new(receiver: Receiver<PoolEvent>) -> Self {
        Self(Box::pin(stream::unfold(receiver, next).fuse()))
    }
}

async fn next(mut receiver: Receiver<PoolEvent>) -> Option<(PoolEvent, Receiver<PoolEvent>)> {
    let event = match receiver.recv().await {
        Ok(event) => event,
        Err(RecvError::Lagged(count)) => PoolEvent::Missed(count),
        Err(RecvError::Closed) => return None,
    };
    Some((event, receiver))
}

impl Stream for Events {
    type Item = PoolEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Where events go. It is a part of what is locked while a batch is handled, so they are collected
/// here and sent afterwards: to send is to wake readers, and a waker may be anybody's code.
#[derive(Default)]
pub(crate) struct Feed {
    readers: Readers,
    /// As many as the events of a batch led to; none without a reader.
    collected: Vec<PoolEvent>,
}

#[derive(Default)]
enum Readers {
    /// There is not even a place to keep events.
    #[default]
    None,
    Some(Sender<PoolEvent>),
    /// Nothing will happen any more.
    Closed,
}

impl Feed {
    pub(crate) fn subscribe(&mut self) -> Events {
        Events::new(match &self.readers {
            Readers::None => {
                let (sender, receiver) = broadcast::channel(CAPACITY);
                self.readers = Readers::Some(sender);
                receiver
            }
            Readers::Some(sender) => sender.subscribe(),
            Readers::Closed => broadcast::channel(1).1,
        })
    }

    pub(crate) fn is_read(&self) -> bool {
        matches!(self.readers, Readers::Some(_))
    }

    pub(crate) fn push(&mut self, event: impl FnOnce() -> PoolEvent) {
        if self.is_read() {
            self.collected.push(event());
        }
    }

    /// Takes what was collected, to be sent once nothing is locked. Notices that all readers have
    /// gone.
    pub(crate) fn take_news(&mut self) -> News {
        let Readers::Some(sender) = &self.readers else { return News::default() };
        let news =
            News { sender: Some(sender.clone()), events: std::mem::take(&mut self.collected) };
        if sender.receiver_count() == 0 {
            self.readers = Readers::None;
        }
        news
    }

    /// The streams end once the result is dropped, which also wakes readers.
    #[must_use]
    pub(crate) fn close(&mut self) -> impl Sized + use<> {
        std::mem::replace(&mut self.readers, Readers::Closed)
    }
}

/// Events that are to be sent.
#[derive(Default)]
pub(crate) struct News {
    sender: Option<Sender<PoolEvent>>,
    events: Vec<PoolEvent>,
}

impl News {
    pub(crate) fn send(self) {
        if let Some(sender) = self.sender {
            for event in self.events {
                let _ = sender.send(event); // or the last reader has just gone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// The next event if there is one already.
    fn seen(events: &mut Events) -> Option<PoolEvent> {
        events.next().now_or_never().flatten()
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let mut feed = Feed::default();
        feed.push(|| unreachable!("nobody reads"));
        let events = feed.subscribe();
        assert!(feed.is_read());
        drop(events);
        feed.take_news().send();
        assert!(!feed.is_read());
        feed.push(|| unreachable!("nobody reads any more"));
    }

    #[test]
    fn a_reader_that_lags_is_told_how_much_it_missed_and_goes_on() {
        let mut feed = Feed::default();
        let (mut slow, mut quick) = (feed.subscribe(), feed.subscribe());
        for number in 0..CAPACITY as u64 + 10 {
            feed.push(|| PoolEvent::WorkerLeft {
                worker: WorkerId(number),
                reason: LeaveReason::Idle,
            });
            assert!(seen(&mut quick).is_none(), "not while something is locked");
            feed.take_news().send();
            assert!(matches!(seen(&mut quick), Some(PoolEvent::WorkerLeft { .. })));
        }
        assert!(matches!(seen(&mut slow), Some(PoolEvent::Missed(10))));
        for number in 10..CAPACITY as u64 + 10 {
            let event = seen(&mut slow);
            let expected = WorkerId(number);
            let is_next = |worker| worker == expected;
            assert!(matches!(event, Some(PoolEvent::WorkerLeft { worker, .. }) if is_next(worker)));
        }
        assert!(slow.next().now_or_never().is_none(), "there will be more");
    }

    #[test]
    fn what_was_sent_is_read_before_the_end() {
        let mut feed = Feed::default();
        let mut events = feed.subscribe();
        feed.push(|| PoolEvent::PoolShutDown);
        feed.take_news().send();
        let end = feed.close();
        assert!(matches!(events.next().now_or_never(), Some(Some(PoolEvent::PoolShutDown))));
        assert!(events.next().now_or_never().is_none(), "not yet");
        drop(end);
        for _ in 0..2 {
            assert!(matches!(events.next().now_or_never(), Some(None)));
        }
        assert!(matches!(feed.subscribe().next().now_or_never(), Some(None)), "one too late");
    }
}
