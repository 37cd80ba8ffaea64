//! The users of a pool: what they have submitted, and what they hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use crate::base::sync::Mutex;
use crate::error::kind::TaskErrorKind;
use crate::error::{RunError, SubmitError, TaskError};
use crate::executor::{EmittedStream, ProcessPoolExecutor, TaskHandle};
use crate::scheduler::Wishes;
use crate::testing::{Check, ensure};

use super::clock;
use super::emit::Value;
use super::record::limits_of;
use super::runs::Answer;

/// Never called: the workers are simulated.
pub(super) fn work(number: u64, padding: Bytes) -> Answer {
    (number, 0, padding)
}

/// As [`work`], for the items of maps, which the pool so counts apart.
pub(super) fn work_on_item(number: u64, padding: Bytes) -> Answer {
    work(number, padding)
}

crate::register!(work, work_on_item);

/// Something waits to be polled again.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn raised() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(super) fn lower(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What a user hears of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The number of the call, and that of its execution.
    Answer(u64, u64),
    Panicked(u64),
    Died,
    HostLost,
    Cancelled,
    TimedOut,
    Broken,
    ShutDown,
    QueueFull,
    Other(String),
}

impl Outcome {
    pub(super) fn sight(&self) -> &'static str {
        match self {
            Self::Answer(..) => "an answer",
            Self::Panicked(_) => "a panic",
            Self::Died => "the death of a task",
            Self::HostLost => "a task whose host is lost",
            Self::Cancelled => "a task that is cancelled",
            Self::TimedOut => "a task that times out",
            Self::Broken => "a task in a broken pool",
            Self::ShutDown => "a task that comes too late",
            Self::QueueFull => "a full queue",
            Self::Other(_) => "something else",
        }
    }

    pub(super) fn of(result: &Result<Answer, TaskError>) -> Self {
        Self::of_attempt(result.as_ref())
    }

    /// As the condition of a task sees it.
    pub(super) fn of_attempt(outcome: Result<&Answer, &TaskError>) -> Self {
        match outcome {
            Ok((number, execution, _)) => Self::Answer(*number, *execution),
            Err(error) => Self::of_error(&error.clone().into()),
        }
    }

    /// Whether a condition may be asked about it.
    pub(super) fn is_of_attempt(&self) -> bool {
        !matches!(self, Self::Broken | Self::ShutDown | Self::QueueFull | Self::Other(_))
    }

    /// Whether a task that has a condition should be begun again.
    pub(super) fn wants_retry(&self) -> bool {
        match self {
            Self::Answer(_, execution) | Self::Panicked(execution) => execution % 3 != 0,
            Self::Died | Self::HostLost | Self::Cancelled => true,
            Self::TimedOut | Self::Broken | Self::ShutDown | Self::QueueFull | Self::Other(_) => {
                false
            }
        }
    }

    fn of_run(result: &Result<Answer, RunError>) -> Self {
        match result {
            Ok((number, execution, _)) => Self::Answer(*number, *execution),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_submit(error: &SubmitError) -> Self {
        Self::of_error(&error.clone().into())
    }

    fn of_error(error: &RunError) -> Self {
        match error.kind() {
            TaskErrorKind::Panic => {
                let message = error.panic().map_or("", |panic| panic.message());
                Self::Panicked(message.parse().unwrap_or_default())
            }
            TaskErrorKind::Broken => Self::Broken,
            TaskErrorKind::WorkerDeath => Self::Died,
            TaskErrorKind::HostLost => Self::HostLost,
            TaskErrorKind::Cancelled => Self::Cancelled,
            TaskErrorKind::Timeout | TaskErrorKind::Deadline | TaskErrorKind::NotBegun => {
                Self::TimedOut
            }
            TaskErrorKind::ShutDown | TaskErrorKind::RuntimeGone => Self::ShutDown,
            TaskErrorKind::QueueFull => Self::QueueFull,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// How a task is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Submit,
    TrySubmit,
    Run,
}

/// What is done when the task is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Submit,
    Run,
}

/// A task, and how it is submitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submission {
    pub(super) way: Way,
    pub(super) then: Then,
    pub(super) padding: usize,
    /// The deadline counts from now.
    pub(super) wishes: Wishes,
    /// So many of the values that the task emits are read at a time, if any are.
    pub(super) reads: Option<usize>,
    /// How many may wait for that.
    pub(super) capacity: Option<usize>,
}

impl Submission {
    pub(super) fn by(way: Way) -> Self {
        Self {
            way,
            then: Then::Nothing,
            padding: 0,
            wishes: Wishes::default(),
            reads: None,
            capacity: None,
        }
    }

    /// Tasks like this one have an order.
    pub(super) fn is_plain(&self) -> bool {
        self.wishes.key.is_none() && self.wishes.retries == 0
    }

    /// Whether the result of an attempt may not be the last one.
    pub(super) fn is_conditional(&self) -> bool {
        self.wishes.conditional && self.wishes.retries > 0
    }
}

enum Waiting {
    ToSubmit(BoxFuture<'static, Result<TaskHandle<Answer>, SubmitError>>),
    ToRun(BoxFuture<'static, Result<Answer, RunError>>),
    ForResult(TaskHandle<Answer>),
    /// It is over, or was dropped.
    Gone,
}

/// Hands out numbers, and takes what callbacks have submitted.
#[derive(Clone, Default)]
pub(super) struct Office {
    next: Arc<AtomicU64>,
    children: Arc<Mutex<Vec<Ticket>>>,
}

impl Office {
    pub(super) fn numbers(&self, count: u64) -> u64 {
        self.next.fetch_add(count, Ordering::SeqCst)
    }

    pub(super) fn take_children(&self) -> Vec<Ticket> {
        std::mem::take(&mut *self.children.lock())
    }

    fn add(&self, child: Ticket) {
        self.children.lock().push(child);
    }
}

/// A task as its user has it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) submission: Submission,
    waiting: Waiting,
    /// As long as it may have something to submit.
    pool: Option<ProcessPoolExecutor>,
    flag: Arc<Flag>,
    pub(super) outcome: Option<Outcome>,
    stream: Option<EmittedStream<Value>>,
    /// What it has read of what the task emits.
    pub(super) values: Vec<Value>,
    /// There was no more to read.
    pub(super) has_read_all: bool,
    /// What its callback was told.
    heard: Arc<Mutex<Vec<Outcome>>>,
    has_callback: bool,
    /// At which event it was cancelled.
    pub(super) cancelled: Option<usize>,
    pub(super) was_aborted: bool,
    pub(super) was_accepted: bool,
    /// Nobody waits for it any more.
    pub(super) was_dropped: bool,
    /// Its condition was asked about what is no attempt.
    pub(super) was_misled: Arc<AtomicBool>,
}

macro_rules! task {
    ($pool:expr, $number:expr, $submission:expr, $misled:expr) => {{
        let Submission { padding, wishes, capacity, .. } = $submission;
        let Wishes { timeout, retries, deadline, begin, priority, key, tenant, .. } = wishes;
        let padding = Bytes::from(vec![7; padding]);
        let mut task = $pool.task(work, ($number, padding));
        task = task.timeout(timeout).retries(retries).priority(priority);
        task = task.begin_within(begin.map(|(_, limit)| limit));
        task = task.emit_capacity(capacity).limits(limits_of($number));
        if wishes.conditional {
            let misled = Arc::clone($misled);
            task = task.retry_if(move |outcome| {
                let outcome = Outcome::of_attempt(outcome);
                misled.fetch_or(!outcome.is_of_attempt(), Ordering::SeqCst);
                outcome.wants_retry()
            });
        }
        if let Some(deadline) = deadline {
            task = task.deadline(clock::now() + deadline);
        }
        if let Some(key) = key {
            task = task.sticky(key);
        }
        if let Some(tenant) = tenant {
            task = task.tenant(tenant);
        }
        task
    }};
}

impl Ticket {
    pub(super) fn new(pool: &ProcessPoolExecutor, submission: Submission, office: &Office) -> Self {
        let number = office.numbers(1);
        let own = pool.clone();
        let was_misled = Arc::<AtomicBool>::default();
        let misled = Arc::clone(&was_misled);
        let mut outcome = None;
        let waiting = match submission.way {
            Way::Submit => Waiting::ToSubmit(
                async move { task!(own, number, submission, &misled).submit().await }.boxed(),
            ),
            Way::Run => Waiting::ToRun(
                async move { task!(own, number, submission, &misled).run().await }.boxed(),
            ),
            Way::TrySubmit => match task!(own, number, submission, &misled).try_submit() {
                Ok(handle) => Waiting::ForResult(handle),
                Err(error) => {
                    outcome = Some(Outcome::of_submit(&error));
                    Waiting::Gone
                }
            },
        };
        let mut ticket = Self {
            number,
            submission,
            waiting,
            pool: outcome.is_none().then(|| pool.clone()),
            flag: Flag::raised(),
            outcome,
            stream: None,
            values: Vec::new(),
            has_read_all: false,
            heard: Arc::default(),
            has_callback: false,
            cancelled: None,
            was_aborted: false,
            was_accepted: false,
            was_dropped: false,
            was_misled,
        };
        ticket.add_callback(office);
        ticket
    }

    fn add_callback(&mut self, office: &Office) {
        let Waiting::ForResult(handle) = &self.waiting else { return };
        let pool = self.pool.take().filter(|_| self.submission.then != Then::Nothing);
        self.was_accepted = true;
        self.has_callback = true;
        self.stream = self.submission.reads.map(|_| handle.emitted());
        let (heard, then) = (Arc::clone(&self.heard), self.submission.then);
        let office = office.clone();
        handle.add_done_callback(move |result| {
            heard.lock().push(Outcome::of(&result));
            let way = match then {
                Then::Nothing => return,
                Then::Submit => Way::TrySubmit,
                Then::Run => Way::Run,
            };
            let Some(pool) = pool else { return };
            let mut child = Self::new(&pool, Submission::by(way), &office);
            child.poll(&office);
            office.add(child);
        });
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.waiting, Waiting::Gone) && self.stream.is_none()
    }

    /// Goes on waiting if it was woken; whether it was.
    pub(super) fn poll_if_woken(&mut self, office: &Office) -> bool {
        let was_woken = self.flag.lower() && !self.is_over();
        if was_woken {
            self.poll(office);
        }
        was_woken
    }

    fn poll(&mut self, office: &Office) {
        let waker = Waker::from(Arc::clone(&self.flag));
        let cx = &mut Context::from_waker(&waker);
        if let Waiting::ToSubmit(submit) = &mut self.waiting {
            match submit.poll_unpin(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(handle)) => {
                    self.waiting = Waiting::ForResult(handle);
                    self.add_callback(office);
                }
                Poll::Ready(Err(error)) => return self.end(Outcome::of_submit(&error)),
            }
        }
        self.read(cx);
        match &mut self.waiting {
            Waiting::ToRun(run) => {
                if let Poll::Ready(result) = run.poll_unpin(cx) {
                    self.end(Outcome::of_run(&result));
                }
            }
            Waiting::ForResult(handle) => {
                if let Poll::Ready(result) = handle.poll_unpin(cx) {
                    self.end(Outcome::of(&result));
                }
            }
            Waiting::ToSubmit(_) | Waiting::Gone => {}
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let Some(stream) = &mut self.stream else { return };
        for _ in 0..self.submission.reads.unwrap_or_default() {
            match stream.poll_next_unpin(cx) {
                Poll::Ready(Some(value)) => self.values.extend(value.ok()),
                Poll::Ready(None) => {
                    self.stream = None;
                    self.has_read_all = true;
                    return;
                }
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        self.waiting = Waiting::Gone;
        self.pool = None;
    }

    /// What the pool answered.
    pub(super) fn cancel(&mut self, event: usize) -> Option<bool> {
        let Waiting::ForResult(handle) = &self.waiting else { return None };
        let is_cancelled = handle.cancel();
        if is_cancelled {
            self.cancelled.get_or_insert(event);
        }
        Some(is_cancelled)
    }

    pub(super) fn abort(&mut self) {
        if let Waiting::ForResult(handle) = &self.waiting {
            self.was_aborted = true;
            handle.abort();
        }
    }

    /// Nobody waits for it any more. What runs is ended, what was submitted is not.
    pub(super) fn forget(&mut self) {
        self.was_dropped |= !self.is_over();
        self.waiting = Waiting::Gone;
        self.stream = None;
        self.pool = None;
    }

    /// Whether its handle says that it runs.
    pub(super) fn is_running(&self) -> bool {
        let Waiting::ForResult(handle) = &self.waiting else { return false };
        handle.status() == crate::TaskStatus::Running
    }

    /// Its callback was called once, and told the same.
    pub(super) fn check_callback(&self) -> Check {
        let heard = self.heard.lock();
        let number = self.number;
        ensure!(
            heard.len() == usize::from(self.has_callback),
            "the callback of call {number} was called {} times",
            heard.len()
        );
        let is_same = self.outcome.is_none()
            || heard.first().is_none_or(|heard| Some(heard) == self.outcome.as_ref());
        ensure!(is_same, "call {number}: {:?}, but its callback was told {heard:?}", self.outcome);
        Ok(())
    }
}

/// Makes the calls of a map.
pub(super) fn inputs(numbers: std::ops::Range<u64>) -> impl Iterator<Item = (u64, Bytes)> + Send {
    numbers.map(|number| (number, Bytes::new()))
}

/// Somebody who waits for something of the pool.
pub(super) struct Waiter {
    pub(super) what: &'static str,
    future: Option<BoxFuture<'static, ()>>,
    flag: Arc<Flag>,
}

impl Waiter {
    pub(super) fn new(
        what: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { what, future: Some(future.boxed()), flag: Flag::raised() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.future.is_none()
    }

    pub(super) fn poll_if_woken(&mut self) -> bool {
        let was_woken = self.flag.lower();
        if let (true, Some(future)) = (was_woken, &mut self.future) {
            let waker = Waker::from(Arc::clone(&self.flag));
            if future.poll_unpin(&mut Context::from_waker(&waker)).is_ready() {
                self.future = None;
            }
        }
        was_woken
    }
}
