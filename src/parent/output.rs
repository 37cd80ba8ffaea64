//! What workers print.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::ChildStderr;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::base::sync::Mutex;
use crate::base::{WorkerId, log};
use crate::sys::pipe::read_available;

/// How much of it is kept for the error of a death: a backtrace must not push out the panic before
/// it.
const TAIL: usize = 16 << 10;
/// A longer line is passed on in pieces.
const LONGEST_LINE: usize = 8 << 10;

/// What becomes of the text that tasks print.
///
/// A worker's standard output is joined with its standard error, in the order of writing, because
/// the frames travel over the pipe that would be its standard output. Whatever is chosen here, the
/// last lines are kept for [`WorkerDeath::stderr_tail`](crate::WorkerDeath::stderr_tail).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum WorkerOutput {
    /// It goes to this process's standard error, whole lines at a time.
    #[default]
    Inherit,
    /// It goes to this process's standard output, whole lines at a time: as the output of a child
    /// does that inherits it, and as Python's pools have it. What this process prints there itself
    /// by [`println!`] comes between such lines, never into one.
    Stdout,
    /// It is dropped.
    Null,
    /// The function is called for each line. It must be quick and must not block: it is called on
    /// the runtime.
    Lines(Arc<dyn Fn(OutputLine<'_>) + Send + Sync>),
}

impl WorkerOutput {
    /// Calls `handler` for each line; see [`WorkerOutput::Lines`].
    ///
    /// ```
    /// use procpool::WorkerOutput;
    ///
    /// let output = WorkerOutput::lines(|line| println!("[{}] {}", line.pid, line.text));
    /// # drop(output);
    /// ```
    pub fn lines(handler: impl Fn(OutputLine<'_>) + Send + Sync + 'static) -> Self {
        Self::Lines(Arc::new(handler))
    }
}

impl fmt::Debug for WorkerOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Stdout => "Stdout",
            Self::Null => "Null",
            Self::Lines(_) => "Lines(..)",
        })
    }
}

/// A line that a worker has printed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// The worker.
    pub worker: WorkerId,
    /// Its process id.
    pub pid: u32,
    /// The line without its end. What is not UTF-8 is replaced; a very long line comes in pieces.
    pub text: &'a str,
}

/// What the last process of a pool has printed that did not become ready. The next ones most likely
/// print the same, and once is enough: it is in the error, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailedOutput(Arc<Mutex<String>>);

impl FailedOutput {
    pub(crate) fn set(&self, text: &str) {
        let mut text = text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        *self.0.lock() = text;
    }

    /// A worker is ready.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    fn get(&self) -> String {
        self.0.lock().clone()
    }
}

/// Holds lines back as long as they are those that were printed before.
struct Repeated {
    shared: FailedOutput,
    known: String,
    /// How many bytes of it came again.
    seen: usize,
    held: Vec<Bytes>,
}

impl Repeated {
    fn new(shared: FailedOutput) -> Self {
        let known = shared.get();
        Self { shared, known, seen: 0, held: Vec::new() }
    }

    fn pass(&mut self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        let mut passed = Vec::new();
        for piece in pieces {
            if self.known.as_bytes()[self.seen..].starts_with(&piece) {
                self.seen += piece.len();
                self.held.push(piece);
            } else {
                (self.known, self.seen) = (String::new(), 0);
                passed.append(&mut self.held);
                passed.push(piece);
            }
        }
        passed
    }

    /// What was held back and is not the same after all, or of a worker that has become ready.
    fn rest(self) -> Vec<Bytes> {
        let is_all = self.seen == self.known.len() && self.shared.get() == self.known;
        if is_all { Vec::new() } else { self.held }
    }
}

/// What a worker printed last.
pub(crate) struct Drained {
    pub(crate) tail: String,
    /// If there was something left to be written. Ends when all is where it goes, which may be
    /// never: this process's own standard error or output may be stuck.
    pub(crate) written: Option<JoinHandle<()>>,
}

/// Reads a worker's standard error until it ends or the worker has exited. After the exit nothing
/// is waited for: a daemon that a task has left behind may hold the pipe open for ever.
pub(crate) async fn drain(
    mut stderr: ChildStderr,
    mut exited: oneshot::Receiver<()>,
    worker: WorkerId,
    pid: u32,
    output: WorkerOutput,
    failed: FailedOutput,
) -> Drained {
    // Who takes lines by a function gets them all.
    let is_shown = matches!(output, WorkerOutput::Inherit | WorkerOutput::Stdout);
    let failed = if is_shown { failed } else { FailedOutput::default() };
    let mut repeated = Repeated::new(failed);
    let (sink, mut lines) = (LineSink { worker, pid, output }, Lines::default());
    let mut unwritten = None;
    let (mut tail, mut chunk) = (Tail::default(), BytesMut::with_capacity(LONGEST_LINE));
    loop {
        tokio::select! {
            biased;
            _ = &mut exited => break,
            read = stderr.read_buf(&mut chunk) => if !matches!(read, Ok(1..)) { break },
        }
        tail.push(&chunk);
        let mut writing = Box::pin(sink.clone().write(repeated.pass(lines.split(&chunk))));
        chunk.clear();
        tokio::select! {
            biased;
            () = &mut writing => {}
            _ = &mut exited => {
                unwritten = Some(writing);
                break;
            }
        }
    }
    let _ = read_available(&stderr, &mut chunk);
    tail.push(&chunk);
    let mut rest = lines.split(&chunk);
    rest.extend(Some(lines.unfinished()).filter(|piece| !piece.is_empty()));
    let mut rest = repeated.pass(rest);
    rest.append(&mut repeated.rest());
    let is_all = unwritten.is_none() && rest.is_empty();
    let write_rest = async move {
        if let Some(writing) = unwritten {
            writing.await;
        }
        sink.write(rest).await;
    };
    let written = (!is_all).then(|| tokio::spawn(write_rest));
    Drained { tail: tail.into_string(), written }
}

