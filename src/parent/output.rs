//! What workers print.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::base::sync::Mutex;
use crate::base::{TaskId, WorkerId, log};
use crate::memory::page::{OutputMeter, Printer};
use crate::parent::source::Source;

/// How much of it is kept for the error of a death: a backtrace must not push out the panic before
/// it.
const TAIL: usize = 16 << 10;
/// A longer line is passed on in pieces.
const LONGEST_LINE: usize = 8 << 10;

/// What becomes of the text that tasks print.
///
/// A worker's standard output and standard error are one stream, in the order of writing. What one
/// prints on another [host](crate::Builder::hosts) comes here, too. The last lines are always kept
/// for [`WorkerDeath::stderr_tail`](crate::WorkerDeath::stderr_tail).
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum WorkerOutput {
    /// It goes to this process's standard error, whole lines at a time.
    #[default]
    Inherit,
    /// It goes to this process's standard output, whole lines at a time, as with Python's pools.
    /// What this process prints itself by [`println!`] comes between such lines, never into one.
    Stdout,
    /// It is dropped.
    Null,
    /// The function is called for each line, on the runtime. So it must be quick and must not
    /// block.
    Lines(Arc<dyn Fn(OutputLine<'_>) + Send + Sync>),
}

impl WorkerOutput {
    /// Calls `handler` for each line; see [`WorkerOutput::Lines`].
    ///
    /// ```
    /// use procpool::WorkerOutput;
    ///
    /// let output = WorkerOutput::lines(|line| match line.host {
    ///     Some(host) => println!("[{host} {}] {}", line.pid, line.text),
    ///     None => println!("[{}] {}", line.pid, line.text),
    /// });
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
    /// The name of the host that it is on; `None` in a pool that was built without hosts.
    pub host: Option<&'a str>,
    /// The task, or the item of a map, that was running when the line was printed. Most likely it
    /// has printed the line. (A thread or a process that a task has left behind prints in the name
    /// of later tasks.)
    ///
    /// `None` if the line was printed before the first task, or if the task is not known. The task
    /// is not known for items that take less than a microsecond, as long as none of them prints; if
    /// more than 250 tasks have printed since the output was read last, for all but the last of
    /// these; and for workers that [share no memory](crate::WorkerInfo::shares_memory).
    pub task: Option<TaskId>,
    /// The line without its end. Bytes that are not UTF-8 are replaced. A very long line comes in
    /// pieces.
    pub text: &'a str,
}

/// Some lines of one task, or of nobody that is known.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    bytes: Bytes,
    task: Option<TaskId>,
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
    held: Vec<Piece>,
}

impl Repeated {
    fn new(shared: FailedOutput) -> Self {
        let known = shared.get();
        Self { shared, known, seen: 0, held: Vec::new() }
    }

    fn pass(&mut self, pieces: Vec<Piece>) -> Vec<Piece> {
        let mut passed = Vec::new();
        for piece in pieces {
            if self.known.as_bytes()[self.seen..].starts_with(&piece.bytes) {
                self.seen += piece.bytes.len();
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
    fn rest(self) -> Vec<Piece> {
        let is_all = self.seen == self.known.len() && self.shared.get() == self.known;
        if is_all { Vec::new() } else { self.held }
    }
}

/// What a worker printed last.
#[derive(Default)]
pub(crate) struct Drained {
    pub(crate) tail: String,
    /// What of it is of the task that ran last, or of one of those.
    pub(crate) own: Option<(RangeInclusive<TaskId>, String)>,
    /// If there was something left to be written. Ends when all is where it goes, which may be
    /// never: this process's own standard error or output may be stuck.
    pub(crate) written: Option<JoinHandle<()>>,
}

/// Who prints.
#[derive(Clone, Debug)]
pub(crate) struct Printing {
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    /// The name of its host, if the pool was built with hosts.
    pub(crate) host: Option<Arc<str>>,
}

/// Reads a worker's standard error until it ends or the worker has exited. After the exit nothing
/// is waited for: a daemon that a task has left behind may hold the pipe open for ever.
pub(crate) async fn drain(
    mut stderr: Source,
    mut exited: oneshot::Receiver<()>,
    whose: Printing,
    output: WorkerOutput,
    failed: FailedOutput,
    meter: Option<OutputMeter>,
) -> Drained {
    // Who takes lines by a function gets them all.
    let is_shown = matches!(output, WorkerOutput::Inherit | WorkerOutput::Stdout);
    let failed = if is_shown { failed } else { FailedOutput::default() };
    let mut repeated = Repeated::new(failed);
    let (mut lines, by_task) = (Lines::default(), matches!(output, WorkerOutput::Lines(_)));
    let mut reading = OutputReader::new(meter, by_task);
    let sink = LineSink { whose, output };
    let mut unwritten = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut exited => break,
            read = reading.read(&mut stderr) => if !matches!(read, Ok(1..)) { break },
        }
        let pieces = reading.take(&mut lines);
        let mut writing = Box::pin(sink.clone().write(repeated.pass(pieces)));
        tokio::select! {
            biased;
            () = &mut writing => {}
            _ = &mut exited => {
                unwritten = Some(writing);
                break;
            }
        }
    }
    reading.read_rest(&mut stderr).await;
    let mut rest = reading.take(&mut lines);
    rest.extend(lines.unfinished());
    let mut rest = repeated.pass(rest);
    rest.append(&mut repeated.rest());
    let is_all = unwritten.is_none() && rest.is_empty();
    let write_rest = async move {
        if let Some(writing) = unwritten {
            writing.await;
        }
        sink.write(rest).await;
    };
    // Boxed, as each type of future that is spawned is some thousand lines for the compiler.
    let written = (!is_all).then(|| tokio::spawn(write_rest.boxed()));
    let own = reading.own();
    Drained { tail: reading.tail.text(), own, written }
}

/// What is read, and from whom that is.
struct OutputReader {
    meter: Option<OutputMeter>,
    /// Somebody wants to know from whom each line is.
    by_task: bool,
    chunk: BytesMut,
    tail: Tail,
}

impl OutputReader {
    fn new(meter: Option<OutputMeter>, by_task: bool) -> Self {
        let chunk = BytesMut::with_capacity(LONGEST_LINE);
        Self { meter, by_task, chunk, tail: Tail::default() }
    }

    /// Waits for something.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    async fn read(&mut self, stderr: &mut Source) -> io::Result<usize> {
        poll_fn(|cx| self.metered(|chunk| pin!(stderr.read_buf(chunk)).poll(cx))).await
    }

    /// What there is after the end.
    async fn read_rest(&mut self, stderr: &mut Source) {
        let _ = self.metered(|chunk| stderr.read_available(chunk)); // or it is lost
        stderr.read_to_end_of_stream(&mut self.chunk).await;
    }

    fn metered<T>(&mut self, read: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.chunk.len();
        if let Some(meter) = &self.meter {
            meter.begin_reading();
        }
        let done = read(&mut self.chunk);
        let count = self.chunk.len() - before;
        if let Some(meter) = &mut self.meter {
            meter.end_reading(count);
        }
        done
    }

    /// What was read, in lines.
    fn take(&mut self, lines: &mut Lines) -> Vec<Piece> {
        self.tail.push(&self.chunk);
        let count = self.chunk.len();
        let all = || vec![(count, None)];
        let whose = self.meter.as_ref().filter(|_| self.by_task);
        let (mut pieces, mut rest) = (Vec::new(), &self.chunk[..]);
        for (length, printer) in whose.map_or_else(all, |meter| meter.whose(count)) {
            let (chunk, behind) = rest.split_at(length);
            rest = behind;
            pieces.append(&mut lines.split(chunk, printer.and_then(Printer::exact)));
        }
        self.chunk.clear(); // the next read has all of its room
        pieces
    }

    /// What the one has printed that ran last.
    fn own(&self) -> Option<(RangeInclusive<TaskId>, String)> {
        let (printer, length) = self.meter.as_ref()?.last()?;
        Some((printer.tasks(), self.tail.last(length)))
    }
}

/// Where the lines go.
#[derive(Clone)]
struct LineSink {
    whose: Printing,
    output: WorkerOutput,
}

impl LineSink {
    async fn write(self, pieces: Vec<Piece>) {
        for Piece { bytes, task } in pieces {
            match &self.output {
                WorkerOutput::Inherit => write(tokio::io::stderr(), &bytes).await,
                WorkerOutput::Stdout => write(tokio::io::stdout(), &bytes).await,
                WorkerOutput::Null => {}
                WorkerOutput::Lines(handler) => {
                    let Printing { worker, pid, ref host } = self.whose;
                    for text in String::from_utf8_lossy(&bytes).lines() {
                        let host = host.as_deref();
                        hand_over(handler, OutputLine { worker, pid, host, task, text });
                    }
                }
            }
        }
    }
}

fn hand_over(handler: &Arc<dyn Fn(OutputLine<'_>) + Send + Sync>, line: OutputLine<'_>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(line))) {
        std::mem::forget(panic); // its drop is user code that may panic, too
        log::error!("the handler of worker output panicked");
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, piece: &[u8]) {
    // If the stream is closed there is nowhere to go.
    let _ = stream.write_all(piece).await;
    let _ = stream.flush().await;
}

/// The beginning of a line that is not finished.
#[derive(Default)]
struct Lines {
    begun: BytesMut,
    /// Whose it is.
    task: Option<TaskId>,
}

impl Lines {
    /// Cuts what one task has printed into pieces of whole lines.
    fn split(&mut self, chunk: &[u8], task: Option<TaskId>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.task != task {
            pieces.extend(self.unfinished());
            self.task = task;
        }
        self.begun.extend_from_slice(chunk);
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole > 0 {
            pieces.push(Piece { bytes: self.begun.split_to(whole).freeze(), task });
        }
        if self.begun.len() > LONGEST_LINE {
            pieces.extend(self.unfinished());
        }
        pieces
    }

    /// Ends a line that has no end, or is too long.
    fn unfinished(&mut self) -> Option<Piece> {
        if self.begun.is_empty() {
            return None;
        }
        self.begun.extend_from_slice(b"\n");
        Some(Piece { bytes: self.begun.split().freeze(), task: self.task })
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

    /// So many of them, or as many as there are.
    fn last(&self, count: usize) -> String {
        let first = self.0.len().saturating_sub(count);
        let is_cut = first == 0 && self.0.len() == TAIL;
        let bytes: Vec<_> = self.0.range(first..).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once('\n') {
            // Whole lines, if the first one was cut.
            Some((_, lines)) if is_cut && !lines.is_empty() => lines.to_owned(),
            _ => text.into_owned(),
        }
    }

    fn text(&self) -> String {
        self.last(TAIL)
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
        let text = tail.text();
        assert!(text.len() <= TAIL && text.starts_with("line "), "{text:?}");
        assert!(text.ends_with("line 9999\n"), "{text:?}");
    }

    #[test]
    fn a_short_tail_is_kept_whole() {
        let mut tail = Tail::default();
        tail.push(b"only this");
        assert_eq!(tail.text(), "only this");
    }

    fn piece(text: &'static str, task: Option<u64>) -> Piece {
        Piece { bytes: Bytes::from_static(text.as_bytes()), task: task.map(TaskId) }
    }

    /// What comes through of pieces, and of that what comes at the end only.
    fn repeated(failed: &FailedOutput, pieces: &[&'static str]) -> (String, String) {
        let mut repeated = Repeated::new(failed.clone());
        let text = |pieces: Vec<Piece>| {
            let bytes: Vec<_> = pieces.iter().flat_map(|piece| &piece.bytes).copied().collect();
            String::from_utf8(bytes).unwrap()
        };
        let pieces = pieces.iter().map(|text| piece(text, None));
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
        assert!(repeated.pass(vec![piece("one\n", None)]).is_empty());
        failed.clear();
        assert_eq!(repeated.rest(), [piece("one\n", None)]);
    }

    #[test]
    fn lines_are_passed_on_whole_and_long_ones_in_pieces() {
        let mut lines = Lines::default();
        assert!(lines.split(b"be", None).is_empty());
        let begin = lines.split(b"gin\nmiddle\nen", None);
        assert_eq!(begin, [piece("begin\nmiddle\n", None)]);
        assert_eq!(lines.unfinished(), Some(piece("en\n", None)));
        assert_eq!(lines.split(&vec![b'x'; LONGEST_LINE + 1], None).len(), 1);
    }

    #[test]
    fn a_line_ends_where_another_task_prints() {
        let mut lines = Lines::default();
        assert_eq!(lines.split(b"one\nun", Some(TaskId(1))), [piece("one\n", Some(1))]);
        let two = lines.split(b"two\n", Some(TaskId(2)));
        assert_eq!(two, [piece("un\n", Some(1)), piece("two\n", Some(2))]);
    }
}
