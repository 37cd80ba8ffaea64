//! Awaiting the result of a function that has a process to itself.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;

use super::control::Process;
use super::error::{ProcessError, ProcessFailure};
use super::shared::CallReply;
use crate::codec::decode;
use crate::error::CallFailure;

/// Awaits the result of a function that runs in a process of its own; see [`Process::spawn`].
///
/// It is ready when the process has ended and is reaped. By then all that the process has printed
/// is there. [Dropping it](crate::guide::conventions#what-a-drop-does) detaches the process, as
/// dropping a [`tokio::task::JoinHandle`] does, unless [`abort_on_drop`](Self::abort_on_drop) says
/// otherwise: the function runs on, but not beyond the end of this process.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` is cancel safe: if another branch of a `select!` is faster, the result is
/// still there for the next await. It may be awaited again even after it was ready. Each time the
/// result is decoded anew.
#[must_use = "dropping the handle detaches the process; its result is lost"]
pub struct ProcessHandle<R> {
    process: Process,
    max_payload: usize,
    ended: Pin<Box<dyn Future<Output = Result<i32, ProcessError>> + Send + Sync>>,
    /// Once `ended` is ready.
    end: Option<Result<i32, ProcessError>>,
    kills: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> ProcessHandle<R> {
    pub(super) fn start(process: Process, max_payload: usize) -> Self {
        if let Err(error) = process.begin() {
            process.0.refuse(error);
        }
        let ended = Box::pin(process.0.ended());
        Self { process, max_payload, ended, end: None, kills: false, result: PhantomData }
    }

    /// The process, for its pid, its name, and for signals. [Joining](Process::join) it gives its
    /// exit code: 0 if the function has returned, 1 if it has panicked.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until the process is about to call the function, as [`Process::start`] does. Then its
    /// pipes are there.
    ///
    /// ```
    /// # fn convert() -> usize { 0 }
    /// # procpool::register!(convert);
    /// # async fn example() -> Result<(), procpool::ProcessError> {
    /// use procpool::{Process, ProcessStdio};
    ///
    /// let handle = Process::builder(convert, ()).stdout(ProcessStdio::Piped).spawn();
    /// handle.started().await?;
    /// let mut stdout = handle.process().take_stdout().expect("it is a pipe");
    /// let copy = tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
    /// let converted = handle.await?;
    /// # drop((copy, converted));
    /// # Ok(())
    /// # }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`Process::start`]. Awaiting the handle gives the same error.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn started(&self) -> Result<(), ProcessError> {
        self.process.0.started().await
    }

    /// Whether the process is [killed](Process::kill) when the handle is dropped, as a
    /// [`tokio::process::Command`] does by `kill_on_drop`. Default: no, it is detached.
    ///
    /// ```
    /// # fn search(text: String) -> usize { text.len() }
    /// # procpool::register!(search);
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let search = procpool::Process::spawn(search, "needle".to_owned()).abort_on_drop(true);
    /// // If it takes too long it is gone.
    /// let found = tokio::time::timeout(Duration::from_secs(5), search).await??;
    /// # let _: usize = found;
    /// # Ok(())
    /// # }
    /// # fn main() {}
    /// ```
    #[doc(alias = "kill_on_drop")]
    pub fn abort_on_drop(mut self, abort: bool) -> Self {
        self.kills = abort;
        self
    }
}

impl<R: DeserializeOwned> ProcessHandle<R> {
    fn result(&self, code: i32) -> Result<R, ProcessError> {
        let inner = self.process.0.inner.lock();
        let cause = match inner.reply() {
            None => ProcessFailure::Ended { code, limit: self.process.0.exceeded(code, &inner) },
            Some(CallReply::Nonsense(error)) => ProcessFailure::Protocol(error.clone()),
            Some(CallReply::Told(outcome, payload)) => {
                let (outcome, payload) = (*outcome, payload.clone());
                drop(inner); // decoding is user code
                let limit = self.max_payload;
                match CallFailure::told(CallFailure::PROCESS, outcome, &payload, limit) {
                    Some(failure) => failure.into(),
                    None => match decode(&payload) {
                        Ok(result) => return Ok(result),
                        Err(error) => CallFailure::decoding(self.process.0.function, error).into(),
                    },
                }
            }
        };
        Err(self.process.0.error(cause))
    }
}

impl<R: DeserializeOwned> Future for ProcessHandle<R> {
    type Output = Result<R, ProcessError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let end = if let Some(end) = &self.end {
            end.clone()
        } else {
            // It may wait for the end of its input.
            drop(self.process.0.prepare_to_join());
            let end = ready!(self.ended.as_mut().poll(cx));
            self.end.insert(end).clone()
        };
        Poll::Ready(end.and_then(|code| self.result(code)))
    }
}

impl<R> fmt::Debug for ProcessHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandle").field("process", &self.process).finish_non_exhaustive()
    }
}

impl<R> Drop for ProcessHandle<R> {
    fn drop(&mut self) {
        if self.kills {
            drop(self.process.kill()); // or it was never started
        }
    }
}
