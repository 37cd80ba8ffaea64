//! The fork server as the pool sees it.
//!
//! A task owns the server: it starts it with the first request, passes requests on, hands out the
//! answers, and starts another one if it has died and is needed again. Workers that it has forked
//! live on without it; only how they end is not known then.
//!
//! ```text
//!          request               Ready
//! (none) ──────────▶ starting ──────────▶ serving
//!    ▲                  │ refused,           │ died, silent for too long:
//!    └──────────────────┴ died, too late ────┘ whoever waits is told
//! ```

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures::future::select;
use tokio::process::ChildStderr;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::codec::LengthDelimitedCodec;

use crate::base::timer::Delay;
use crate::base::{ResourceLimits, WorkerId, log};
use crate::error::{DeathReport, PoolProcess, Refusal, StartError, WorkerDeath};
use crate::parent::birth::orders::{ForkOrder, ForkRequest, Forked, ReapRequest, ServerClient};
use crate::parent::handshake::{Handshake, Heard};
use crate::parent::launch::{LAST_MOMENTS, Launch};
use crate::parent::output::{Drained, Printing, drain};
use crate::parent::program::{Program, start_child};
use crate::parent::source::Source;
use crate::sys::descriptor::{Descriptor, RoomToStart, room_for};
use crate::sys::fork;
use crate::sys::pipe::worker_pipes;
use crate::sys::process::{ChildProcess, Exit, Reaper, new_group, open_process, require_io_driver};
use crate::sys::socket::{Channel, control_socket, send_with_descriptors};
use crate::wire::fork::{Answer, Request, SIZE};
use crate::wire::frame::{LENGTH, frame_codec, split_header, split_kind};
use crate::wire::role::Role;

/// The most requests that wait for their answers. It bounds the descriptors that are under way, and
/// is enough to keep the server busy.
const MOST_SENT: usize = 16;

/// Begins with no server. The future is the task that owns it.
pub(crate) fn fork_server(launch: Arc<Launch>) -> (ServerClient, impl Future<Output = ()> + Send) {
    let (client, orders) = ServerClient::new();
    (client, run(launch, orders))
}

async fn run(launch: Arc<Launch>, mut orders: mpsc::UnboundedReceiver<ForkOrder>) {
    let mut servers = 0;
    // Closed with this task, or this process; then all end that hold the other end.
    let mut lifeline = None;
    while let Some(order) = orders.recv().await {
        match order {
            ForkOrder::Fork(fork) => {
                servers += 1;
                match StartedServer::start(&launch, servers, fork.worker, &mut lifeline).await {
                    Ok(mut server) => {
                        server.take(ForkOrder::Fork(fork));
                        server.run(&mut orders).await;
                    }
                    Err(error) => drop(fork.reply.send(Err(error))),
                }
            }
            ForkOrder::Reap(request) => drop(request), // which tells that the server is gone
            ForkOrder::Stop(stopped) => drop(stopped.send(())),
        }
    }
}

/// A server that was started.
struct StartedServer<'a> {
    launch: &'a Launch,
    number: u64,
    /// For which it was started.
    worker: WorkerId,
    reaper: Reaper,
    channel: Channel,
    /// Ends with the last lines of its output.
    stderr: JoinHandle<Drained>,
    /// Dropped once it has exited.
    exited: Option<oneshot::Sender<()>>,
    stage: ServerStage,
    inbox: BytesMut,
    /// What is left to be written of the hello.
    hello: BytesMut,
    /// Orders that were not passed on yet.
    unsent: VecDeque<ForkOrder>,
    /// Orders whose answers are to come, in this order.
    sent: VecDeque<ForkOrder>,
    /// Nothing more is sent before one of them is answered, as descriptors are few.
    is_short: bool,
    /// When the oldest of them was sent, or the last answer came; at first, when the server was
    /// started.
    silent_since: Instant,
    /// Rings when the server may have been silent for too long. Set once at a time, as most answers
    /// come at once and setting an alarm costs more than they do.
    alarm: Option<Delay>,
}

