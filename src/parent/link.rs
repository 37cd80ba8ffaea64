//! One child and its pipes: orders go in, reports come out.
//!
//! A link is a task that spawns a worker, shakes hands with it, moves frames both ways, and ends by
//! reaping it; its last report is always [`Report::Ended`]. If the supervisor goes, so does the
//! worker.
//!
//! ```text
//! spawned ─▶ preamble ─▶ WorkerHello ─▶ Ready ─▶ (messages) ─▶ Goodbye ─▶ exited ─▶ reaped
//! ```
//!
//! At any point the process may just exit. Then all that it has written is read before the end is
//! reported: a result that was written is delivered, whatever happened afterwards.

mod emitted;
mod end;
#[cfg(test)]
mod fuzz;
mod progress;
mod told;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::future::OptionFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::base::{Clock, Sleep, WorkerId};
use crate::error::{PoolProcess, StartError};
use crate::memory::page::{OutputMeter, Watch};
use crate::memory::shared::{Kept, Lent, borrow};
use crate::memory::{Arena, Loans, Payload};
use crate::parent::birth::start::{Body, ClaimsPage, Spawned, Start};
use crate::parent::handshake::{Handshake, Heard, misplaced};
use crate::parent::inbox::{SMALL, frame_start, keep_payload, read_more, small_payload};
use crate::parent::launch::{LAST_MOMENTS, Launch};
use crate::parent::link::emitted::read_emitted;
use crate::parent::link::progress::read_progress;
use crate::parent::link::told::Told;
use crate::parent::message::{
    Claims, Ended, ExitReply, Listener, Message, Order, Orders, Reply, Report, Why,
};
use crate::parent::outlet::Outlet;
use crate::parent::output::{Drained, Printing, drain};
use crate::parent::source::Source;
use crate::parent::unshared::Unshared;
use crate::sys::memory::{Peer, SharedPage};
use crate::sys::signal::{SIGTERM, is_ignored};
use crate::wire::emit::EmitHeader;
use crate::wire::far::FarAnswer;
use crate::wire::frame::{LENGTH, frame_codec, split_header, split_kind};
use crate::wire::message::{
    ChunkReplyHeader, Goodbye, Kind, ReplyHeader, SegmentOffer, SegmentReply,
};

/// What a link tells its supervisor by.
pub(crate) struct Uplink {
    pub(crate) worker: WorkerId,
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) reports: mpsc::Sender<(WorkerId, Report)>,
    pub(crate) clock: Clock,
    /// Where large arguments are; it is told that what is shared is in use.
    pub(crate) arena: Arc<Arena>,
}

impl Uplink {
    async fn report(&self, report: Report) {
        let _ = self.reports.send((self.worker, report)).await; // or the supervisor has gone
    }

    /// Leaves nothing of what the worker has said.
    async fn bring(&self, messages: &mut Vec<Message>) {
        self.listener.bring(self.worker, messages);
        if !messages.is_empty() {
            self.report(Report::Messages(std::mem::take(messages))).await;
        }
    }
}

/// Runs a worker from its start to its end.
pub(crate) async fn run(
    start: Arc<dyn Start>,
    launch: Arc<Launch>,
    mut orders: Orders,
    uplink: Uplink,
) {
    let (watch, is_own) = (launch.oom_watch(), launch.program.command.is_none());
    let ended = loop {
        match start.start(uplink.worker, &launch, &mut orders).await {
            Ok(spawned) => {
                let link = Link::new(Arc::clone(&launch), &uplink, spawned);
                if let Some(ended) = link.run(&mut orders).await {
                    break ended;
                }
            }
            Err(error) => break Ended::NotStarted(error),
        }
    };
    uplink.report(Report::Ended(ended.explained(&watch, is_own))).await;
}

/// How far a worker has come.
enum LinkStage {
    Starting(Handshake),
    Serving,
    Goodbye(Option<ExitReply>),
    /// It was ended or ends because it cannot serve.
    Failed(LinkFailure),
}

enum LinkFailure {
    /// It never became ready, for this reason.
    Start(StartError),
    /// It broke the protocol.
    Protocol(String),
    /// It cannot open what is shared, which is to be sent to another one in its place.
    Unshared,
}

