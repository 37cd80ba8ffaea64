//! A descriptor that tells of the end of a process.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use super::descriptor::{Descriptor, is_readable, watch_readable};

/// Tells of the end of a process: as a future, and as a descriptor that is readable from then on.
/// Python's `sentinel`.
///
/// It is a descriptor of its own, and closed when this is dropped; it may outlive the
/// [`Process`](crate::Process). It fits wherever a descriptor does: `poll`, `epoll`, tokio's
/// [`AsyncFd`]. Nothing can be read from it, so leave it at waiting.
///
/// ```
/// # fn work() {}
/// # procpool::register!(work);
/// # async fn example() -> Result<(), procpool::ProcessError> {
/// use std::time::Duration;
///
/// let process = procpool::Process::new(work, ());
/// process.start().await?;
/// tokio::select! {
///     () = process.sentinel()? => println!("it ended: {:?}", process.exitcode()),
///     () = tokio::time::sleep(Duration::from_secs(5)) => println!("it takes long"),
/// }
/// # Ok(())
/// # }
/// # fn main() {}
/// ```
///
/// # Cancel safety
///
/// Nothing is lost when it is dropped, and `&mut sentinel` can be awaited again and again.
///
/// # Panics
///
/// Awaiting it outside of a tokio runtime with an IO driver panics, unless the process has ended.
/// The descriptor needs no runtime.
#[derive(Debug)]
#[must_use = "it tells when the process has ended"]
pub struct Sentinel {
    fd: Arc<Descriptor>,
    /// From the first poll on.
    watch: Option<AsyncFd<Arc<Descriptor>>>,
}

impl Sentinel {
    /// A copy of a descriptor that is readable from the end of the process on.
    pub(crate) fn of(end: &Descriptor) -> io::Result<Self> {
        Ok(Self { fd: Arc::new(end.try_clone()?), watch: None })
    }

    /// Another one, for the same process.
    ///
    /// # Errors
    ///
    /// If there are too many open descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Self::of(&self.fd)
    }
}

impl Future for Sentinel {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        while !is_readable(&this.fd) {
            if this.watch.is_none() {
                this.watch = watch_readable(Arc::clone(&this.fd)).ok();
            }
            let Some(watch) = &this.watch else {
                cx.waker().wake_by_ref(); // the reactor takes no more; it may do so later
                return Poll::Pending;
            };
            match ready!(watch.poll_read_ready(cx)) {
                Ok(mut guard) => guard.clear_ready(), // it said nothing
                Err(_) => this.watch = None, // its runtime has ended; perhaps this is another one
            }
        }
        Poll::Ready(())
    }
}

impl AsFd for Sentinel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Sentinel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
