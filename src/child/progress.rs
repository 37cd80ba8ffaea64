//! The way out of a worker, on which tasks' reports of progress travel with their replies.
//!
//! A task may report as often as it likes, from any of its threads. Its report is only put down,
//! and takes the place of one that was not sent yet; a thread of its own sends what was put down,
//! at most once in an [`INTERVAL`]. So the latest report arrives even if the task then computes in
//! silence.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Condvar, MutexGuard, Once, OnceLock};
use std::time::{Duration, Instant};

use super::credit::Emitter;
use super::extras::RunningContext;
use super::original::end_if_copy;
use crate::base::sync::{Mutex, wait};
use crate::memory::page::Display;
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::SharedPage;
use crate::sys::pipe::PipeWidth;
use crate::sys::socket::send_all_with_descriptors;
use crate::sys::thread::start_thread;
use crate::wire::frame::{empty_frame, put_task_frame};
use crate::wire::message::{Kind, MAX_MESSAGE, ProgressHeader};

/// Between two reports of a task: short enough for a progress bar to move smoothly, and long enough
/// for a thousand reporting workers to be no burden to their parent.
const INTERVAL: Duration = Duration::from_millis(50);

/// As a whole, as no memory can be taken in the middle of anything.
const ASKED_TO_END: [u8; 5] = empty_frame(Kind::AskedToEnd);

/// The pipe to the parent, and what is reported.
///
/// Lives as long as the process, as threads that outlive their task may still report. Where both
/// locks are held, that of the pipe was taken first.
pub(super) struct Reporter {
    /// Held while frames are written, which may block. A report is taken and written under one
    /// lock, so none can be written after its task's reply.
    pub(super) pipe: Mutex<Pipe>,
    /// Held for moments only.
    limiter: Mutex<Limiter>,
    /// Signals that a report waits where none did.
    news: Condvar,
    /// Starts the thread that sends reports, with the first of them.
    sender: Once,
    /// There is no such thread to be had: who reports sends what is due.
    has_no_sender: AtomicBool,
    /// Somebody has asked this process to end, and the parent was not told yet.
    is_asked: AtomicBool,
    /// What the running task has beside its arguments.
    pub(super) context: RunningContext,
    /// How much it may emit.
    pub(super) emitter: Emitter,
}

