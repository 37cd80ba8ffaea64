//! What the handles of a pool and its supervisor have in common.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::base::sync::Mutex;
use crate::base::{Clock, HostId, TaskId};
use crate::error::{BrokenCause, Cause};
use crate::memory::Arena;
use crate::parent::message::HostsChange;
use crate::pool::places::TaskPlaces;
use crate::pool::shutdown::CloseReason;
use crate::pool::task::cell::{TaskCell, TaskStatus};
use crate::pool::task::harvest::Harvest;
use crate::pool::task::ledger::Entry;
use crate::pool::watch::Health;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Force, Scheduler, Task, Time};

/// What a user wants. Their channel is unbounded, but bounded by what the senders hold: a submit
/// holds a place, an item that is begun again is one of those that its map may look ahead, and
/// there is at most one cancel and one abort for each task. The others are few.
pub(crate) enum Command {
    Submit(Task, Entry),
    /// The task has been cancelled in its cell before it began.
    Cancel(TaskId),
    Abort(TaskId),
    /// What the task has emitted was taken, or will not be. Of one task there are seldom two.
    Credit(TaskId),
    /// The condition of a task has decided whether it is begun again. There is one for each attempt
    /// that was asked about.
    Decided {
        task: TaskId,
        wants_retry: bool,
    },
    /// The reader of a map has made room.
    Regulate(Arc<Harvest>),
    /// Bring up a worker, and say when it is initialized. Dropped if that will never be.
    WarmUp(oneshot::Sender<()>),
    Resize(usize),
    /// Replace all workers, if so within a time, and say when the old ones are gone.
    Recycle(oneshot::Sender<()>, Option<Duration>),
    ShutDown {
        cancel_futures: bool,
        limit: Option<Duration>,
    },
    EndWorkers(Force),
    /// There is news of hosts. There is one for each.
    HostNews,
    /// A host was reached that may have so many workers, which was not known. There is one for each
    /// connection.
    HostHas(HostId, usize),
    /// Break the pool for this reason, which is elsewhere so that no other command gets larger.
    Break(Box<BrokenCause>),
}

/// What the supervisor has to know of hosts.
pub(crate) enum HostNews {
    /// It is lost, and then nothing runs there any more.
    Lost(HostId, Time),
    Changed {
        hosts: Vec<HostId>,
        name: Arc<str>,
        change: HostsChange,
    },
}

/// What the supervisor and the handles of a pool share.
pub(crate) struct Commons {
    /// The pool's name.
    pub(crate) name: String,
    commands: mpsc::UnboundedSender<Command>,
    pub(crate) clock: Clock,
    /// What the scheduler's time counts from.
    pub(crate) began: Instant,
    view: Mutex<View>,
    /// Until the supervisor knows, in its order.
    host_news: Mutex<Vec<HostNews>>,
    /// How many workers there may be, as far as handles know.
    pub(crate) max_workers: AtomicUsize,
    /// Closed when the pool accepts no more.
    pub(crate) places: TaskPlaces,
    /// Where large arguments are put.
    pub(crate) arena: Arc<Arena>,
    /// Why it accepts no more.
    pub(crate) closed: OnceLock<CloseReason>,
    /// Why it is over, once it is.
    over: watch::Sender<Option<CloseReason>>,
}

impl Commons {
    /// Also returns the end of the commands' channel that is the supervisor's.
    pub(crate) fn new(
        name: String,
        scheduler: Scheduler,
        places: TaskPlaces,
        arena: Arc<Arena>,
        clock: Clock,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Command>) {
        let max_workers = AtomicUsize::new(scheduler.size().1);
        let view = View::new(scheduler, name.clone());
        let (commands, receiver) = mpsc::unbounded_channel();
        let commons = Self {
            name,
            commands,
            clock,
            began: clock.now(),
            view: Mutex::new(view),
            host_news: Mutex::new(Vec::new()),
            max_workers,
            places,
            arena,
            closed: OnceLock::new(),
            over: watch::Sender::new(None),
        };
        (Arc::new(commons), receiver)
    }

    /// False if the pool has ended, which a task that was to be sent is told.
    pub(crate) fn send(&self, command: Command) -> bool {
        let refused = self.commands.send(command).map_err(|error| error.0);
        if let Err(Command::Submit(_, entry)) = &refused {
            entry.give_up(self.refusal());
        }
        refused.is_ok()
    }

    /// A host is lost; what runs there has ended `safe_in` from now. The supervisor knows that
    /// before it hears of any worker that was lost with it, though that comes by another channel.
    pub(crate) fn host_lost(&self, host: HostId, safe_in: Duration) {
        let safe_at = self.now().saturating_add(safe_in);
        self.tell_of_hosts(HostNews::Lost(host, safe_at));
    }

    pub(crate) fn tell_of_hosts(&self, news: HostNews) {
        self.host_news.lock().push(news);
        self.send(Command::HostNews); // or the pool is gone
    }

    /// What the supervisor does not know of.
    pub(crate) fn take_host_news(&self) -> Vec<HostNews> {
        std::mem::take(&mut self.host_news.lock())
    }

    /// Why a task that comes to a pool that has ended, or is about to, has no result.
    pub(crate) fn refusal(&self) -> Cause {
        match self.closed.get() {
            Some(CloseReason::Broken(broken)) => Cause::Broken(broken.clone()),
            Some(CloseReason::RuntimeGone) => Cause::RuntimeGone,
            Some(CloseReason::ShutDown) | None => Cause::ShutDown,
        }
    }

    /// The scheduler's time.
    pub(crate) fn now(&self) -> Time {
        self.clock.now().saturating_duration_since(self.began)
    }

    /// Held for moments only, never across an await.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock()
    }

    /// Waits for the begin of a task, or its end; who waits is woken when it is about to begin. The
    /// flag says that it is: its worker says no more than that it has, on a page, so who waits has
    /// to look.
    pub(crate) fn poll_started(
        &self,
        cell: &TaskCell,
        place: &mut Option<u64>,
        waker: &Waker,
    ) -> (Poll<TaskStatus>, bool) {
        let view = self.view();
        let (started, replaced) = cell.poll_started(place, waker);
        let front = |(worker, _)| view.scheduler.pipeline(worker).next();
        let is_next = started.is_pending() && cell.holder().and_then(front) == Some(cell.id());
        drop(view);
        drop(replaced); // only now that nothing is locked
        (started, is_next)
    }

    /// Whether the pool serves. Who has the view locked may ask, too.
    pub(crate) fn health(&self, view: &View) -> Health {
        if let Some(reason) = &*self.over.borrow() {
            return Health::of_closed(reason, true);
        }
        self.closed.get().map_or_else(|| view.health(), |reason| Health::of_closed(reason, false))
    }

    /// The first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        let _ = self.closed.set(reason);
        self.places.close();
    }

    /// No task is left, and none will be. The first reason counts.
    pub(crate) fn end(&self, reason: CloseReason) {
        self.over.send_if_modified(|over| {
            let is_first = over.is_none();
            over.get_or_insert(reason);
            is_first
        });
    }

    /// Waits until it is over; nobody is kept for that.
    pub(crate) fn over(&self) -> impl Future<Output = CloseReason> + Send + use<> {
        let mut over = self.over.subscribe();
        async move {
            let reason = over.wait_for(Option::is_some).await.map(|reason| reason.clone());
            reason.ok().flatten().unwrap_or(CloseReason::ShutDown)
        }
    }
}
