//! How the process of a worker comes to be, and what its link may do with it.

use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use futures::future::{BoxFuture, select};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::runtime::Handle;

use crate::base::WorkerId;
use crate::base::timer::Delay;
use crate::error::StartError;
use crate::parent::birth::orders::{Forked, ServerClient};
use crate::parent::launch::{LAST_MOMENTS, Launch};
use crate::parent::message::{Order, Orders, Why};
use crate::parent::program::{Program, start_child};
use crate::parent::sink::FrameSink;
use crate::parent::source::Source;
use crate::sys::descriptor::{Descriptor, RoomToStart};
use crate::sys::memory::{MemoryFile, SharedPage, SharedPageRef};
use crate::sys::pipe::{ParentPipes, worker_input};
use crate::sys::process::{ChildProcess, Exit, Reaper, new_group, require_io_driver};
use crate::sys::resources::OwnCgroup;
/// What a child takes, which is the parent's to ask.
pub(crate) use crate::sys::resources::resident_memory;
use crate::wire::far::{FarAnswer, FarPage, FarQuestion};
use crate::wire::role::Role;

/// Brings the processes of workers into being.
pub(crate) trait Start: fmt::Debug + Send + Sync {
    /// Starts one. Orders that come meanwhile may be looked at if that can be given up.
    fn start<'a>(
        &'a self,
        worker: WorkerId,
        launch: &'a Arc<Launch>,
        orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>>;

    /// Workers are wanted on a host that is not there yet.
    fn request(&self, _runtime: &Handle) {}

    /// The pool has ended: ends what starts them.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// The process of a worker, from its start until it is reaped. If it is dropped before it is
/// killed.
pub(crate) trait Body: Send {
    fn pid(&self) -> u32;

    /// Asks it, with its group, to end.
    fn terminate(&self);

    /// Ends it, with its group.
    fn kill(&self);

    /// Ready once it has exited; it is not reaped yet.
    fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Kills what is left of its group, reaps it, and says how it has ended; `None` if nobody
    /// knows.
    fn reap(&mut self) -> BoxFuture<'_, Option<Exit>>;

    /// As [`Self::reap`], but nobody asks how it has ended, or waits for it.
    fn reap_later(&mut self);

    /// Why its host is taken for lost, if it is: then nobody knows what has become of it.
    fn lost(&self) -> Option<Arc<str>> {
        None
    }

    /// Asks about the tasks in the hands of one on another host.
    fn ask(&self, _question: FarQuestion) {}

    /// Its next answer.
    fn poll_answer(&mut self, _cx: &mut Context<'_>) -> Poll<FarAnswer> {
        Poll::Pending
    }

    /// Of one that is reaped: what it has left on its page, if that is on another host.
    fn last_words(&mut self) -> Option<FarPage> {
        None
    }

    /// Of one that is reaped: whether the kernel has killed somebody in its own control group for
    /// want of memory. `None` if it had none, or that does not tell.
    fn was_oom(&self) -> Option<bool> {
        None
    }
}

/// The page for a child's claims, which it has not opened yet.
pub(crate) enum ClaimsPage {
    /// This process has it, and the child opens it by that file.
    Shared(Arc<SharedPage>, MemoryFile),
    /// It is on the child's host, where it has that name.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "nobody is far"))]
    Far(SharedPageRef),
}

impl ClaimsPage {
    /// What the child opens it by.
    pub(crate) fn name(&self) -> Option<SharedPageRef> {
        match self {
            Self::Shared(page, file) => SharedPageRef::new(page, file).ok(),
            Self::Far(name) => Some(*name),
        }
    }

    /// What is sent to a child that cannot open it by its name.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        match self {
            Self::Shared(_, file) => file.descriptor().ok(),
            Self::Far(_) => None,
        }
    }
}

/// A child with its pipes.
pub(crate) struct Spawned {
    pub(crate) body: Box<dyn Body>,
    pub(crate) stdin: FrameSink,
    pub(crate) stdout: Source,
    pub(crate) stderr: Source,
    /// The page for claims. Without it everything works, only slower.
    pub(crate) claims: io::Result<ClaimsPage>,
    /// Who has made it, if that is not this process.
    pub(crate) maker: Option<u32>,
}