struct Link<'a> {
    launch: Arc<Launch>,
    uplink: &'a Uplink,
    pid: u32,
    /// Who opens what it shares; most likely the process with that pid.
    peer: Peer,
    body: Box<dyn Body>,
    outlet: Outlet,
    /// Who has made it, if that is not this process.
    maker: Option<u32>,
    stdout: Source,
    /// Ends with the last lines of the worker's output.
    stderr: JoinHandle<Drained>,
    /// Dropped once it has exited.
    exited: Option<oneshot::Sender<()>>,
    /// The page for claims, or why there is none, until it is ready.
    claims: Option<Result<ClaimsPage, Unshared>>,
    /// Where it shows what it has not written yet.
    window: Option<Watch>,
    /// Where it leaves large results.
    loans: Loans,
    stage: LinkStage,
    codec: LengthDelimitedCodec,
    inbox: BytesMut,
    /// The codec has seen the beginning of a frame, and not its end.
    inside: bool,
    told: Told,
    /// How many tasks it has answered.
    replies: u64,
    /// What the next reply names.
    borrowed: Kept,
    /// What it has said, and the supervisor has not heard.
    messages: Vec<Message>,
    /// What it was told before it could hear it.
    unheard: Option<Order>,
    was_ready: bool,
}

impl<'a> Link<'a> {
    fn new(launch: Arc<Launch>, uplink: &'a Uplink, spawned: Spawned) -> Self {
        let Spawned { body, stdin, stdout, stderr, claims, maker } = spawned;
        let (pid, (exited, exit)) = (body.pid(), oneshot::channel());
        let (output, failed) = (launch.output.clone(), launch.failed_output.clone());
        let meter = match &claims {
            Ok(ClaimsPage::Shared(page, _)) => Some(OutputMeter::new(Arc::clone(page))),
            Ok(ClaimsPage::Far(_)) | Err(_) => None,
        };
        let whose = Printing { worker: uplink.worker, pid, host: launch.host.clone() };
        let stderr = tokio::spawn(drain(stderr, exit, whose, output, failed, meter));
        Self {
            uplink,
            pid,
            // A pid of another host is somebody else's here, and no process has this one.
            peer: Peer::child(if launch.is_far { u32::MAX } else { pid }),
            body,
            maker,
            outlet: Outlet::new(stdin),
            stdout,
            stderr,
            exited: Some(exited),
            claims: Some(claims.map_err(Unshared::NotMade)),
            window: None,
            loans: Loans::new(launch.memory_for_results()),
            stage: LinkStage::Starting(Handshake::default()),
            codec: frame_codec(launch.max_payload),
            inbox: BytesMut::new(),
            inside: false,
            told: Told::default(),
            replies: 0,
            borrowed: Kept::default(),
            messages: Vec::new(),
            unheard: None,
            was_ready: false,
            launch,
        }
    }

    /// `None` if it has to be started once more.
    async fn run(mut self, orders: &mut Orders) -> Option<Ended> {
        self.uplink.report(Report::Spawned { pid: self.pid }).await;
        self.greet();
        self.serve(orders).await;
        let is_unshared = matches!(self.stage, LinkStage::Failed(LinkFailure::Unshared));
        if is_unshared && self.told.is_wanted() && self.body.lost().is_none() {
            self.launch.sends_memory.store(true, Ordering::Relaxed);
            self.body.reap_later();
            return None;
        }
        Some(self.end().await)
    }

    fn greet(&mut self) {
        let offered = self.claims.as_ref().and_then(|claims| claims.as_ref().ok());
        let page = offered.and_then(ClaimsPage::name);
        let memory = || offered.and_then(ClaimsPage::descriptor).into_iter().collect();
        let (mut hello, arguments) = self.launch.hello(self.uplink.worker, page);
        if let Some(maker) = self.maker {
            hello.identity.set_parent_pid(maker);
        }
        if let Err(error) = self.outlet.put_naming(Kind::Hello, &hello, arguments, memory) {
            self.fail_protocol(&error);
        }
    }

