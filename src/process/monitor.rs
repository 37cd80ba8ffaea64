//! One process from its start to its end: a task that spawns it, shakes hands with it, takes the
//! result of a typed call, and reaps it.

use std::io;
use std::mem::take;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::process::ChildStderr;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use super::error::{ProcessFailure, StartFailure};
use super::plan::Plan;
use super::shared::{CallReply, Shared, SpawnedProcess};
use super::stdio::{Pipes, Streams};
use crate::base::timer::Delay;
use crate::base::{AuthKey, Identity};
use crate::error::Refusal;
use crate::function::{Call, Registry};
use crate::memory::Payload;
use crate::memory::shared::{Kept, Lent, borrow};
use crate::parent::{Handshake, Heard, Program, keep_payload, misplaced, start_child};
use crate::sys::descriptor::{RoomToStart, numbers};
use crate::sys::memory::Peer;
use crate::sys::pipe::is_accessible;
use crate::sys::process::{ChildProcess, ExitWatch, new_group, require_io_driver};
use crate::sys::socket::{Channel, control_socket, send_with_descriptors};
use crate::wire::frame::{PREAMBLE, VERSION, frame_codec, put_frame, split_header, split_kind};
use crate::wire::hello::ProcessHello;
use crate::wire::message::{Kind, ReplyHeader};
use crate::wire::role::Role;

/// Runs a process from its start to its end.
pub(super) async fn run(mut guard: ReapGuard, plan: Plan, authkey: AuthKey) {
    let shared = &Arc::clone(&guard.shared);
    // They were looked at before.
    let Ok(Call { function, arguments, .. }) = plan.call else { return };
    let Some(function) = Registry::global().get(function) else { return };
    let identity = Identity::of_child(&shared.name, &plan.path, shared.daemon, &authkey);
    let hello = ProcessHello {
        version: VERSION,
        max_payload: plan.max_payload as u64,
        function: function.name().clone(),
        typed: plan.typed,
        ends_with_parent: shared.daemon || plan.typed,
        identity,
        limits: plan.program.limits,
        oom_score: plan.program.oom_score,
        pass_fds: numbers(&plan.program.pass_fds),
    };
    // To tell of it, which looks at files only if it must.
    let mut program = plan.program.clone();
    program.pass_fds.clear(); // it is only passed on once
    let started = match start_child(move || StartedProcess::new(&plan.program, plan.streams)).await
    {
        Ok(started) => started,
        Err(error) => {
            let error = Arc::new(error);
            let (program, hint) = (program.name(), program.remark());
            guard.fail(StartFailure::Spawn { program, error, hint }, None);
            return;
        }
    };
    let Some((spawned, pipes, mut conversation)) = started.accept(plan.max_payload) else { return };
    guard.holds = Holds::Bound(spawned.clone());
    shared.spawned(&spawned, pipes);
    let _kept = arguments.kept(); // as long as the process lives
    let ready = conversation.shake_hands(&hello, arguments, plan.start_timeout).await;
    if let Err(obstacle) = ready {
        spawned.child.kill();
        conversation.exit.exited().await;
        if let Some(code) = reap(&spawned) {
            program.cgroups_removed().await;
            let pid = spawned.child.pid();
            let failure = obstacle.describe(pid, code, plan.start_timeout, program.hint());
            guard.fail(failure, Some((pid, code)));
        }
        return;
    }
    let reply = if plan.typed {
        shared.running(spawned.clone(), None);
        conversation.take_reply(&spawned).await
    } else {
        guard.holds = Holds::Free(spawned.clone());
        let Conversation { channel, mut exit, .. } = conversation;
        shared.running(spawned.clone(), channel.into_descriptor().ok());
        exit.exited().await;
        None
    };
    if let Some(code) = reap(&spawned) {
        program.cgroups_removed().await;
        guard.finish(&spawned, code, reply);
    }
}

/// `None` if it lives: then its end was waited for on a runtime that has ended first.
fn reap(spawned: &SpawnedProcess) -> Option<i32> {
    let _ = spawned.child.reap(); // if somebody else has done so its code is unknown
    spawned.child.exit_code()
}

/// Sees to it that a process is reaped, and who waits for it is told, if the monitor is dropped
/// with its runtime.
pub(super) struct ReapGuard {
    shared: Arc<Shared>,
    holds: Holds,
}

enum Holds {
    Nothing,
    /// It has not begun, or nobody could take its result.
    Bound(SpawnedProcess),
    /// It runs on.
    Free(SpawnedProcess),
    /// Everything was said.
    Over,
}

