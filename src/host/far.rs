//! A worker on another host, as its link has it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::base::WorkerId;
use crate::base::sync::Mutex;
use crate::parent::birth::Body;
use crate::sys::memory::SharedPageRef;
use crate::sys::process::Exit;
use crate::wire::far::{FarAnswer, FarPage, FarQuestion};
use crate::wire::hello::FarFailure;
use crate::wire::host::{FromAgent, ToAgent, WorkerEnd};

/// Those of one connection.
#[derive(Default)]
pub(super) struct FarWorkers {
    workers: Mutex<BTreeMap<WorkerId, Arc<FarWorker>>>,
    lost: OnceLock<Arc<str>>,
}

/// How one that was asked for has started.
pub(super) type Starting = oneshot::Receiver<Result<FarStart, FarFailure>>;

/// One that has started.
pub(super) struct FarStart {
    pub(super) pid: u32,
    pub(super) page: Option<SharedPageRef>,
}

impl FarWorkers {
    /// One that is about to be started. It is forgotten when what is returned is dropped.
    pub(super) fn expect(
        self: &Arc<Self>,
        id: WorkerId,
        orders: UnboundedSender<ToAgent>,
    ) -> (FarBody, Starting) {
        let (started, starting) = oneshot::channel();
        let state = FarState { started: Some(started), ..FarState::default() };
        let worker = Arc::new(FarWorker(Mutex::new(state)));
        self.workers.lock().insert(id, Arc::clone(&worker));
        if let Some(reason) = self.lost.get() {
            worker.lose(reason);
        }
        (FarBody { id, pid: 0, worker, all: Arc::clone(self), orders }, starting)
    }

    pub(super) fn tell(&self, message: FromAgent) {
        match message {
            FromAgent::Started { worker, pid, page } => {
                self.started(worker, Ok(FarStart { pid, page }));
            }
            FromAgent::NotStarted { worker, failure } => self.started(worker, Err(failure)),
            FromAgent::Exited { worker, end } => {
                if let Some(worker) = self.find(worker) {
                    worker.change(|state| {
                        state.end.get_or_insert(end); // the first one counts
                    });
                }
            }
            FromAgent::Answer(worker, answer) => {
                if let Some(worker) = self.find(worker) {
                    worker.answer(answer);
                }
            }
            FromAgent::Pong { .. } => {}
        }
    }

    fn started(&self, worker: WorkerId, outcome: Result<FarStart, FarFailure>) {
        let worker = self.find(worker);
        let waiting = worker.and_then(|worker| worker.0.lock().started.take());
        if let Some(started) = waiting {
            let _ = started.send(outcome); // or nobody waits any more
        }
    }

    /// One that the agent names; it may lie.
    fn find(&self, worker: WorkerId) -> Option<Arc<FarWorker>> {
        self.workers.lock().get(&worker).cloned()
    }

    /// Nobody hears of any of them again.
    pub(super) fn lose(&self, reason: &str) {
        let reason = self.lost.get_or_init(|| reason.into());
        let all: Vec<_> = self.workers.lock().values().cloned().collect();
        for worker in all {
            worker.lose(reason);
        }
    }

    pub(super) fn lost(&self) -> Option<Arc<str>> {
        self.lost.get().cloned()
    }
}

struct FarWorker(Mutex<FarState>);

#[derive(Default)]
struct FarState {
    /// Who waits for its start.
    started: Option<oneshot::Sender<Result<FarStart, FarFailure>>>,
    /// How many questions have no answer.
    questions: usize,
    answers: VecDeque<FarAnswer>,
    asker: Option<Waker>,
    /// What it has written was read to the end.
    at_end: bool,
    end: Option<WorkerEnd>,
    lost: Option<Arc<str>>,
    reader: Option<Waker>,
    watcher: Option<Waker>,
}

impl FarState {
    fn is_over(&self) -> bool {
        self.end.is_some() || self.lost.is_some()
    }
}

impl FarWorker {
    fn lose(&self, reason: &Arc<str>) {
        self.change(|state| {
            state.started = None;
            state.lost = Some(Arc::clone(reason));
        });
    }

    /// One that was not asked for is none.
    fn answer(&self, answer: FarAnswer) {
        let mut state = self.0.lock();
        if state.questions == 0 {
            return;
        }
        state.questions -= 1;
        state.answers.push_back(answer);
        let asker = state.asker.take();
        drop(state); // not under the lock
        asker.into_iter().for_each(Waker::wake);
    }

    fn change(&self, change: impl FnOnce(&mut FarState)) {
        let mut state = self.0.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.watcher.take()];
        drop(state); // not under the lock
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Its process, which the agent kills if this is dropped before.
pub(super) struct FarBody {
    id: WorkerId,
    pid: u32,
    worker: Arc<FarWorker>,
    all: Arc<FarWorkers>,
    orders: UnboundedSender<ToAgent>,
}

impl FarBody {
    /// It has started.
    pub(super) fn set_pid(&mut self, pid: u32) {
        self.pid = pid;
    }

    /// What it writes.
    pub(super) fn output(&self, stream: impl AsyncRead + Send + Unpin + 'static) -> FarOutput {
        FarOutput { stream: Box::new(stream), worker: Arc::clone(&self.worker) }
    }

    /// There is no process.
    pub(super) fn forget(&self) {
        self.worker.change(|state| state.end = Some(WorkerEnd::default()));
    }

    fn order(&self, order: ToAgent) {
        let _ = self.orders.send(order); // or its host is lost
    }
}

impl Body for FarBody {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn terminate(&self) {
        self.order(ToAgent::Terminate(self.id));
    }

    fn kill(&self) {
        self.order(ToAgent::Kill(self.id));
    }

    fn ask(&self, question: FarQuestion) {
        self.worker.0.lock().questions += 1;
        self.order(ToAgent::Ask(self.id, question));
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<FarAnswer> {
        let mut state = self.worker.0.lock();
        if let Some(answer) = state.answers.pop_front() {
            return Poll::Ready(answer);
        }
        state.asker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn last_words(&mut self) -> Option<FarPage> {
        self.worker.0.lock().end.as_mut()?.page.take()
    }

    /// What it has written was read before.
    fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.worker.0.lock();
        if state.lost.is_some() || state.end.is_some() && state.at_end {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The agent has done that before it said that the worker has exited.
    fn reap(&mut self) -> BoxFuture<'_, Option<Exit>> {
        let state = self.worker.0.lock();
        let exit = state.end.as_ref().map(|end| Exit { code: end.code, signal: end.signal });
        drop(state);
        Box::pin(std::future::ready(exit))
    }

    fn reap_later(&mut self) {}

    fn was_oom(&self) -> Option<bool> {
        self.worker.0.lock().end.as_ref()?.was_oom
    }

    fn lost(&self) -> Option<Arc<str>> {
        self.worker.0.lock().lost.clone()
    }
}

impl Drop for FarBody {
    fn drop(&mut self) {
        if !self.worker.0.lock().is_over() {
            self.kill();
        }
        self.all.workers.lock().remove(&self.id);
    }
}

/// What a worker writes. It has not ended before it is known how the worker has: so nobody takes
/// one that has exited for one that has closed its output and lives on.
pub(super) struct FarOutput {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    worker: Arc<FarWorker>,
}

impl AsyncRead for FarOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_at_end = self.worker.0.lock().at_end;
        if !is_at_end {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            if read.is_pending() || buffer.filled().len() > before {
                return read;
            }
            self.worker.change(|state| state.at_end = true);
        }
        let mut state = self.worker.0.lock();
        if state.is_over() {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
