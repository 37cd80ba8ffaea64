//! A process as the system would run it: pipes, signals, an exit.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use rustix::io::ioctl_fionbio;
use tokio::sync::oneshot;

use crate::base::sync::Mutex;
use crate::base::{HostId, WorkerId};
use crate::error::StartError;
use crate::memory::page::NumberedClaims;
use crate::parent::Launch;
use crate::parent::birth::{Body, ClaimsPage, Spawned, Start};
use crate::parent::message::Orders;
use crate::sys::memory::{MemoryFile, SharedPage, SharedPageRef};
use crate::sys::pipe::{WorkerPipes, read_behind, worker_pipes};
use crate::sys::process::Exit;
use crate::wire::far::{FarAnswer, FarPage, FarQuestion};

/// What a worker is to be started with.
pub(super) struct Birth {
    pub(super) worker: WorkerId,
    pub(super) host: HostId,
    /// Memory is to be sent to it.
    pub(super) sends_memory: bool,
    reply: oneshot::Sender<Result<Spawned, NoBirth>>,
}

/// Why a worker is not started.
enum NoBirth {
    System(io::Error),
    /// Its host is lost.
    Unreachable,
}

/// The workers that are to be started, on all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Births {
    /// Where those are that are asked for here.
    host: HostId,
    waiting: Arc<Mutex<VecDeque<Birth>>>,
    /// All that ever were.
    asked: Arc<Mutex<BTreeSet<WorkerId>>>,
}

impl std::fmt::Debug for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "birth of {}", self.worker)
    }
}

impl Births {
    /// The same ones, of which this host is asked for more.
    pub(super) fn on(&self, host: HostId) -> Self {
        Self { host, ..self.clone() }
    }

    /// Those that are to be on a host.
    pub(super) fn take_all(&self, host: HostId) -> VecDeque<Birth> {
        let mut births = self.waiting.lock();
        let all = std::mem::take(&mut *births);
        let (lost, others) = all.into_iter().partition(|birth| birth.host == host);
        *births = others;
        lost
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// How many workers were to be started, those that were started once more counted once.
    pub(super) fn asked(&self) -> u64 {
        self.asked.lock().len() as u64
    }

    pub(super) fn take(&self, n: usize) -> Option<Birth> {
        let mut births = self.waiting.lock();
        let count = births.len();
        (count > 0).then(|| births.remove(n % count))?
    }
}

impl Start for Births {
    fn start<'a>(
        &'a self,
        worker: WorkerId,
        launch: &'a Arc<Launch>,
        _orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>> {
        let (reply, spawned) = oneshot::channel();
        let birth = Birth { worker, host: self.host, sends_memory: launch.sends_memory(), reply };
        self.waiting.lock().push_back(birth);
        self.asked.lock().insert(worker);
        Box::pin(async move {
            let gone = |_| Err(NoBirth::System(io::ErrorKind::Unsupported.into()));
            spawned.await.unwrap_or_else(gone).map_err(|failure| match failure {
                NoBirth::System(error) => launch.failed(error),
                NoBirth::Unreachable => {
                    let host = launch.host.clone().unwrap_or_default();
                    StartError::Unreachable { host, reason: REASON.into() }
                }
            })
        })
    }
}

/// Why hosts are taken for lost.
pub(super) const REASON: &str = "it is simulated";

/// What has become of a process, as far as its parent can do or know something.
#[derive(Default)]
pub(super) struct Fate(Mutex<State>);

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct State {
    terminated: bool,
    killed: bool,
    /// It was killed when it had exited.
    killed_late: bool,
    exited: Option<Exit>,
    reaped: bool,
    /// Its host was.
    lost: bool,
    /// Its parent has done what must not be done.
    mistake: Option<&'static str>,
    waker: Option<Waker>,
    /// It is on another host, with an agent that looks after its claims.
    claims: Option<NumberedClaims>,
    /// What that was asked, and has not answered.
    questions: VecDeque<FarQuestion>,
    answers: VecDeque<FarAnswer>,
    asker: Option<Waker>,
}

impl Fate {
    pub(super) fn is_terminated(&self) -> bool {
        self.0.lock().terminated
    }