impl Spawned {
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    pub(crate) fn new(
        body: Box<dyn Body>,
        pipes: ParentPipes,
        claims: io::Result<(SharedPage, MemoryFile)>,
    ) -> io::Result<Self> {
        let stdin = FrameSink::new(pipes.stdin)?;
        let stdout = Source::Output(ChildStdout::from_std(pipes.stdout)?);
        let stderr = Source::Errors(ChildStderr::from_std(pipes.stderr)?);
        let claims = claims.map(|(page, file)| ClaimsPage::Shared(Arc::new(page), file));
        Ok(Self { body, stdin, stdout, stderr, claims, maker: None })
    }
}

/// Each process is a fresh start of the program.
#[derive(Debug)]
pub(crate) struct Spawn;

impl Start for Spawn {
    fn start<'a>(
        &'a self,
        _worker: WorkerId,
        launch: &'a Arc<Launch>,
        _orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>> {
        let own = Arc::clone(launch);
        Box::pin(async move {
            start_child(move || spawn(&own)).await.map_err(|error| launch.failed(error))
        })
    }
}

/// Starts the program, and has its pipes watched by the runtime.
pub(crate) fn spawn(launch: &Launch) -> io::Result<Spawned> {
    let _room = RoomToStart::take()?;
    require_io_driver()?;
    let cgroup = launch.program.new_cgroup()?;
    let mut command = launch.program.command(Role::Worker)?;
    let (stdin, theirs) = worker_input(launch.sends_memory())?;
    command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    new_group(&mut command);
    launch.program.start_in(cgroup.as_ref(), &mut command)?;
    // Not by tokio: if the runtime ended at this moment, its `spawn` would fail after the child was
    // there, and leave it behind.
    let mut child = command.spawn()?;
    let pipes = (child.stdout.take(), child.stderr.take());
    // From here on nothing that fails leaves the child behind.
    let reaper = Reaper::new(ChildProcess::new(child, true)?.within(cgroup))?;
    reaper.child().join_cgroup()?; // before it is told anything
    let (Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("the child has no pipes"));
    };
    let pipes = ParentPipes { stdin, stdout, stderr };
    Spawned::new(Box::new(OwnChild(reaper)), pipes, SharedPage::create())
}

/// A child of this process.
struct OwnChild(Reaper);

impl Body for OwnChild {
    fn pid(&self) -> u32 {
        self.0.child().pid()
    }

    fn terminate(&self) {
        self.0.child().terminate();
    }

    fn kill(&self) {
        self.0.child().kill();
    }

    fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_exited(cx)
    }

    fn reap(&mut self) -> BoxFuture<'_, Option<Exit>> {
        let exit = self.0.child().reap().ok();
        Box::pin(std::future::ready(exit))
    }

    fn reap_later(&mut self) {
        drop(self.0.child().reap());
    }

    fn was_oom(&self) -> Option<bool> {
        self.0.child().was_oom()
    }
}

impl Start for ServerClient {
    /// This may take as long as the server needs to start, so it can be given up.
    fn start<'a>(
        &'a self,
        worker: WorkerId,
        launch: &'a Arc<Launch>,
        orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>> {
        Box::pin(fork(worker, launch, self, orders, interrupted))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop())
    }
}

/// What is said if the task has ended that owns the server is up to the caller.
pub(super) async fn fork(
    worker: WorkerId,
    launch: &Launch,
    server: &ServerClient,
    orders: &mut Orders,
    without_task: fn() -> io::Error,
) -> Result<Spawned, StartError> {
    let cgroup = new_cgroup(&launch.program).await.map_err(|error| launch.failed(error))?;
    let (mut forking, mut is_late) = (pin!(server.fork(worker, launch.sends_memory())), false);
    let forked = loop {
        tokio::select! {
            biased;
            forked = &mut forking => break forked,
            order = orders.recv() => match order {
                Some(Order::Flush | Order::Trim) => {}
                // The server has the same time, and says more about what took so long.
                Some(Order::Kill(Why::TooLate)) => is_late = true,
                _ => return Err(launch.failed(interrupted())),
            },
        }
    };
    let (forked, pipes) = forked.unwrap_or_else(|| Err(launch.failed(without_task())))?;
    let child = match ForkedChild::take_over(forked, cgroup, server) {
        Ok(child) => child,
        Err(error) => {
            server.reap_later(forked, None); // without its pipes it ends at once
            return Err(launch.failed(error));
        }
    };
    // From here on it is killed and reaped by being dropped.
    match child.join(pipes).await {
        // The pool does not count on it any more. By being dropped it is killed.
        Ok(_) if is_late => Err(launch.forked_too_late(forked.pid)),
        Ok(spawned) => Ok(spawned),
        Err(error) => Err(launch.failed(error)),
    }
}