impl Reporter {
    /// For the life of the process. It stays within sight of those who look for leaks at its end,
    /// as sanitizers do: a worker would exit with their code.
    pub(super) fn of_process(pipe: File) -> &'static Self {
        static KEPT: OnceLock<&Reporter> = OnceLock::new();
        let reporter = Box::leak(Box::new(Self::new(pipe)));
        let _ = KEPT.set(reporter);
        reporter
    }

    pub(super) fn new(pipe: File) -> Self {
        Self {
            pipe: Mutex::new(Pipe {
                file: pipe,
                unwritten: Vec::new(),
                width: PipeWidth::default(),
                display: None,
                tells_of_request: false,
            }),
            limiter: Mutex::default(),
            news: Condvar::new(),
            sender: Once::new(),
            has_no_sender: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            context: RunningContext::default(),
            emitter: Emitter::default(),
        }
    }

    /// Tells the parent that somebody else has asked this process to end, once it is
    /// [ready](Self::be_ready). May be called by the handler of a signal, in the middle of
    /// whatever a thread does here: it waits for nobody, and if the pipe is in somebody's hands it
    /// is told when that one lets go.
    pub(super) fn ask_to_end(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        self.tell_if_asked();
    }

    /// To be called after the pipe was let go, at the latest before this process waits.
    pub(super) fn tell_if_asked(&self) {
        fence(Ordering::SeqCst); // either this sees it, or who has set it that nobody is in
        while self.is_asked.load(Ordering::Relaxed)
            && let Some(mut pipe) = self.pipe.try_lock()
            && pipe.tells_of_request
        {
            if self.is_asked.swap(false, Ordering::Relaxed) {
                let _ = pipe.write_as_original(&ASKED_TO_END, &[]); // or the parent has gone
            }
        }
    }

    /// The parent listens to all that can be said from now on. With a page replies may be kept
    /// back, as it sees them all the same.
    pub(super) fn be_ready(&self, page: Option<&'static SharedPage>) {
        let mut pipe = self.pipe.lock();
        pipe.display = page.map(Display::new);
        pipe.tells_of_request = true;
        drop(pipe);
        self.tell_if_asked();
    }

    /// Writes whole frames; `payload` is the end of the last one.
    pub(super) fn write(&self, frames: &[u8], payload: &[u8]) -> io::Result<()> {
        let written = self.pipe.lock().write(frames, payload);
        self.tell_if_asked();
        written
    }

    /// As [`Self::write`], to a socket, with descriptors.
    pub(super) fn write_with_descriptors(
        &self,
        frame: &[u8],
        descriptors: &[Descriptor],
    ) -> io::Result<()> {
        let mut pipe = self.pipe.lock();
        pipe.write(&[], &[])?; // what was kept back
        send_all_with_descriptors(&pipe.file, frame, descriptors)
    }

    /// Writes what was kept back.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut pipe = self.pipe.lock();
        let written = if pipe.unwritten.is_empty() { Ok(()) } else { pipe.write(&[], &[]) };
        drop(pipe);
        self.tell_if_asked();
        written
    }

    /// Writes the reply of the task that is over, after its last report. What it reports from now
    /// on is dropped.
    pub(super) fn end_run(&self, run: u64, reply: &[u8], payload: &[u8]) -> io::Result<()> {
        self.end(run)?.write(reply, payload)?;
        self.tell_if_asked();
        Ok(())
    }

    /// As [`Self::end_run`], but the reply may be kept back, to be written with later ones. The
    /// caller flushes before it waits.
    pub(super) fn end_run_soon(&self, run: u64, reply: &[u8]) -> io::Result<()> {
        self.end(run)?.write_soon(reply)
    }

    /// Whether the task is over that was this run.
    pub(super) fn is_over(&self, run: u64) -> bool {
        run <= self.limiter.lock().over
    }

    fn end(&self, run: u64) -> io::Result<MutexGuard<'_, Pipe>> {
        let mut pipe = self.pipe.lock();
        let last = self.limiter.lock().end_run(run);
        if let Some(report) = last {
            pipe.unwritten.extend_from_slice(&report.frame()?);
        }
        Ok(pipe)
    }

    /// Puts a report down; it is sent as soon as may be.
    pub(super) fn report(&'static self, run: u64, header: ProgressHeader, message: &str) {
        let message = &message[..message.floor_char_boundary(MAX_MESSAGE)];
        let is_new = self.limiter.lock().put(run, header, message);
        if is_new {
            self.news.notify_one();
            self.sender.call_once(|| self.start_sender());
        }
        if self.has_no_sender.load(Ordering::Relaxed) {
            let _ = self.send_due(); // as in the thread
        }
    }

    /// Without the thread a report that comes too soon after another one waits for the next one, or
    /// for the reply.
    fn start_sender(&'static self) {
        const STACK: usize = 64 << 10;
        // If the pipe is broken the parent has gone, and this process goes, too.
        let send = || while self.send_next().is_ok() {};
        let started = start_thread("procpool-progress", Some(STACK), send);
        self.has_no_sender.store(started.is_err(), Ordering::Relaxed);
    }

    fn send_next(&self) -> io::Result<()> {
        self.wait_until_due();
        self.send_due()
    }

    fn send_due(&self) -> io::Result<()> {
        let mut pipe = self.pipe.lock();
        let due = self.limiter.lock().take(Instant::now()); // unless its task has ended meanwhile
        let written = due.map_or(Ok(()), |report| pipe.write(&report.frame()?, &[]));
        drop(pipe);
        self.tell_if_asked();
        written
    }

    fn wait_until_due(&self) {
        let mut limiter = self.limiter.lock();
        loop {
            let rest = limiter.due(Instant::now());
            if rest == Some(Duration::ZERO) {
                return;
            }
            limiter = wait(&self.news, limiter, rest);
        }
    }
}