    pub(super) fn is_killed(&self) -> bool {
        self.0.lock().killed
    }

    pub(super) fn is_killed_late(&self) -> bool {
        self.0.lock().killed_late
    }

    pub(super) fn is_reaped(&self) -> bool {
        self.0.lock().reaped
    }

    /// Nobody knows how it ends.
    pub(super) fn is_lost(&self) -> bool {
        self.0.lock().lost
    }

    pub(super) fn mistake(&self) -> Option<&'static str> {
        self.0.lock().mistake
    }

    /// Answers what was asked first; whether anything was.
    pub(super) fn reply(&self) -> bool {
        let mut state = self.0.lock();
        let Some(question) = state.questions.pop_front() else { return false };
        let answer = state.claims.as_ref().map(|claims| claims.answer(question));
        state.answers.extend(answer);
        let asker = state.asker.take();
        drop(state);
        asker.into_iter().for_each(Waker::wake);
        true
    }

    fn exit(&self, status: Exit) {
        let mut state = self.0.lock();
        state.exited = Some(status);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Its host is lost. To its parent that is an end.
    fn lose(&self) {
        self.0.lock().lost = true;
        self.exit(Exit::default());
    }

    fn reap(&self) -> Option<Exit> {
        let mut state = self.0.lock();
        if state.lost {
            state.mistake = Some("it is reaped, and nobody knows how it ends");
        }
        if state.exited.is_none() {
            state.mistake = Some("it is reaped before it has exited");
        }
        if state.reaped {
            state.mistake = Some("it is reaped twice");
        }
        state.reaped = true;
        state.exited
    }
}

struct SimulatedBody {
    pid: u32,
    fate: Arc<Fate>,
}

impl Body for SimulatedBody {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn terminate(&self) {
        self.fate.0.lock().terminated = true;
    }

    fn kill(&self) {
        let mut state = self.fate.0.lock();
        state.killed = true;
        state.killed_late |= state.exited.is_some();
    }

    fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.fate.0.lock();
        if state.exited.is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn reap(&mut self) -> BoxFuture<'_, Option<Exit>> {
        let status = self.fate.reap();
        Box::pin(std::future::ready(status))
    }

    fn reap_later(&mut self) {
        if !self.fate.is_lost() {
            let _ = self.fate.reap();
        }
    }