impl ReapGuard {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, holds: Holds::Nothing }
    }

    fn fail(mut self, failure: StartFailure, remains: Option<(u32, i32)>) {
        self.holds = Holds::Over;
        self.shared.failed(failure, remains);
    }

    fn finish(mut self, spawned: &SpawnedProcess, code: i32, reply: Option<CallReply>) {
        self.holds = Holds::Over;
        self.shared.finished(spawned, code, reply);
    }
}

impl Drop for ReapGuard {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        match std::mem::replace(&mut self.holds, Holds::Over) {
            Holds::Nothing => shared.failed(ProcessFailure::RuntimeEnded, None),
            Holds::Bound(spawned) => {
                spawned.child.kill();
                reap_later(spawned, move |spawned, code| {
                    let remains = (spawned.child.pid(), code);
                    shared.failed(ProcessFailure::RuntimeEnded, Some(remains));
                });
            }
            Holds::Free(spawned) => {
                reap_later(spawned, move |spawned, code| shared.finished(spawned, code, None));
            }
            Holds::Over => {}
        }
    }
}

fn reap_later(spawned: SpawnedProcess, reaped: impl FnOnce(&SpawnedProcess, i32) + Send + 'static) {
    let child = Arc::clone(&spawned.child);
    child.reap_in_background(move || {
        if let Some(code) = spawned.child.exit_code() {
            reaped(&spawned, code);
        }
    });
}

/// A process that was just spawned, with what connects the two.
struct StartedProcess {
    newborn: Newborn,
    exit: ExitWatch,
    channel: Channel,
    pipes: Pipes,
}

/// Kills the process if it is dropped: then the runtime has ended meanwhile.
struct Newborn(Option<SpawnedProcess>);

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(spawned) = self.0.take() {
            spawned.child.kill();
            Arc::clone(&spawned.child).reap_in_background(|| {});
        }
    }
}

impl StartedProcess {
    fn new(program: &Program, streams: Streams) -> io::Result<Self> {
        let _room = RoomToStart::take()?;
        require_io_driver()?;
        let (ours, theirs) = control_socket()?;
        let (mut pipes, handed) = Pipes::open(streams)?;
        // Its real streams come by the socket, so that what is printed before `init` reaches
        // nobody.
        send_with_descriptors(&ours, &[0], &[&handed[0], &handed[1]])?;
        let leads_group = streams.need_own_group();
        let cgroup = program.new_cgroup()?;
        let mut command = program.command(Role::Process)?;
        command.stdin(theirs).stdout(Stdio::null()).stderr(streams.stderr());
        if leads_group {
            new_group(&mut command);
        }
        let mut child = command.spawn()?;
        drop(command); // it has the child's end of the socket
        let stderr = child.stderr.take();
        // From here on nothing that fails leaves the child behind.
        let spawned = ChildProcess::new(child, leads_group)?.within(cgroup);
        let spawned = SpawnedProcess::new(spawned)?;
        let newborn = Newborn(Some(spawned.clone()));
        spawned.child.join_cgroup()?; // before it is told anything
        pipes.stderr = stderr.map(ChildStderr::from_std).transpose()?;
        let channel = Channel::new(ours)?;
        Ok(Self { newborn, exit: ExitWatch::new(&spawned.child)?, channel, pipes })
    }

    /// Now somebody sees to it.
    fn accept(mut self, max_payload: usize) -> Option<(SpawnedProcess, Pipes, Conversation)> {
        let spawned = self.newborn.0.take()?;
        let codec = frame_codec(max_payload);
        let Self { exit, channel, pipes, .. } = self;
        let (inbox, peer) = (BytesMut::new(), Peer::child(spawned.child.pid()));
        Some((
            spawned,
            pipes,
            Conversation { channel, exit, codec, inbox, peer, borrowed: Kept::default() },
        ))
    }
}

/// What the two say to each other.
struct Conversation {
    channel: Channel,
    exit: ExitWatch,
    codec: LengthDelimitedCodec,
    inbox: BytesMut,
    /// Who opens what it shares.
    peer: Peer,
    /// What the reply names.
    borrowed: Kept,
}

/// Why a process was not ready.
enum Obstacle {
    Refused(Refusal),
    Protocol(io::Error),
    Timeout { silent: bool },
    Exited { silent: bool },
}