/// The pipe to the parent, and what was kept back.
pub(super) struct Pipe {
    file: File,
    unwritten: Vec<u8>,
    width: PipeWidth,
    /// Where the parent sees that. Without it nothing is kept back.
    display: Option<Display>,
    /// The parent understands that this process was asked to end.
    tells_of_request: bool,
}

impl Pipe {
    pub(super) fn write(&mut self, frames: &[u8], payload: &[u8]) -> io::Result<()> {
        end_if_copy(); // also what was kept back is the original's to write
        self.write_as_original(frames, payload)
    }

    /// Takes no memory, not even for what threads have of their own, and so may be called by the
    /// handler of a signal, which is called in the original only.
    fn write_as_original(&mut self, frames: &[u8], payload: &[u8]) -> io::Result<()> {
        if let Some(display) = &self.display {
            display.wake();
        }
        self.width.fit(&self.file, frames.len() + payload.len());
        write_all(&mut self.file, [&self.unwritten, frames, payload])?;
        if let Some(display) = &mut self.display {
            display.written(self.unwritten.len() + frames.len() + payload.len());
        }
        self.unwritten.clear();
        Ok(())
    }

    /// May be written later, with what comes then, as the parent sees it all the same.
    pub(super) fn write_soon(&mut self, reply: &[u8]) -> io::Result<()> {
        end_if_copy();
        let Some(display) = &mut self.display else { return self.write(reply, &[]) };
        self.unwritten.extend_from_slice(reply);
        if display.show(&self.unwritten) { Ok(()) } else { self.write(&[], &[]) }
    }
}