    fn ask(&self, question: FarQuestion) {
        let mut state = self.fate.0.lock();
        if state.claims.is_none() {
            state.mistake = Some("it is asked what it need not know");
        }
        state.questions.push_back(question);
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<FarAnswer> {
        let mut state = self.fate.0.lock();
        if let Some(answer) = state.answers.pop_front() {
            return Poll::Ready(answer);
        }
        state.asker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn last_words(&mut self) -> Option<FarPage> {
        self.fate.0.lock().claims.as_ref().map(NumberedClaims::last_words)
    }

    fn lost(&self) -> Option<Arc<str>> {
        self.fate.is_lost().then(|| REASON.into())
    }
}

impl Drop for SimulatedBody {
    fn drop(&mut self) {
        let mut state = self.fate.0.lock();
        state.killed = true;
        if state.exited.is_some() && !state.reaped && !state.lost {
            state.mistake = Some("nobody has reaped it");
        }
    }
}

/// With whom a worker shares a page for claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paging {
    None,
    /// Its pool.
    Pool,
    /// An agent, as it is on another host.
    Far,
}

thread_local! {
    static UNUSED: RefCell<Vec<Page>> = const { RefCell::new(Vec::new()) };
}

/// A page for claims as both sides have it. It is used again in the next history: the worker's side
/// of it is never unmapped.
#[derive(Debug)]
pub(super) struct Page {
    file: MemoryFile,
    pub(super) words: &'static SharedPage,
}

impl Page {
    fn take() -> Self {
        let page = UNUSED.with_borrow_mut(Vec::pop).unwrap_or_else(|| {
            let (page, file) = SharedPage::create().unwrap();
            Self { file, words: Box::leak(Box::new(page)) }
        });
        for word in page.words.words() {
            word.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        page
    }
}

/// A process that was started.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub(super) struct Process {
    pub(super) fate: Arc<Fate>,
    /// Its ends of the pipes, until it exits.
    pipes: Option<WorkerPipes>,
    /// It has closed its output, and lives on.
    is_mute: bool,
    pub(super) page: Option<Page>,
    /// It shares that with an agent, and not with its pool.
    pub(super) is_far: bool,
    /// Memory is sent to it.
    pub(super) is_sent: bool,
    pub(super) is_alive: bool,
}

impl Process {
    /// With pipes that hold no more than a page if they are narrow.
    pub(super) fn start(birth: Birth, is_narrow: bool, paging: Paging) -> io::Result<Self> {
        let is_sent = birth.sends_memory;
        let (ours, theirs) = worker_pipes(is_sent)?;
        ioctl_fionbio(&theirs.input, true)?;
        ioctl_fionbio(&theirs.output, true)?;
        if is_narrow && !is_sent {
            rustix::pipe::fcntl_setpipe_size(&theirs.input, 4 << 10)?;
        }
        let page = (paging != Paging::None).then(Page::take);
        let is_far = paging == Paging::Far;
        let fate = Arc::<Fate>::default();
        let pid = u32::MAX - u32::try_from(birth.worker.0).unwrap();
        let body = SimulatedBody { pid, fate: Arc::clone(&fate) };
        let none = Err(io::ErrorKind::OutOfMemory.into());
        let mut spawned = Spawned::new(Box::new(body), ours, none)?;
        if let Some(page) = &page {
            let name = SharedPageRef::new(page.words, &page.file).unwrap();
            let others = Arc::new(SharedPage::open(name).unwrap());
            spawned.claims = Ok(if is_far {
                fate.0.lock().claims = Some(NumberedClaims::new(others));
                ClaimsPage::Far(name)
            } else {
                ClaimsPage::Shared(others, page.file.try_clone().unwrap())
            });
        }
        let _ = birth.reply.send(Ok(spawned)); // or its link has gone
        let (pipes, is_mute, is_alive) = (Some(theirs), false, true);
        Ok(Self { fate, pipes, is_mute, page, is_far, is_sent, is_alive })
    }

    pub(super) fn fail_to_start(birth: Birth, kind: io::ErrorKind) {
        let _ = birth.reply.send(Err(NoBirth::System(kind.into()))); // or its link has gone
    }

    pub(super) fn cannot_be_reached(birth: Birth) {
        let _ = birth.reply.send(Err(NoBirth::Unreachable)); // or its link has gone
    }

    /// Its host is lost, where it may run on.
    pub(super) fn lose(&mut self) {
        self.is_alive = false;
        self.fate.lose();
        self.pipes = None;
    }

    pub(super) fn exit(&mut self, raw_status: i32) {
        self.is_alive = false;
        self.fate.exit(Exit::from_wait(raw_status));
        self.pipes = None;
    }

    /// It closes its output and lives on.
    pub(super) fn close_output(&mut self) {
        let pipes = self.pipes.take();
        self.is_mute = true;
        self.pipes = pipes.map(|pipes| {
            let WorkerPipes { input, output, stderr } = pipes;
            drop(output);
            let nowhere = std::fs::File::open("/dev/null").unwrap().into();
            WorkerPipes { input, output: nowhere, stderr }
        });
    }

    pub(super) fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// Reads what there is of its input, no more than `most` bytes.
    pub(super) fn read(&self, most: usize) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(most);
        if let Some(pipes) = &self.pipes {
            let _ = read_behind(&pipes.input, &mut buffer, most); // or there is nothing
        }
        buffer
    }

    /// How much of it the pipe takes.
    pub(super) fn write(&self, bytes: &[u8]) -> usize {
        let Some(pipes) = &self.pipes else { return 0 };
        if bytes.is_empty() || self.is_mute {
            return 0;
        }
        rustix::io::write(&pipes.output, bytes).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        UNUSED.with_borrow_mut(|unused| unused.extend(self.page.take()));
    }
}