/// Where the lines go.
#[derive(Clone)]
struct LineSink {
    worker: WorkerId,
    pid: u32,
    output: WorkerOutput,
}

impl LineSink {
    async fn write(self, pieces: Vec<Bytes>) {
        for piece in pieces {
            match &self.output {
                WorkerOutput::Inherit => write(tokio::io::stderr(), &piece).await,
                WorkerOutput::Stdout => write(tokio::io::stdout(), &piece).await,
                WorkerOutput::Null => {}
                WorkerOutput::Lines(handler) => {
                    for line in String::from_utf8_lossy(&piece).lines() {
                        self.hand_over(handler, line);
                    }
                }
            }
        }
    }

    fn hand_over(&self, handler: &Arc<dyn Fn(OutputLine<'_>) + Send + Sync>, text: &str) {
        let line = OutputLine { worker: self.worker, pid: self.pid, text };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(line))) {
            std::mem::forget(panic); // its drop is user code that may panic, too
            log::error!("the handler of worker output panicked");
        }
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, piece: &[u8]) {
    // If the stream is closed there is nowhere to go.
    let _ = stream.write_all(piece).await;
    let _ = stream.flush().await;
}

/// The beginning of a line that is not finished.
#[derive(Default)]
struct Lines(BytesMut);

impl Lines {
    /// Cuts what was read into pieces of whole lines.
    fn split(&mut self, chunk: &[u8]) -> Vec<Bytes> {
        self.0.extend_from_slice(chunk);
        let whole = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut pieces = Vec::new();
        if whole > 0 {
            pieces.push(self.0.split_to(whole).freeze());
        }
        if self.0.len() > LONGEST_LINE {
            pieces.push(self.unfinished());
        }
        pieces
    }

    /// Ends a line that has no end, or is too long.
    fn unfinished(&mut self) -> Bytes {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b"\n");
        }
        self.0.split().freeze()
    }
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL)..];
        let excess = (self.0.len() + kept.len()).saturating_sub(TAIL);
        self.0.drain(..excess);
        self.0.extend(kept);
    }

    /// Whole lines, if the first one was cut.
    fn into_string(self) -> String {
        let full = self.0.len() == TAIL;
        let bytes = Vec::from(self.0);
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once('\n') {
            Some((_, lines)) if full && !lines.is_empty() => lines.to_owned(),
            _ => text.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_whole_lines() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let text = tail.into_string();
        assert!(text.len() <= TAIL && text.starts_with("line "), "{text:?}");
        assert!(text.ends_with("line 9999\n"), "{text:?}");
    }

    #[test]
    fn a_short_tail_is_kept_whole() {
        let mut tail = Tail::default();
        tail.push(b"only this");
        assert_eq!(tail.into_string(), "only this");
    }

    /// What comes through of pieces, and of that what comes at the end only.
    fn repeated(failed: &FailedOutput, pieces: &[&'static str]) -> (String, String) {
        let mut repeated = Repeated::new(failed.clone());
        let text = |pieces: Vec<Bytes>| String::from_utf8(pieces.concat()).unwrap();
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes()));
        let passed = pieces.map(|piece| text(repeated.pass(vec![piece]))).collect();
        (passed, text(repeated.rest()))
    }

    #[test]
    fn what_failed_starts_print_comes_through_once() {
        let failed = FailedOutput::default();
        let both = |passed: &str, rest: &str| (passed.to_owned(), rest.to_owned());
        assert_eq!(repeated(&failed, &["one\n", "two\n"]), both("one\ntwo\n", ""));
        failed.set("one\ntwo");
        assert_eq!(repeated(&failed, &["one\n", "two\n"]), both("", ""));
        assert_eq!(repeated(&failed, &["one\ntwo\n"]), both("", ""));
        assert_eq!(repeated(&failed, &["one\n"]), both("", "one\n"));
        assert_eq!(repeated(&failed, &["one\n", "three\n"]), both("one\nthree\n", ""));
        assert_eq!(repeated(&failed, &["one\n", "two\n", "!\n"]), both("one\ntwo\n!\n", ""));
        assert_eq!(repeated(&failed, &["zero\n", "one\n"]), both("zero\none\n", ""));
        assert_eq!(repeated(&failed, &[]), both("", ""));
    }

    #[test]
    fn what_a_worker_prints_that_becomes_ready_is_not_lost() {
        let failed = FailedOutput::default();
        failed.set("one\n");
        let mut repeated = Repeated::new(failed.clone());
        assert!(repeated.pass(vec![Bytes::from_static(b"one\n")]).is_empty());
        failed.clear();
        assert_eq!(repeated.rest(), [&b"one\n"[..]]);
    }

    #[test]
    fn lines_are_passed_on_whole_and_long_ones_in_pieces() {
        let mut lines = Lines::default();
        assert!(lines.split(b"be").is_empty());
        assert_eq!(lines.split(b"gin\nmiddle\nen"), [&b"begin\nmiddle\n"[..]]);
        assert_eq!(lines.unfinished(), &b"en\n"[..]);
        assert_eq!(lines.split(&vec![b'x'; LONGEST_LINE + 1]).len(), 1);
    }
}