impl Obstacle {
    fn describe(self, pid: u32, code: i32, limit: Duration, hint: String) -> StartFailure {
        let hint_if = |silent| if silent { hint } else { String::new() };
        match self {
            Self::Refused(refusal) => StartFailure::Refused(refusal),
            Self::Protocol(error) => StartFailure::Protocol(error.to_string()),
            Self::Timeout { silent } => StartFailure::Timeout { pid, limit, hint: hint_if(silent) },
            // A signal was sent by somebody; an exit is a matter of the program.
            Self::Exited { silent } => {
                StartFailure::Died { pid, code, hint: hint_if(silent && code >= 0) }
            }
        }
    }
}

impl Conversation {
    /// Hands over what the process is to do, and waits until it is about to do so.
    async fn shake_hands(
        &mut self,
        hello: &ProcessHello,
        arguments: Payload,
        limit: Duration,
    ) -> Result<(), Obstacle> {
        let mut greeting = PREAMBLE.to_vec();
        put_frame(&mut greeting, Kind::Hello, hello, arguments.len())
            .map_err(Obstacle::Protocol)?;
        let mut memory = if is_accessible() { Vec::new() } else { arguments.descriptors() };
        let mut greeting = Buf::chain(Bytes::from(greeting), Bytes::from(arguments));
        let (mut handshake, mut overdue) = (Handshake::default(), Delay::new(limit));
        let (mut reading, mut writing) = (true, true);
        loop {
            let exited = tokio::select! {
                biased;
                received = self.channel.receive_more(&mut self.inbox), if reading => {
                    reading = self.peer.heard(received);
                    false
                }
                written = self.channel.send_all(&mut greeting, &mut memory), if writing => {
                    drop(written); // if it does not listen it is about to exit
                    writing = false;
                    false
                }
                () = self.exit.exited() => true,
                () = &mut overdue => {
                    return Err(Obstacle::Timeout { silent: handshake.is_silent() });
                }
            };
            if exited {
                let _ = self.peer.receive(self.channel.receive_available(&mut self.inbox));
            }
            if listen(&mut handshake, &mut self.inbox, &mut self.codec)? {
                return Ok(());
            }
            if exited {
                return Err(Obstacle::Exited { silent: handshake.is_silent() });
            }
        }
    }

    /// Waits for the end of a typed call; returns what was said of it.
    async fn take_reply(&mut self, spawned: &SpawnedProcess) -> Option<CallReply> {
        let (mut reply, mut reading, mut exited) = (None, true, false);
        loop {
            // First what has come with the last words of the handshake.
            match self.next_reply() {
                Ok(None) => {}
                Ok(told) if reply.is_none() => reply = told,
                nonsense => {
                    let error = nonsense.err().unwrap_or_else(|| misplaced(Kind::Reply));
                    reply = Some(CallReply::Nonsense(error.to_string()));
                    reading = false;
                    self.inbox.clear();
                    spawned.child.kill();
                }
            }
            if exited {
                return reply;
            }
            exited = tokio::select! {
                biased;
                received = self.channel.receive_more(&mut self.inbox), if reading => {
                    reading = self.peer.heard(received);
                    false
                }
                () = self.exit.exited() => true,
            };
            if exited {
                let _ = self.peer.receive(self.channel.receive_available(&mut self.inbox));
            }
        }
    }

    fn next_reply(&mut self) -> io::Result<Option<CallReply>> {
        while let Some(frame) = self.codec.decode(&mut self.inbox)? {
            let (kind, body) = split_kind(&frame)?;
            match kind {
                Kind::Lent => self.borrowed.add(borrow(&split_header::<Lent>(body)?.0, &self.peer)),
                Kind::Reply => {
                    let (header, payload) = split_header::<ReplyHeader>(body)?;
                    let payload = keep_payload(payload.len(), frame).with(take(&mut self.borrowed));
                    return Ok(Some(CallReply::Told(header.outcome, payload)));
                }
                _ => return Err(misplaced(kind)),
            }
        }
        Ok(None)
    }
}

/// Whether the process is ready, as far as has arrived.
fn listen(
    handshake: &mut Handshake,
    inbox: &mut BytesMut,
    codec: &mut LengthDelimitedCodec,
) -> Result<bool, Obstacle> {
    loop {
        match handshake.advance(inbox, codec).map_err(Obstacle::Protocol)? {
            Heard::Quiet => {}
            Heard::Wait => return Ok(false),
            Heard::Ready { .. } => return Ok(true),
            Heard::Refused(refusal) => return Err(Obstacle::Refused(refusal)),
        }
    }
}
