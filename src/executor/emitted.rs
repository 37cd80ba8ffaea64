//! What a running task emits, as a stream.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::Stream;
use serde::de::DeserializeOwned;

use crate::base::TaskId;
use crate::error::text::OneLine;
use crate::pool::task::{EmittedValue, TaskCell};
use crate::pool::{Command, Commons};

/// The stream of the values that one task [emits](crate::Current::emit); what
/// [`TaskHandle::emitted`](crate::TaskHandle::emitted) returns.
///
/// It yields all that the task emits, in order, and ends once the task is over, however it ended.
/// It also yields what the task emitted before it failed or was killed; the handle returns the
/// error. A value that is not a `T` is an `Err` in its place, and the next ones follow.
///
/// If a task is retried, the values of its attempts follow one another in the same stream:
/// [`attempt`](Self::attempt) tells them apart.
///
/// A task waits while [a number](crate::TaskBuilder::emit_capacity) of its values is not taken. So
/// read the stream, or drop it. When it is dropped, the task goes on, and its values are discarded.
/// The stream does not borrow the handle, and can be moved to a tokio task of its own. If a task
/// has several streams, each value goes to one of them.
///
/// # Cancel safety
///
/// `next` is cancel safe: no value is lost.
#[must_use = "the task waits for who takes what it emits; a stream that is dropped lets it go on"]
pub struct EmittedStream<T> {
    cell: Arc<TaskCell>,
    pool: Arc<Commons>,
    /// Its place among those that wait.
    reader: u64,
    attempt: u32,
    value: PhantomData<fn() -> T>,
}

impl<T> EmittedStream<T> {
    pub(crate) fn new(cell: Arc<TaskCell>, pool: Arc<Commons>) -> Self {
        let reader = cell.add_stream();
        Self { cell, pool, reader, attempt: 1, value: PhantomData }
    }

    /// The attempt that has emitted the value that was yielded last, counted from one. A
    /// [retry](crate::TaskBuilder::retries) starts from scratch, so it may emit the same values
    /// again.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    fn tell(&self) {
        self.pool.send(Command::Credit(self.cell.id())); // or the pool is gone
    }
}

impl<T: DeserializeOwned> EmittedStream<T> {
    fn decode(&self, value: EmittedValue) -> Result<T, EmittedError> {
        let EmittedValue { attempt, type_name: sent, payload } = value;
        let wanted = type_name::<T>();
        let decoded = if *sent == *wanted {
            payload.decode().map_err(|error| Some(error.to_string()))
        } else {
            Err(None)
        };
        decoded.map_err(|fault| {
            let (task, function) = (self.cell.id(), self.cell.name());
            EmittedError::new(EmittedReport { task, function, attempt, sent, wanted, fault })
        })
    }
}

impl<T: DeserializeOwned> Stream for EmittedStream<T> {
    type Item = Result<T, EmittedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (next, asks) = self.cell.poll_emitted(self.reader, cx.waker());
        if asks {
            self.tell();
        }
        next.map(|value| {
            let value = value?;
            self.attempt = value.attempt.max(1);
            Some(self.decode(value))
        })
    }
}

impl<T> Drop for EmittedStream<T> {
    fn drop(&mut self) {
        if self.cell.remove_stream(self.reader) {
            self.tell();
        }
    }
}

impl<T> fmt::Debug for EmittedStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmittedStream").field("task", &self.cell.id()).finish_non_exhaustive()
    }
}

/// Why a value that a task has [emitted](crate::Current::emit) could not be decoded. The stream
/// goes on with the next one.
#[derive(Clone, Debug)]
pub struct EmittedError(Arc<EmittedReport>);

#[derive(Debug)]
struct EmittedReport {
    task: TaskId,
    function: &'static str,
    attempt: u32,
    /// The type of what was emitted, as its worker says.
    sent: Arc<str>,
    /// The type that was asked for.
    wanted: &'static str,
    /// Why it cannot be decoded, if the types are the same.
    fault: Option<String>,
}

impl EmittedError {
    fn new(report: EmittedReport) -> Self {
        Self(Arc::new(report))
    }

    /// The task that has emitted it.
    pub fn id(&self) -> TaskId {
        self.0.task
    }

    /// The name of its function.
    pub fn function(&self) -> &'static str {
        self.0.function
    }

    /// The attempt that has emitted it, counted from one.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Whether it is of another type than the stream's. If not, its bytes could not be decoded.
    pub fn is_other_type(&self) -> bool {
        self.0.fault.is_none()
    }

    /// The name of the type of what was emitted.
    pub fn type_name(&self) -> &str {
        &self.0.sent
    }
}

impl fmt::Display for EmittedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let EmittedReport { task, function, sent, wanted, fault, .. } = &*self.0;
        write!(f, "{task} (`{function}`) has emitted a `")?;
        write!(OneLine(&mut *f), "{sent}")?;
        match fault {
            None => write!(f, "`, and the stream is one of `{wanted}`"),
            Some(fault) => write!(OneLine(f), "` that cannot be decoded: {fault}"),
        }
    }
}

impl std::error::Error for EmittedError {}
