//! Who waits for the exit of a child, and who reaps it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::child::ChildProcess;
use super::descriptor::{Descriptor, watch_readable};
use crate::sys::thread::start_thread;

/// Sees a process exit without reaping it.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    child: Arc<ChildProcess>,
    by: Means,
}

#[derive(Debug)]
enum Means {
    /// Readable once the process has exited.
    Pidfd(AsyncFd<Arc<Descriptor>>),
    /// Where there is no pidfd, or it is refused: told by a thread that waits. Not by SIGCHLD,
    /// which the program may block in all of its threads.
    Thread(oneshot::Receiver<()>),
}

impl ExitWatch {
    pub(crate) fn new(child: &Arc<ChildProcess>) -> io::Result<Self> {
        let by = match child.end() {
            Some(pidfd) => Means::Pidfd(watch_readable(Arc::clone(pidfd))?),
            None => Means::Thread(wait_in_thread(Arc::clone(child))?),
        };
        Ok(Self { child: Arc::clone(child), by })
    }

    /// Waits until the process has exited; it is not reaped yet.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn exited(&mut self) {
        poll_fn(|cx| self.poll_exited(cx)).await;
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.by {
            Means::Pidfd(fd) => {
                // An error says that the runtime has gone, and nobody can watch any more.
                while let Ok(mut ready) = ready!(fd.poll_read_ready(cx)) {
                    if self.child.is_over() {
                        break;
                    }
                    // Somebody else is about to reap it; only then the system says how it ended.
                    ready.clear_ready();
                }
            }
            Means::Thread(_) if self.child.is_over() => {}
            Means::Thread(exited) => drop(ready!(Pin::new(exited).poll(cx))),
        }
        Poll::Ready(())
    }
}

fn wait_in_thread(child: Arc<ChildProcess>) -> io::Result<oneshot::Receiver<()>> {
    const STACK: usize = 64 << 10;
    let (sender, exited) = oneshot::channel();
    start_thread("procpool-exit", Some(STACK), move || {
        child.wait_for_exit();
        let _ = sender.send(()); // or nobody waits any more
    })?;
    Ok(exited)
}

/// Owns a child that leads its own process group. Nobody of the group outlives it: when the child
/// has exited, or when the `Reaper` is dropped, the rest is killed and the child is reaped.
#[derive(Debug)]
pub(crate) struct Reaper {
    watch: ExitWatch,
    child: KilledOnDrop,
}

/// What a [`Reaper`] owns even if there is no runtime to watch the child with.
#[derive(Debug)]
struct KilledOnDrop(Arc<ChildProcess>);

impl Reaper {
    /// If that fails the child is ended.
    pub(crate) fn new(child: ChildProcess) -> io::Result<Self> {
        let child = KilledOnDrop(Arc::new(child));
        Ok(Self { watch: ExitWatch::new(&child.0)?, child })
    }

    pub(crate) fn child(&self) -> &Arc<ChildProcess> {
        &self.child.0
    }

    /// Waits until the child has exited; it is not reaped yet.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn exited(&mut self) {
        self.watch.exited().await;
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_exited(cx)
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let is_own = self.0.is_own();
        self.0.kill();
        if is_own {
            // The runtime may be gone, so a short-lived thread waits for the killed child.
            Arc::clone(&self.0).reap_in_background(|| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::super::process::new_group;
    use super::*;

    fn sleeper() -> ChildProcess {
        let mut command = std::process::Command::new("sleep");
        new_group(command.arg("1000"));
        ChildProcess::new(command.spawn().unwrap(), true).unwrap()
    }

    #[tokio::test]
    async fn an_exit_is_seen_before_the_child_is_reaped() {
        let mut reaper = Reaper::new(sleeper()).unwrap();
        assert_eq!(reaper.child().exit(), None);
        reaper.child().kill();
        reaper.exited().await;
        assert_eq!(reaper.child().exit().unwrap().signal, Some(9));
        assert_eq!(reaper.child().reap().unwrap().signal, Some(9));
        assert_eq!(reaper.child().exit().unwrap().signal, Some(9));
    }

    #[tokio::test]
    async fn an_exit_is_seen_without_a_pidfd_as_often_as_one_looks() {
        let child = Arc::new(sleeper());
        let by = Means::Thread(wait_in_thread(Arc::clone(&child)).unwrap());
        let mut watch = ExitWatch { child: Arc::clone(&child), by };
        assert!(futures::poll!(std::pin::pin!(watch.exited())).is_pending());
        child.terminate();
        watch.exited().await;
        assert_eq!(child.exit().unwrap().signal, Some(15));
        watch.exited().await;
        child.reap().unwrap();
    }

    #[test]
    fn a_dropped_child_is_killed_and_reaped_even_after_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reaper = runtime.block_on(async { Reaper::new(sleeper()).unwrap() });
        let pid = i32::try_from(reaper.child().pid()).ok().and_then(Pid::from_raw).unwrap();
        drop(runtime);
        drop(reaper);
        // An error says that there is no such child any more.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_ok() {
            std::thread::yield_now();
        }
    }
}