/// By one system call, if the pipe takes it.
fn write_all(pipe: &mut File, pieces: [&[u8]; 3]) -> io::Result<()> {
    let mut slices = pieces.map(IoSlice::new);
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0); // those that are empty
    while let [first, others @ ..] = &*rest {
        let is_last = others.iter().all(|piece| piece.is_empty());
        let written = if is_last { pipe.write(first) } else { pipe.write_vectored(rest) };
        match written {
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a task has reported.
#[derive(Debug, PartialEq, Eq)]
struct ProgressReport {
    header: ProgressHeader,
    message: String,
}

impl ProgressReport {
    fn frame(&self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        put_task_frame(&mut frame, Kind::Progress, &self.header, self.message.len())?;
        frame.extend_from_slice(self.message.as_bytes());
        Ok(frame)
    }
}

/// Decides which reports are sent, and when. It knows neither clock nor pipe.
///
/// A run is one task that is executed here. Runs are numbered from one, and follow one another.
#[derive(Debug, Default)]
struct Limiter {
    /// The latest report, until it is sent.
    waiting: Option<ProgressReport>,
    /// When this run has last sent one.
    sent: Option<Instant>,
    /// The last run that is over.
    over: u64,
}

impl Limiter {
    /// Takes a report; true if no other one waited for its time.
    fn put(&mut self, run: u64, header: ProgressHeader, message: &str) -> bool {
        if run <= self.over {
            return false;
        }
        if let Some(report) = &mut self.waiting {
            report.header = header;
            report.message.clear();
            report.message.push_str(message);
            return false;
        }
        self.waiting = Some(ProgressReport { header, message: message.to_owned() });
        true
    }

    /// How long the report that waits has still to wait.
    fn due(&self, now: Instant) -> Option<Duration> {
        self.waiting.as_ref()?;
        let next = self.sent.map_or(now, |sent| sent + INTERVAL);
        Some(next.saturating_duration_since(now))
    }

    /// What is to be sent now.
    fn take(&mut self, now: Instant) -> Option<ProgressReport> {
        if !self.due(now)?.is_zero() {
            return None;
        }
        self.sent = Some(now);
        self.waiting.take()
    }

    /// Ends a run; returns what it has reported and not sent.
    fn end_run(&mut self, run: u64) -> Option<ProgressReport> {
        self.over = run;
        self.sent = None;
        self.waiting.take()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};
    use std::os::fd::OwnedFd;

    use crate::base::TaskId;
    use crate::wire::frame::{frame_length, split_header, split_kind};

    use std::thread;

    use super::*;

    fn header(done: u64) -> ProgressHeader {
        ProgressHeader { task: TaskId(7), done, total: 10 }
    }

    fn done(report: Option<ProgressReport>) -> Option<u64> {
        report.map(|report| report.header.done)
    }

    #[test]
    fn the_first_report_is_due_at_once() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.due(now), None);
        assert!(limiter.put(1, header(1), "one"));
        assert_eq!(limiter.due(now), Some(Duration::ZERO));
        let report = ProgressReport { header: header(1), message: "one".to_owned() };
        assert_eq!(limiter.take(now), Some(report));
        assert_eq!(limiter.due(now), None, "there is nothing to wake up for");
    }

    #[test]
    fn the_next_one_waits_for_the_interval_and_the_latest_wins() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        limiter.put(1, header(1), "");
        limiter.take(now);
        assert!(limiter.put(1, header(2), "two"));
        assert!(!limiter.put(1, header(3), "three"));
        assert_eq!(limiter.due(now), Some(INTERVAL));
        assert_eq!(limiter.take(now + INTERVAL / 2), None);
        assert_eq!(limiter.due(now + INTERVAL / 2), Some(INTERVAL / 2));
        let report = ProgressReport { header: header(3), message: "three".to_owned() };
        assert_eq!(limiter.take(now + INTERVAL), Some(report));
        assert_eq!(limiter.take(now + 9 * INTERVAL), None);
    }

    #[test]
    fn a_report_after_a_long_silence_is_due_at_once() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        limiter.put(1, header(1), "");
        limiter.take(now);
        limiter.put(1, header(2), "");
        assert_eq!(done(limiter.take(now + 2 * INTERVAL)), Some(2));
    }

    #[test]
    fn the_end_of_a_run_takes_what_waits_and_drops_what_comes_later() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        limiter.put(1, header(1), "");
        limiter.take(now);
        limiter.put(1, header(2), "");
        assert_eq!(done(limiter.end_run(1)), Some(2));
        assert!(!limiter.put(1, header(3), ""));
        assert_eq!(limiter.due(now + INTERVAL), None);
        assert!(limiter.put(2, header(1), ""), "the next run may report");
        assert!(!limiter.put(1, header(4), ""));
        assert_eq!(done(limiter.take(now)), Some(1), "and its first report is due at once");
    }

    fn reporter() -> (&'static Reporter, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Box::leak(Box::new(Reporter::new(OwnedFd::from(writer).into()))), reader)
    }

    /// Reads one frame: its kind, the number in its header, and its payload.
    fn read(pipe: &mut PipeReader) -> (Kind, u64, String) {
        let mut prefix = [0; 4];
        pipe.read_exact(&mut prefix).unwrap();
        let mut frame = vec![0; frame_length(prefix)];
        pipe.read_exact(&mut frame).unwrap();
        let (kind, body) = split_kind(&frame).unwrap();
        let (number, payload) = match kind {
            Kind::Progress => {
                let (header, payload) = split_header::<ProgressHeader>(body).unwrap();
                (header.done, payload)
            }
            _ => split_header::<u64>(body).unwrap(),
        };
        (kind, number, String::from_utf8(payload.to_vec()).unwrap())
    }

    fn reply(run: u64, payload: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        put_task_frame(&mut frame, Kind::Reply, &run, payload.len()).unwrap();
        frame.extend_from_slice(payload.as_bytes());
        frame
    }

    #[test]
    fn reports_are_sent_while_the_task_is_silent() {
        let (reporter, mut pipe) = reporter();
        reporter.report(1, header(1), "first");
        assert_eq!(read(&mut pipe), (Kind::Progress, 1, "first".to_owned()));
        reporter.report(1, header(2), "second");
        assert_eq!(read(&mut pipe), (Kind::Progress, 2, "second".to_owned()));
    }

    #[test]
    fn without_a_thread_who_reports_sends_what_is_due() {
        let (reporter, mut pipe) = reporter();
        reporter.sender.call_once(|| reporter.has_no_sender.store(true, Ordering::Relaxed));
        reporter.report(1, header(1), "first");
        assert_eq!(read(&mut pipe), (Kind::Progress, 1, "first".to_owned()));
        reporter.report(1, header(2), "too soon");
        reporter.end_run(1, &reply(1, ""), &[]).unwrap();
        assert_eq!(read(&mut pipe), (Kind::Progress, 2, "too soon".to_owned()));
        assert_eq!(read(&mut pipe).0, Kind::Reply);
    }

    #[test]
    fn the_last_report_is_written_before_the_reply_and_none_after_it() {
        let (reporter, mut pipe) = reporter();
        for run in 1..=100 {
            for done in 1..=10 {
                reporter.report(run, header(done), "");
            }
            reporter.end_run(run, &reply(run, ""), &[]).unwrap();
            reporter.report(run, header(11), "too late");
            let mut last = 0;
            loop {
                let (kind, number, _) = read(&mut pipe);
                if kind == Kind::Reply {
                    assert_eq!(number, run);
                    break;
                }
                last = number;
            }
            assert_eq!(last, 10);
        }
    }

    #[test]
    fn frames_of_several_threads_do_not_mix() {
        const RUNS: u64 = 200;
        let (reporter, mut pipe) = reporter();
        let reader = thread::spawn(move || {
            for run in 1..=RUNS {
                while read(&mut pipe) != (Kind::Reply, run, "r".repeat(30_000)) {}
            }
        });
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    (1..=RUNS).for_each(|run| reporter.report(run, header(run), &"p".repeat(3000)));
                }
            });
            for run in 1..=RUNS {
                let reply = reply(run, &"r".repeat(30_000));
                let (head, tail) = reply.split_at(1000);
                reporter.end_run(run, head, tail).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        reader.join().unwrap();
    }

    fn read_request(pipe: &mut PipeReader) {
        let mut frame = [0; 5];
        pipe.read_exact(&mut frame).unwrap();
        assert_eq!(frame, ASKED_TO_END);
        let (kind, body) = split_kind(&frame[4..]).unwrap();
        assert!(kind == Kind::AskedToEnd && body.is_empty());
    }

    #[test]
    fn a_request_to_end_is_told_once_the_parent_listens() {
        let (reporter, mut pipe) = reporter();
        reporter.ask_to_end();
        reporter.end_run(1, &reply(1, "first"), &[]).unwrap();
        assert_eq!(read(&mut pipe), (Kind::Reply, 1, "first".to_owned()));
        reporter.be_ready(None);
        read_request(&mut pipe);
        reporter.flush().unwrap();
        reporter.end_run(2, &reply(2, "told once"), &[]).unwrap();
        assert_eq!(read(&mut pipe), (Kind::Reply, 2, "told once".to_owned()));
    }

    #[test]
    fn a_request_that_interrupts_a_write_is_told_behind_it() {
        type Step = fn(&'static Reporter) -> io::Result<()>;
        let steps: [Step; 3] = [
            Reporter::flush,
            |reporter| reporter.write(&[], &[]),
            |reporter| reporter.end_run(1, &[], &[]),
        ];
        for step in steps {
            let (reporter, mut pipe) = reporter();
            reporter.be_ready(None);
            let in_hands = reporter.pipe.lock();
            reporter.ask_to_end(); // as a handler does that runs on the same thread
            drop(in_hands);
            step(reporter).unwrap();
            read_request(&mut pipe);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let (reporter, mut pipe) = reporter();
        reporter.report(1, header(1), &"€".repeat(MAX_MESSAGE));
        let (_, _, message) = read(&mut pipe);
        assert_eq!(message, "€".repeat(MAX_MESSAGE / "€".len()));
    }
}