async fn new_cgroup(program: &Program) -> io::Result<Option<OwnCgroup>> {
    if program.cgroup.is_none() {
        return Ok(None);
    }
    let program = program.clone();
    start_child(move || {
        let _room = RoomToStart::take()?;
        program.new_cgroup()
    })
    .await
}

fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "it was told to end before it was there")
}

/// A child of the fork server, which reaps it when it is asked to.
struct ForkedChild {
    reaper: Reaper,
    forked: Forked,
    server: ServerClient,
    /// The server was told to reap it.
    is_over: bool,
}

impl ForkedChild {
    fn take_over(
        forked: Forked,
        cgroup: Option<OwnCgroup>,
        server: &ServerClient,
    ) -> io::Result<Self> {
        let child = ChildProcess::forked(forked.pid, forked.parent)?.within(cgroup);
        Ok(Self { reaper: Reaper::new(child)?, forked, server: server.clone(), is_over: false })
    }

    /// If it has a group, it joins that before it is told anything, and so before it runs anything
    /// of the user's.
    async fn join(self, pipes: ParentPipes) -> io::Result<Spawned> {
        if self.reaper.child().has_cgroup() {
            let child = Arc::clone(self.reaper.child());
            start_child(move || {
                let _room = RoomToStart::take()?;
                child.join_cgroup()
            })
            .await?;
        }
        Spawned::new(Box::new(self), pipes, SharedPage::create())
    }
}

impl Body for ForkedChild {
    fn pid(&self) -> u32 {
        self.forked.pid
    }

    fn terminate(&self) {
        self.reaper.child().terminate();
    }

    fn kill(&self) {
        self.reaper.child().kill();
    }

    fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reaper.poll_exited(cx)
    }

    fn reap(&mut self) -> BoxFuture<'_, Option<Exit>> {
        Box::pin(async {
            self.is_over = true;
            let child = Arc::clone(self.reaper.child());
            child.kill(); // what is left of its group
            let exit = self.server.reap(self.forked, &child).await;
            if exit.is_some() {
                return exit;
            }
            // Whoever is its parent now reaps it soon; if that is this process it is done.
            select(pin!(self.reaper.exited()), Delay::new(LAST_MOMENTS)).await;
            child.reap().ok()
        })
    }

    fn reap_later(&mut self) {
        self.is_over = true;
        let child = self.reaper.child();
        child.kill(); // what is left of its group
        self.server.reap_later(self.forked, Some(Arc::clone(child)));
    }

    fn was_oom(&self) -> Option<bool> {
        self.reaper.child().was_oom()
    }
}

impl Drop for ForkedChild {
    /// Its link has gone with its runtime, and the server may live on.
    fn drop(&mut self) {
        if !self.is_over {
            self.reap_later();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, id};

    use tokio::sync::mpsc;

    use super::*;
    use crate::parent::birth::orders::{ForkOrder, ForkRequest};
    use crate::sys::pipe::worker_pipes;

    #[tokio::test]
    async fn a_worker_that_is_forked_too_late_is_not_left_behind() {
        let (launch, (server, mut requests)) = (Launch::default(), ServerClient::new());
        let (supervisor, mut orders) = mpsc::unbounded_channel();
        supervisor.send(Order::Kill(Why::TooLate)).unwrap();
        let forking = fork(WorkerId(1), &launch, &server, &mut orders, interrupted);
        let serving = async {
            let Some(ForkOrder::Fork(ForkRequest { reply, .. })) = requests.recv().await else {
                panic!("it is not asked for");
            };
            let mut command = Command::new("cat");
            new_group(&mut command);
            let child = command.stdin(Stdio::piped()).spawn().unwrap();
            let forked = Forked { pid: child.id(), parent: id(), server: 1 };
            let (ours, theirs) = worker_pipes(false).unwrap();
            assert!(reply.send(Ok((forked, ours))).is_ok(), "it is waited for");
            (child, theirs)
        };
        let (forked, (mut child, _pipes)) = tokio::join!(forking, serving);
        let text = forked.err().unwrap().to_string();
        assert!(text.contains("was not ready within") && text.contains("fork server"), "{text}");
        let Some(ForkOrder::Reap(request)) = requests.recv().await else {
            panic!("it is not to be reaped");
        };
        assert_eq!(request.worker.pid, child.id());
        assert_eq!(child.wait().unwrap().code(), None, "it was killed");
    }
}