    /// Moves frames until the process has exited.
    async fn serve(&mut self, orders: &mut Orders) {
        const BATCH: usize = 256;
        let (mut batch, mut listening, mut reading) = (Vec::with_capacity(BATCH), true, true);
        let mut blocked = self.is_blocked().await;
        let mut overdue = OptionFuture::default();
        loop {
            let seen = self.look().await;
            tokio::select! {
                biased;
                count = orders.recv_many(&mut batch, BATCH), if listening => {
                    if count == 0 {
                        self.told.terminated = true; // the supervisor has gone
                        self.body.kill();
                        listening = false;
                    }
                    batch.drain(..).for_each(|order| self.obey(order));
                    if !blocked {
                        blocked = self.is_blocked().await;
                    }
                }
                count = read_more(&mut self.stdout, &mut self.inbox), if reading => {
                    if let Some(window) = &mut self.window {
                        window.receive(&mut self.inbox, count);
                    }
                    self.receive().await;
                    if count == 0 {
                        reading = false;
                        overdue = self.silent();
                    }
                }
                () = poll_fn(|cx| self.outlet.poll_flush(cx)), if blocked => {
                    blocked = false;
                    self.uplink.report(Report::Unblocked).await;
                }
                Some(()) = &mut overdue => {
                    overdue = OptionFuture::default();
                    self.fail_protocol(&io::Error::other("it closed its output and lived on"));
                }
                answer = poll_fn(|cx| poll_answer_or_exit(&mut *self.body, cx)) => match answer {
                    Some(answer) => self.uplink.report(Report::Answer(answer)).await,
                    None => return,
                },
                () = std::future::ready(()), if seen => {}
            }
        }
    }

    /// Looks for replies that the worker has not written; if there are any it is not to be waited.
    async fn look(&mut self) -> bool {
        let seen = self.window.as_mut().is_some_and(|window| window.look(&mut self.inbox));
        if seen {
            self.receive().await;
        }
        seen
    }