enum ServerStage {
    Starting(Handshake, LengthDelimitedCodec),
    Serving,
    /// It cannot serve, and no other could.
    Failed(StartError),
    /// It has misbehaved, before or after it was up, and must be killed; another one may do better.
    Condemned {
        serving: bool,
        remark: String,
    },
}

impl<'a> StartedServer<'a> {
    async fn start(
        launch: &'a Launch,
        number: u64,
        worker: WorkerId,
        lifeline: &mut Option<Arc<(Descriptor, Descriptor)>>,
    ) -> Result<Self, StartError> {
        let (program, old) = (launch.program.clone(), lifeline.clone());
        let started = start_child(move || {
            let _room = RoomToStart::take()?;
            let lifeline = old.map_or_else(|| fork::lifeline().map(Arc::new), Ok)?;
            Ok((spawn(&program, &lifeline.1)?, lifeline))
        });
        let started = started.await.map(|(started, new)| {
            *lifeline = Some(new);
            started
        });
        let (reaper, channel, stderr) = started.map_err(|error| launch.failed(error))?;
        let pid = reaper.child().pid();
        if reaper.child().end().is_none() {
            refuse_without_pidfds(pid)?;
        }
        log::debug!("the fork server has started with pid {pid}");
        let (exited, exit) = oneshot::channel();
        let (output, failed) = (launch.output.clone(), launch.failed_output.clone());
        let stderr = Source::Errors(stderr);
        let whose = Printing { worker, pid, host: launch.host.clone() };
        let stderr = tokio::spawn(drain(stderr, exit, whose, output, failed, None));
        let hello = launch.server_hello(worker).map_err(|error| launch.failed(error))?;
        Ok(Self {
            launch,
            number,
            worker,
            reaper,
            channel,
            stderr,
            exited: Some(exited),
            stage: ServerStage::Starting(Handshake::default(), frame_codec(0)),
            inbox: BytesMut::new(),
            hello,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            is_short: false,
            silent_since: Instant::now(),
            alarm: Some(Delay::new(launch.start_timeout)),
        })
    }

    /// Serves until the server ends, or nobody needs it any more.
    async fn run(mut self, orders: &mut mpsc::UnboundedReceiver<ForkOrder>) {
        let stopped = self.serve(orders).await;
        self.end().await;
        // If somebody waits: it is gone.
        if let Some(reply) = stopped {
            let _ = reply.send(()); // or nobody waits any more
        }
    }

    /// Returns who is to be told that it is gone.
    async fn serve(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<ForkOrder>,
    ) -> Option<oneshot::Sender<()>> {
        let mut stopped = None;
        while !self.is_done(stopped.is_some()) {
            let writes = !self.hello.is_empty() || (self.may_send() && !self.unsent.is_empty());
            tokio::select! {
                biased;
                ready = self.channel.readable() => if ready.is_err() || !self.receive() {
                    self.last_moments().await;
                    break;
                },
                () = self.reaper.exited() => break,
                ready = self.channel.writable(), if writes => if ready.is_err() || !self.send() {
                    self.last_moments().await;
                    break;
                },
                order = orders.recv() => match order {
                    Some(ForkOrder::Stop(reply)) => stopped = Some(reply),
                    Some(order) => self.take(order),
                    None => break,
                },
                () = ring(&mut self.alarm) => self.check_patience(),
            }
        }
        stopped
    }

    /// The connection has ended. Most likely the process is about to exit, which tells more.
    async fn last_moments(&mut self) {
        if matches!(self.stage, ServerStage::Starting(..) | ServerStage::Serving) {
            select(pin!(self.reaper.exited()), Delay::new(LAST_MOMENTS)).await;
        }
    }

    /// If it is to stop, what was asked before is done before.
    fn is_done(&self, stopping: bool) -> bool {
        match self.stage {
            ServerStage::Starting(..) => stopping,
            ServerStage::Serving => stopping && self.sent.is_empty() && self.unsent.is_empty(),
            ServerStage::Failed(_) | ServerStage::Condemned { .. } => true,
        }
    }