    /// Writes what the pipe takes at once; says, also to the supervisor, if that is not all.
    async fn is_blocked(&mut self) -> bool {
        let blocked = !self.outlet.flush();
        if blocked {
            self.uplink.report(Report::Blocked).await;
        }
        blocked
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Flush => {} // done after each batch of orders
            Order::Trim => {
                if self.loans.trim() {
                    self.uplink.arena.set_used();
                }
            }
            Order::Stop => {
                self.told.stopping = true;
                let (stop, arguments) = self.launch.stop();
                if let Err(error) = self.outlet.put(Kind::Stop, &stop, arguments) {
                    self.fail_protocol(&error);
                }
            }
            Order::Terminate => {
                self.told.terminated = true;
                self.body.terminate();
                // It begins with what this process ignores.
                let is_deaf = self.is_silent() && is_ignored(SIGTERM);
                self.unheard = is_deaf.then_some(Order::Terminate);
            }
            Order::Kill(reason) => {
                self.told.killed.get_or_insert(reason);
                self.body.kill();
            }
            Order::Ask(question) => self.body.ask(question),
        }
    }

    /// It has not said hello.
    fn is_silent(&self) -> bool {
        matches!(&self.stage, LinkStage::Starting(handshake) if handshake.is_silent())
    }

    /// The worker has closed its output. If it has not said goodbye it cannot serve any more, so it
    /// is killed if it lives on; most likely it is about to exit, and its exit code tells more.
    fn silent(&self) -> OptionFuture<Sleep> {
        let said_goodbye = matches!(self.stage, LinkStage::Goodbye(_));
        (!said_goodbye).then(|| self.uplink.clock.sleep(LAST_MOMENTS)).into()
    }

    /// Handles all frames that have arrived.
    async fn receive(&mut self) {
        loop {
            match self.next_step() {
                Ok(LinkStep::Message(message)) => {
                    match (self.messages.last_mut(), message) {
                        // Only the running task reports, and only its latest report counts. So
                        // a worker that reports without limit keeps nobody busy but its link.
                        (Some(last @ Message::Progress(_)), newer @ Message::Progress(_)) => {
                            *last = newer;
                        }
                        (_, message) => self.messages.push(message),
                    }
                }
                // Nothing but a protocol error or a goodbye comes after the first message.
                Ok(LinkStep::Report(report)) => self.uplink.report(report).await,
                Ok(LinkStep::Quiet) => {}
                Ok(LinkStep::Wait) => break,
                Err(error) => {
                    self.fail_protocol(&error);
                    break;
                }
            }
        }
        if !self.messages.is_empty() {
            self.uplink.bring(&mut self.messages).await;
        }
    }

    fn next_step(&mut self) -> io::Result<LinkStep> {
        match &mut self.stage {
            LinkStage::Starting(handshake) => {
                let heard = handshake.advance(&mut self.inbox, &mut self.codec)?;
                let (is_deaf, no_page) = (handshake.is_silent(), handshake.no_page());
                if let Some(order) = self.unheard.take_if(|_| !is_deaf) {
                    self.obey(order);
                }
                if no_page.is_some_and(|errno| self.cannot_open(errno)) {
                    return Ok(LinkStep::Quiet);
                }
                Ok(self.start(heard))
            }
            LinkStage::Failed(_) => {
                self.inbox.clear();
                Ok(LinkStep::Wait)
            }
            LinkStage::Serving | LinkStage::Goodbye(_) => {
                if let Some(reply) = self.next_small_reply()? {
                    return Ok(LinkStep::Message(Message::Reply(reply)));
                }
                // The codec takes the length off as soon as it is there, and then waits for the
                // rest.
                let begins = self.inside || frame_start(&self.inbox).is_some();
                let frame = self.codec.decode(&mut self.inbox)?;
                self.inside = begins && frame.is_none();
                frame.map_or(Ok(LinkStep::Wait), |frame| self.understand(frame))
            }
        }
    }

    /// The reply of a task, if that comes next, is small, and is here as a whole: what a pool of
    /// quick tasks gets most, without the cost of a frame of its own.
    fn next_small_reply(&mut self) -> io::Result<Option<Reply>> {
        if self.inside || !matches!(self.stage, LinkStage::Serving) {
            return Ok(None);
        }
        let small = frame_start(&self.inbox).filter(|(length, _)| *length <= SMALL);
        let Some(frame) = small.and_then(|(length, rest)| rest.get(..length)) else {
            return Ok(None);
        };
        let (Kind::Reply, body) = split_kind(frame)? else { return Ok(None) };
        let (header, payload) = split_header::<ReplyHeader>(body)?;
        let (payload, length) = (small_payload(payload), LENGTH + frame.len());
        self.inbox.advance(length);
        Ok(Some(self.reply(header, payload)))
    }

    fn reply(&mut self, header: ReplyHeader, payload: Payload) -> Reply {
        self.replies += 1;
        Reply::Task { header, payload: self.with_borrowed(payload) }
    }

    /// A payload with what it names, of which the worker has told before.
    fn with_borrowed(&mut self, payload: Payload) -> Payload {
        payload.with(std::mem::take(&mut self.borrowed))
    }

    fn start(&mut self, heard: Heard) -> LinkStep {
        match heard {
            Heard::Quiet => LinkStep::Quiet,
            Heard::Wait => LinkStep::Wait,
            Heard::Ready { segments, .. } => {
                if segments {
                    self.outlet.set_opens_segments();
                }
                let (claims, unshared) = match self.claims.take() {
                    Some(Ok(ClaimsPage::Shared(page, file))) => {
                        self.peer = SharedPage::opener(&file, self.pid);
                        self.window = Some(Watch::new(Arc::clone(&page), self.inbox.len()));
                        (Claims::Shared(page), None)
                    }
                    Some(Ok(ClaimsPage::Far(_))) => (Claims::Numbered, None),
                    claims => (Claims::None, claims.and_then(|claims| claims.err()?.text())),
                };
                self.stage = LinkStage::Serving;
                self.was_ready = true;
                self.launch.failed_output.clear();
                let outlet = self.outlet.clone();
                LinkStep::Report(Report::Ready { outlet, claims, unshared })
            }
            Heard::Refused(refusal) => {
                // The worker cannot serve this pool.
                let error = self.launch.refused(PoolProcess::Worker(self.pid), refusal);
                self.stage = LinkStage::Failed(LinkFailure::Start(error));
                self.body.kill();
                LinkStep::Quiet
            }
        }
    }

    /// The worker says that it cannot open the page; whether it is over with it, as another one may
    /// have it sent.
    fn cannot_open(&mut self, errno: i32) -> bool {
        if !matches!(self.claims, Some(Ok(_))) {
            return false; // that is known
        }
        let is_far = matches!(self.claims, Some(Ok(ClaimsPage::Far(_))));
        let unshared = Unshared::not_opened(errno, is_far || self.outlet.sends_memory());
        let (may_be_sent, is_wanted) = (unshared.may_be_sent(), self.told.is_wanted());
        if may_be_sent && is_wanted {
            self.stage = LinkStage::Failed(LinkFailure::Unshared);
            self.body.kill();
        }
        self.claims = (!may_be_sent).then_some(Err(unshared)); // one that leaves needs none
        may_be_sent && is_wanted
    }

    fn understand(&mut self, frame: BytesMut) -> io::Result<LinkStep> {
        let (kind, body) = split_kind(&frame)?;
        let may_leave = self.told.stopping || self.is_used_up();
        match (&mut self.stage, kind) {
            (LinkStage::Serving, Kind::Reply) => {
                let (header, payload) = split_header::<ReplyHeader>(body)?;
                let payload = keep_payload(payload.len(), frame);
                return Ok(LinkStep::Message(Message::Reply(self.reply(header, payload))));
            }
            (LinkStage::Serving, Kind::SegmentReply) => {
                let (header, _) = split_header::<SegmentReply>(body)?;
                let loan = self.loans.take(&header, self.launch.max_payload)?;
                let reply = self.reply(header.reply, Payload::Loan(loan));
                return Ok(LinkStep::Message(Message::Reply(reply)));
            }
            (LinkStage::Serving, Kind::SegmentOffer) => {
                let (offer, _) = split_header::<SegmentOffer>(body)?;
                self.uplink.arena.set_used();
                self.peer.receive(self.outlet.receive(1))?;
                if self.loans.accept(&offer, &self.peer)? {
                    self.outlet.put(Kind::OfferRefused, &(), Payload::default())?;
                    // What the pipe does not take is written with what comes next.
                    self.outlet.flush();
                }
            }
            (LinkStage::Serving, Kind::CannotOpen) => {
                return Ok(LinkStep::Message(Message::CannotOpen));
            }
            (LinkStage::Serving, Kind::ChunkReply) => {
                let (header, entries) = split_header::<ChunkReplyHeader>(body)?;
                self.replies += u64::from(header.run_time.is_some());
                let entries = self.with_borrowed(keep_payload(entries.len(), frame));
                return Ok(LinkStep::Message(Message::Reply(Reply::Chunk { header, entries })));
            }
            (LinkStage::Serving, Kind::Progress) => {
                let progress = Message::Progress(read_progress(body)?);
                return Ok(LinkStep::Message(progress));
            }
            (LinkStage::Serving, Kind::Emit) => {
                let (header, payload) = split_header::<EmitHeader>(body)?;
                let payload = self.with_borrowed(keep_payload(payload.len(), frame));
                return Ok(LinkStep::Message(Message::Emit(read_emitted(header, payload)?)));
            }
            (LinkStage::Serving, Kind::Lent) => {
                let (lent, _) = split_header::<Lent>(body)?;
                self.peer.receive(self.outlet.receive(lent.count()))?;
                self.borrowed.add(borrow(&lent, &self.peer));
            }
            (LinkStage::Serving, Kind::OverMemory) => {
                return Ok(LinkStep::Message(Message::OverMemory));
            }
            (LinkStage::Serving, Kind::AskedToEnd) => {
                return Ok(LinkStep::Message(Message::AskedToEnd));
            }
            (LinkStage::Goodbye(_), Kind::AskedToEnd) => {} // it does so in any case
            (LinkStage::Serving, Kind::Goodbye) if may_leave => {
                let (goodbye, payload) = split_header::<Goodbye>(body)?;
                if goodbye.exit_hook.is_some() != self.launch.exit_hook.is_some() {
                    let message = "its goodbye does not say what the exit hook came to";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                let payload = self.with_borrowed(keep_payload(payload.len(), frame));
                let exit_reply = goodbye.exit_hook.map(|outcome| ExitReply { outcome, payload });
                self.stage = LinkStage::Goodbye(exit_reply);
            }
            (_, kind) => return Err(misplaced(kind)),
        }
        Ok(LinkStep::Quiet)
    }

    /// Then it leaves without being told to. It has no task any more, as it gets no more than
    /// these.
    fn is_used_up(&self) -> bool {
        self.launch.leaves_after() == Some(self.replies)
    }

    fn fail_protocol(&mut self, error: &io::Error) {
        self.stage = LinkStage::Failed(LinkFailure::Protocol(error.to_string()));
        self.body.kill();
    }
}

/// The next answer of a worker on another host; `None` once it has exited.
fn poll_answer_or_exit(body: &mut dyn Body, cx: &mut Context<'_>) -> Poll<Option<FarAnswer>> {
    match body.poll_answer(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => body.poll_exited(cx).map(|()| None),
    }
}

/// What looking at the inbox led to.
enum LinkStep {
    Message(Message),
    Report(Report),
    /// There may be more to see.
    Quiet,
    /// More must be read first.
    Wait,
}