    fn is_serving(&self) -> bool {
        matches!(self.stage, ServerStage::Serving)
    }

    fn may_send(&self) -> bool {
        self.is_serving() && self.sent.len() < MOST_SENT && !self.is_short
    }

    fn take(&mut self, order: ForkOrder) {
        match order {
            ForkOrder::Reap(request) if request.worker.server != self.number => drop(request),
            order => self.unsent.push_back(order),
        }
        if self.is_serving() {
            self.send(); // if the connection is broken, that is seen next
        }
    }

    /// Writes what can be written; false if the connection is broken.
    fn send(&mut self) -> bool {
        while !self.hello.is_empty() {
            match self.channel.try_send(&self.hello, &[]) {
                Ok(count) => self.hello.advance(count),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        while self.may_send()
            && let Some(order) = self.unsent.pop_front()
        {
            let Some(order) = self.equip(order) else { continue };
            match self.pass_on(&order) {
                Ok(SIZE) => self.await_answer(order),
                Ok(_) => return false,
                Err(error) => {
                    self.unsent.push_front(order);
                    return error.kind() == io::ErrorKind::WouldBlock;
                }
            }
        }
        true
    }

    /// Gives a worker that is wanted its pipes. `None` if it was given up, or is now, or has to
    /// wait.
    fn equip(&mut self, order: ForkOrder) -> Option<ForkOrder> {
        let ForkOrder::Fork(mut fork) = order else { return Some(order) };
        if fork.reply.is_closed() {
            return None;
        }
        if fork.pipes.is_none() {
            let room = room_for(self.sent.len() + 1);
            if room.is_err() && !self.sent.is_empty() {
                self.is_short = true;
                self.unsent.push_front(ForkOrder::Fork(fork));
                return None;
            }
            match room.and_then(|()| worker_pipes(fork.sends_memory)) {
                Ok(pipes) => fork.pipes = Some(Box::new(pipes)),
                Err(error) => {
                    let _ = fork.reply.send(Err(self.launch.failed(error)));
                    return None;
                }
            }
        }
        Some(ForkOrder::Fork(fork))
    }

    fn pass_on(&self, order: &ForkOrder) -> io::Result<usize> {
        match order {
            ForkOrder::Fork(ForkRequest { pipes: Some(pipes), .. }) => {
                self.channel.try_send(&Request::Fork.to_bytes(), &pipes.1.ends())
            }
            ForkOrder::Reap(ReapRequest { worker, .. }) => {
                self.channel.try_send(&Request::Reap { pid: worker.pid }.to_bytes(), &[])
            }
            // Not reached: they are not passed on so.
            ForkOrder::Fork(_) | ForkOrder::Stop(_) => Ok(0),
        }
    }

    fn await_answer(&mut self, order: ForkOrder) {
        if self.sent.is_empty() {
            self.silent_since = Instant::now();
        }
        if self.alarm.is_none() {
            self.alarm = Some(Delay::new(self.patience()));
        }
        self.sent.push_back(order);
    }

    /// Handles what has arrived; false at the end of the connection.
    fn receive(&mut self) -> bool {
        loop {
            match self.channel.try_read_buf(&mut self.inbox) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
            if let Err(error) = self.understand() {
                let serving = self.is_serving();
                self.stage = ServerStage::Condemned { serving, remark: error.to_string() };
                return false;
            }
            if matches!(self.stage, ServerStage::Failed(_)) {
                return false; // it may go on talking for ever
            }
        }
    }

    fn understand(&mut self) -> io::Result<()> {
        while let ServerStage::Starting(handshake, codec) = &mut self.stage {
            match handshake.advance(&mut self.inbox, codec)? {
                Heard::Quiet => {}
                Heard::Wait => return Ok(()),
                Heard::Ready { remarks, .. } => {
                    let pid = self.reaper.child().pid();
                    for remark in remarks {
                        self.launch.remark_on_preload(pid, &remark);
                    }
                    self.stage = ServerStage::Serving;
                    self.launch.failed_output.clear();
                    self.alarm = None; // it was set for the start, which may take longer
                    self.send();
                }
                Heard::Refused(refusal) => {
                    let error = self.launch.refused(self.place(), refusal);
                    self.stage = ServerStage::Failed(error);
                }
            }
        }
        while self.is_serving()
            && let Some((bytes, behind)) = self.inbox.split_first_chunk::<SIZE>()
        {
            let answer = Answer::from_bytes(*bytes)?;
            if behind.len() < answer.rest()? {
                break;
            }
            self.inbox.advance(SIZE);
            let rest = self.inbox.split_to(answer.rest()?);
            self.hand_out(answer, &rest)?;
        }
        if self.is_serving() {
            self.send(); // there is room for more
        }
        Ok(())
    }

    fn hand_out(&mut self, answer: Answer, rest: &[u8]) -> io::Result<()> {
        self.silent_since = Instant::now();
        self.is_short = false;
        match (self.sent.pop_front(), answer) {
            (
                Some(ForkOrder::Fork(ForkRequest { pipes: Some(pipes), reply, .. })),
                Answer::Forked { pid },
            ) => {
                let parent = self.reaper.child().pid();
                let forked = Forked { pid, parent, server: self.number };
                let (ours, theirs) = *pipes;
                drop(theirs); // the worker has its own copies, and their end must be seen
                if reply.send(Ok((forked, ours))).is_err() {
                    self.abandon(forked);
                }
            }
            (Some(ForkOrder::Fork(fork)), Answer::Failed { errno }) => {
                let error = self.launch.failed(io::Error::from_raw_os_error(errno));
                let _ = fork.reply.send(Err(error)); // or nobody waits any more
            }
            (Some(ForkOrder::Fork(fork)), Answer::HookFailed { .. }) => {
                let (_, body) = split_kind(rest.get(LENGTH..).unwrap_or_default())?;
                let refusal = Refusal::Hook(split_header(body)?.0);
                let error = self.launch.refused(self.place(), refusal);
                let _ = fork.reply.send(Err(error)); // or nobody waits any more
            }
            (Some(ForkOrder::Reap(request)), Answer::Reaped { status }) => {
                request.answer(Exit::from_wait(status));
            }
            // It was not there any more, which the dropped request tells.
            (Some(ForkOrder::Reap(..)), Answer::Failed { .. }) => {}
            _ => return Err(io::Error::other("it gave an answer to another question")),
        }
        Ok(())
    }

    /// Nobody waits for this worker any more. It has no parent to talk to, and ends by itself at
    /// once; it is killed all the same before it is waited for.
    fn abandon(&mut self, worker: Forked) {
        let child = ChildProcess::forked(worker.pid, worker.parent).ok().map(Arc::new);
        if let Some(child) = &child {
            child.kill();
        }
        self.unsent.push_back(ForkOrder::Reap(ReapRequest::unasked(worker, child)));
        self.send();
    }

    /// How long it may take to start, or to answer, which it does at once unless it hangs. A worker
    /// that waits for an answer must not have used up its own time by then, which would break the
    /// pool.
    fn patience(&self) -> Duration {
        const ANSWER: Duration = Duration::from_secs(10);
        let limit = self.launch.start_timeout;
        if self.is_serving() { ANSWER.min(limit / 2) } else { limit }
    }

    fn check_patience(&mut self) {
        self.alarm = None;
        if self.is_serving() && self.sent.is_empty() {
            return; // set again with the next order
        }
        let left = self.patience().saturating_sub(self.silent_since.elapsed());
        if left.is_zero() {
            self.stage = self.too_late();
        } else {
            self.alarm = Some(Delay::new(left));
        }
    }

    fn too_late(&self) -> ServerStage {
        if let ServerStage::Starting(handshake, _) = &self.stage {
            let initializing = !handshake.is_silent();
            return ServerStage::Failed(self.launch.timed_out(self.place(), initializing));
        }
        let remark = format!("it did not answer within {:?}", self.patience());
        ServerStage::Condemned { serving: true, remark }
    }

    /// Ends the server, if it has not ended yet, and tells all who wait.
    async fn end(mut self) {
        let killed = self.reaper.child().exit().is_none();
        self.reaper.child().kill();
        self.reaper.exited().await;
        self.receive(); // what it had answered before
        drop(self.exited.take()); // so that its output is not waited for any longer
        let tail = (&mut self.stderr).await.map(|drained| drained.tail).unwrap_or_default();
        let exit = self.reaper.child().reap().ok();
        let remark = killed.then(|| "it was told to end".to_owned());
        let error = self.verdict(|condemned| self.death(exit, tail, condemned.or(remark)));
        log::debug!("the fork server is gone: {error}");
        for order in self.sent.drain(..).chain(self.unsent.drain(..)) {
            if let ForkOrder::Fork(fork) = order {
                let _ = fork.reply.send(Err(error.clone())); // or nobody waits any more
            }
        }
    }

    /// What those are told who wait for a worker.
    fn verdict(&self, death: impl FnOnce(Option<String>) -> WorkerDeath) -> StartError {
        match &self.stage {
            ServerStage::Failed(error) => error.clone(),
            ServerStage::Serving => StartError::ServerLost(death(None)),
            ServerStage::Condemned { serving: true, remark } => {
                StartError::ServerLost(death(Some(remark.clone())))
            }
            ServerStage::Condemned { serving: false, remark } => {
                self.launch.died(death(Some(remark.clone())), false)
            }
            ServerStage::Starting(handshake, _) => {
                self.launch.died(death(None), handshake.is_silent())
            }
        }
    }

    fn place(&self) -> PoolProcess {
        PoolProcess::ForkServer(self.reaper.child().pid())
    }

    fn death(
        &self,
        exit: Option<Exit>,
        stderr_tail: String,
        remark: Option<String>,
    ) -> WorkerDeath {
        WorkerDeath::new(DeathReport {
            process: self.place(),
            worker: self.worker,
            exit: exit.unwrap_or_default(),
            stderr_tail,
            task_output: None,
            limits: ResourceLimits::new(),
            task_limits: None,
            host: None,
            remark,
        })
    }
}

/// Starts the process.
fn spawn(program: &Program, lifeline: &Descriptor) -> io::Result<(Reaper, Channel, ChildStderr)> {
    require_io_driver()?;
    let (ours, theirs) = control_socket()?;
    send_with_descriptors(&ours, &[0], &[lifeline])?;
    let mut command = program.command(Role::ForkServer)?;
    // What is printed before `init` leads nowhere; from then on it joins standard error.
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    new_group(&mut command);
    let mut child = command.spawn()?;
    let stderr = child.stderr.take();
    // From here on nothing that fails leaves the child behind.
    let reaper = Reaper::new(ChildProcess::new(child, true)?)?;
    let stderr = stderr.ok_or_else(|| io::Error::other("the child has no pipe"))?;
    Ok((reaper, Channel::new(ours)?, ChildStderr::from_std(stderr)?))
}

/// Pending for ever while it is not set.
/// Without them nobody but the server would see a worker end, and the server only while it waits.
fn refuse_without_pidfds(server: u32) -> Result<(), StartError> {
    let Err(error) = open_process(server) else { return Ok(()) };
    let reason = format!(
        "`pidfd_open`, by which their ends are seen, is refused: {error}; let the system's filter \
         allow it (Linux has it since 5.3), or use `StartMethod::Spawn`"
    );
    Err(StartError::CannotFork {
        place: PoolProcess::ForkServer(server),
        reason,
        after_hooks: false,
    })
}

async fn ring(alarm: &mut Option<Delay>) {
    match alarm {
        Some(delay) => delay.await,
        None => pending().await,
    }
}
