//! The worker's life: hello, initializer, tasks, exit hook, goodbye.

mod accept;
#[cfg(test)]
mod fuzz;
mod memory;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use self::accept::{accept, can_open_segments, refuse, sign};
use self::memory::MemoryLimit;
use super::call::{OriginalSink, attempt, call};
use super::chunk::ChunkRun;
use super::context::{Current, set_current, set_current_item};
use super::extras::ReceivedExtras;
use super::last_words;
use super::limits::CallLimits;
use super::original::be_original;
use super::output::TaskOutput;
use super::panic::record_panics;
use super::prepare::prepare;
use super::progress::Reporter;
use super::request::finish_first;
use super::sandbox::{self, WatchBegun};
use super::stream::{ChunkArguments, FrameReader, FrameWriter};
use crate::base::log::print;
use crate::base::{Identity, ParentLink, TaskId};
use crate::codec::SHARED_FROM;
use crate::function::{EncodedArguments, Function, Registry};
use crate::memory::Segments;
use crate::memory::page::{begin, is_offered};
use crate::memory::shared::settle;
use crate::sys::descriptor::{close_inherited, wait_for_hangup};
use crate::sys::fork::{Lifeline, exit_forked};
use crate::sys::memory::{SharedPage, take_part_in_barriers};
use crate::sys::pipe::{FramePipes, WorkerPipes, take_frame_pipes};
use crate::sys::process::{kill_own_group, open_parent, parent_id};
use crate::sys::resources::is_shortage;
use crate::sys::sandbox::{SandboxRules, only_watch};
use crate::sys::thread::start_thread;
use crate::wire::emit::EMIT_CAPACITY;
use crate::wire::frame::{VERSION, put_frame, put_task_frame, set_run_time, split_header};
use crate::wire::hello::{FunctionName, Hello, peek_version};
use crate::wire::message::{
    ChunkHeader, ExtrasHeader, Goodbye, Kind, Ready, ReplyHeader, SegmentReply, SegmentTask, Slot,
    Stop, TaskHeader,
};
use crate::wire::role::{LOST_PARENT, TRY_AGAIN};

/// Serves the pool and ends the process.
pub(crate) fn run() -> ! {
    match take_frame_pipes().and_then(meet_parent) {
        Ok((reader, output)) => run_for_parent(reader, output, Functions::Asked, false),
        Err(error) => die_alone(&error),
    }
}

/// As [`run`], in a process that was forked for it.
pub(super) fn run_forked(
    pipes: WorkerPipes,
    lifeline: &File,
    functions: Vec<&'static Function>,
) -> ! {
    take_part_in_barriers();
    match pipes.take().and_then(|pipes| meet_distant_parent(pipes, lifeline)) {
        Ok((reader, output, lifeline)) => {
            run_for_parent(reader, output, Functions::Inherited(functions), lifeline.is_some())
        }
        Err(error) => die_alone(&error),
    }
}

/// Where the functions come from that tasks name by position.
enum Functions {
    /// The parent asks for them.
    Asked,
    /// The parent has asked the process for them that has forked this one.
    Inherited(Vec<&'static Function>),
}

impl Functions {
    /// Then this process was forked, too.
    fn is_inherited(&self) -> bool {
        matches!(self, Self::Inherited(_))
    }

    fn find(self, wanted: Option<&[FunctionName]>) -> Result<Vec<&'static Function>, Vec<String>> {
        match self {
            Self::Asked => Registry::global().resolve(wanted.unwrap_or_default()),
            Self::Inherited(functions) => Ok(functions),
        }
    }
}

/// The system is short of threads at this moment, or does not allow any, by a filter.
pub(crate) fn end_without_thread(error: &io::Error) -> ! {
    print(format_args!("this process cannot begin, as it cannot start a thread: {error}"));
    std::process::exit(if is_shortage(error) { TRY_AGAIN } else { 1 })
}

/// Perhaps it was started by hand, and its group is that of a user's script.
fn die_alone(error: &io::Error) -> ! {
    if is_shortage(error) {
        print(format_args!("a worker cannot begin: {error}"));
        std::process::exit(TRY_AGAIN)
    }
    print(format_args!("a worker, which a pool has to start, has no parent: {error}"));
    std::process::exit(1)
}

/// Waits for a pool to begin to talk.
fn meet_parent(pipes: FramePipes) -> io::Result<(FrameReader, File)> {
    let input = Arc::new(pipes.input);
    Ok((FrameReader::new(input)?, pipes.output))
}

/// As [`meet_parent`], in a process that was forked, and may be one of many: a thread would cost it
/// more than everything else does, so it has one only if the preload has changed the user.
fn meet_distant_parent(
    pipes: FramePipes,
    lifeline: &File,
) -> io::Result<(FrameReader, File, Option<Lifeline>)> {
    let (lifeline, input) = (Lifeline::hold(lifeline).ok(), Arc::new(pipes.input));
    Ok((FrameReader::new(input)?, pipes.output, lifeline))
}

/// Unless it has a lifeline, a thread of this process sees to it that it ends with its parent.
fn run_for_parent(
    reader: FrameReader,
    output: File,
    functions: Functions,
    has_lifeline: bool,
) -> ! {
    let is_forked = functions.is_inherited();
    match serve(reader, output, functions, has_lifeline) {
        Ok(()) if is_forked => exit_forked(),
        Ok(()) => std::process::exit(0),
        Err(error) => {
            // The parent has gone, or the pipes have: nobody can be told any more.
            print(format_args!("{LOST_PARENT}: {error}"));
            kill_own_group()
        }
    }
}

/// Starts the thread that ends this process when the parent goes, even in the middle of a task. The
/// parent holds the other end of the pipe until this process has exited, so a hangup means that it
/// is gone, however it went. A copy of it that was forked, and lives on, holds it, too: so the
/// process itself is watched as well, unless this one is no child of it.
///
/// By what it returns the thread says that it has begun, or why not: until then it makes system
/// calls that nothing else does, and that a filter may not allow.
pub(super) fn watch_parent(
    input: Arc<File>,
    identity: &Identity,
    sandbox: Option<SandboxRules>,
) -> io::Result<Arc<WatchBegun>> {
    const STACK: usize = 64 << 10;
    let parent = identity.parent_pid().and_then(open_parent);
    let begun = Arc::new(WatchBegun::new());
    let begins = Arc::clone(&begun);
    start_thread("procpool-parent", Some(STACK), move || {
        // If it has not begun it goes on, as the process has a last thing to say.
        let _ = begins.set(sandbox.as_ref().map_or(Ok(()), only_watch));
        drop((begins, sandbox));
        wait_for_hangup(&*input, parent.as_ref());
        kill_own_group();
    })?;
    Ok(begun)
}

fn watch_parent_of_worker(input: &Arc<File>, hello: &Hello) -> Arc<WatchBegun> {
    watch_parent(Arc::clone(input), &hello.identity, hello.sandbox.clone())
        .unwrap_or_else(|error| end_without_thread(&error))
}

fn serve(
    mut reader: FrameReader,
    output: File,
    functions: Functions,
    has_lifeline: bool,
) -> io::Result<()> {
    be_original();
    let reporter = Reporter::of_process(output);
    let mut writer = FrameWriter::new(reporter, reader.lending());
    let started = Worker::start(&mut reader, &mut writer, reporter, functions, has_lifeline)?;
    let Some(mut worker) = started else { return Ok(()) };
    while worker.step(&mut reader, &mut writer)? {}
    settle();
    Ok(())
}

struct Worker {
    hello: Hello,
    /// What tasks name by position.
    functions: Vec<&'static Function>,
    /// Never unmapped: threads that outlive their task may still look at it.
    claims: Option<&'static SharedPage>,
    reporter: &'static Reporter,
    /// Counts the tasks that began here.
    runs: u64,
    /// Counts those that were answered.
    replies: u64,
    memory: Option<MemoryLimit>,
    limits: CallLimits,
    /// It has told that it takes too much memory.
    over_memory: bool,
    /// What the next task has beside its arguments.
    extras: Option<ReceivedExtras>,
    /// Memory for large arguments and results.
    segments: Segments,
    /// It could not open the arguments of a task: everything is void until it is told to go on.
    waits_for_resume: bool,
    /// Where the results of a chunk are put.
    entries: Vec<u8>,
    /// When the last task ended, if the next one begins just then: its run time counts from there.
    clock: Option<Instant>,
    output: TaskOutput,
}

impl Worker {
    /// Shakes hands and runs the initializer. `None` if the worker cannot serve this parent, and
    /// has said why.
    fn start(
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
        reporter: &'static Reporter,
        functions: Functions,
        has_lifeline: bool,
    ) -> io::Result<Option<Self>> {
        let (input, mut incoming) = (reader.pipe(), reader.read()?);
        let (_, body) = incoming.parse()?;
        if peek_version(body)? != VERSION {
            return refuse(writer, Vec::new());
        }
        let (hello, args) = split_header::<Hello>(body)?;
        let args = args.len();
        let watch = (!has_lifeline).then(|| watch_parent_of_worker(&input, &hello));
        let is_forked = functions.is_inherited();
        let functions = match functions.find(hello.functions.as_deref()) {
            Ok(functions) => functions,
            Err(differences) => return refuse(writer, differences),
        };
        let claims = accept(writer, &hello)?;
        let output = TaskOutput::new(claims); // before code of the user's changes where it goes
        last_words::set_max_payload(hello.max_payload());
        record_panics(last_words::tell);
        if !is_forked {
            close_inherited(&hello.pass_fds);
        }
        let is_child = is_forked || hello.identity.parent_pid() == Some(parent_id());
        finish_first(&hello.identity, is_child, reporter);
        hello.oom_score.apply();
        hello.limits.apply()?;
        let limits = CallLimits::new(&hello.limits, hello.sandbox.is_some())?;
        hello.identity.clone().adopt(ParentLink { input, is_silent: false });
        let memory = hello.max_memory.and_then(|most| MemoryLimit::new(most, is_forked).ok());
        if hello.calls_something() {
            writer.flush()?; // it may take long
        }
        let prepared = sandbox::wait_for_watch(&hello, watch.as_deref())
            .and_then(|()| prepare(&hello, &functions, &mut incoming, args))
            .and_then(|()| sandbox::enter(&hello, watch.is_some(), is_forked));
        if let Err(failure) = prepared {
            failure.put(writer.buffer(), hello.max_payload())?;
            writer.flush()?;
            return Ok(None);
        }
        let segments = can_open_segments(&hello, claims);
        let is_known = is_child || sign(&hello, claims);
        put_frame(writer.buffer(), Kind::Ready, &Ready { segments, remarks: Vec::new() }, 0)?;
        writer.flush()?;
        reader.set_max_payload(hello.max_payload());
        let _ = reporter.emitter.ports.set(reader.ports(hello.max_payload()));
        reporter.be_ready(claims); // bytes count from here on
        Ok(Some(Self {
            segments: Segments::new(if is_known { hello.shared_memory } else { 0 }),
            limits,
            hello,
            functions,
            claims,
            reporter,
            runs: 0,
            replies: 0,
            memory,
            over_memory: false,
            extras: None,
            waits_for_resume: false,
            entries: Vec::new(),
            clock: None,
            output,
        }))
    }

    /// Takes one frame; false if it says to leave.
    fn step(&mut self, reader: &mut FrameReader, writer: &mut FrameWriter) -> io::Result<bool> {
        if !reader.has_next() {
            writer.write_kept()?;
            self.clock = None;
            self.output.rest();
        }
        let mut incoming = reader.read()?;
        let (kind, body) = incoming.parse()?;
        match kind {
            Kind::Stop => {
                let (stop, payload) = split_header::<Stop>(body)?;
                let length = payload.len();
                self.leave(stop, incoming.payload(length), writer)?;
                return Ok(false);
            }
            Kind::OfferRefused => self.segments.stop_offering(),
            Kind::Credit => {} // of a task that is over
            Kind::Resume => {
                self.waits_for_resume = false;
                self.extras = None; // it comes again with its task
            }
            _ if self.waits_for_resume => {}
            Kind::Extras => {
                let (header, payload) = split_header::<ExtrasHeader>(body)?;
                self.extras = Some(ReceivedExtras { header, payload: payload.to_vec() });
            }
            Kind::Task => {
                let (header, payload) = split_header::<TaskHeader>(body)?;
                let (length, is_last) = (payload.len(), incoming.is_last);
                self.run_task(header, incoming.payload(length), is_last, writer)?;
            }
            Kind::SegmentTask => {
                let (SegmentTask { task, place }, _) = split_header(body)?;
                match self.segments.read(&place) {
                    Ok(payload) => {
                        let (payload, is_last) =
                            (EncodedArguments::Shared(payload), incoming.is_last);
                        self.run_task(task, payload, is_last, writer)?;
                    }
                    Err(_) if self.is_offered(task) => {
                        put_frame(writer.buffer(), Kind::CannotOpen, &(), 0)?;
                        writer.flush()?;
                        self.waits_for_resume = true;
                    }
                    Err(_) => {} // it was taken back, and its memory with it
                }
            }
            Kind::Chunk => {
                let (header, payload) = split_header::<ChunkHeader>(body)?;
                let length = payload.len();
                self.run_chunk(header, incoming.items(length), writer)?;
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(!self.is_used_up())
    }

    fn run_task(
        &mut self,
        header: TaskHeader,
        payload: EncodedArguments<'_>,
        is_last: bool,
        writer: &mut FrameWriter,
    ) -> io::Result<()> {
        if let Some(current) = self.begin(header) {
            let function = named(&self.functions, header.function)?;
            let called = Instant::now(); // nothing is printed before, which takes time, too
            set_current(Some(current));
            let length = self.execute(header, function, payload, writer)?;
            set_current(None);
            self.end_extras(current.has_context);
            let ended = Instant::now();
            set_run_time(writer.buffer(), ended - self.clock.unwrap_or(called));
            self.clock = Some(ended);
            self.output.end_task(ended - called);
            self.replies += 1;
            if self.is_used_up() {
                put_goodbye(writer.buffer())?; // in one piece with the reply
            }
            writer.flush_reply(self.runs, !is_last && !self.is_used_up())?;
            self.offer_segment(length, writer)?;
            self.check_memory(writer)?;
        }
        Ok(())
    }

    /// Runs the items of a chunk one after the other, as long as they can be claimed.
    fn run_chunk(
        &mut self,
        header: ChunkHeader,
        mut items: ChunkArguments<'_>,
        writer: &mut FrameWriter,
    ) -> io::Result<()> {
        if self.leaves_it_alone(header.slot) {
            return Ok(());
        }
        let function = named(&self.functions, header.function)?;
        let Some(call) = function.task() else { return Err(io::ErrorKind::InvalidData.into()) };
        let (worker, reporter, limit) =
            (self.hello.worker, Some(self.reporter), self.hello.max_payload());
        self.clock = None;
        self.runs += 1;
        let run = self.runs;
        let mut chunk = ChunkRun::new(header, self.claims, std::mem::take(&mut self.entries));
        let first = TaskId(header.task.0 + u64::from(header.skipped));
        let (_, has_context) = self.begin_extras(header.task);
        while let Some(item) = chunk.begin_item() {
            if item == 0 {
                set_current(Some(Current {
                    task: first,
                    worker,
                    attempt: header.attempt,
                    claim: chunk.first_claim(),
                    reporter,
                    run,
                    is_item: true,
                    allowance: None,
                    has_context,
                }));
            }
            self.output.begin_item(first, item);
            set_current_item(item);
            let args = items.next()?;
            chunk.finish_item(writer, |out| {
                attempt(call, args, out, limit, None, &self.limits).map(|encoded| encoded.kept)
            })?;
        }
        set_current(None);
        self.end_extras(has_context);
        let has_begun = chunk.has_begun();
        if has_begun {
            self.output.end_chunk(chunk.finish(writer, run)?);
        }
        self.entries = chunk.into_buffer();
        if !has_begun {
            return Ok(());
        }
        self.replies += 1;
        if self.is_used_up() {
            put_goodbye(writer.buffer())?;
            writer.flush()?;
        }
        self.check_memory(writer)
    }

    /// Whether this was its last task, and it leaves without being told to.
    fn is_used_up(&self) -> bool {
        self.hello.max_tasks == Some(self.replies)
    }

    /// `None` if the task was taken back.
    fn begin(&mut self, header: TaskHeader) -> Option<Current> {
        let TaskHeader { task, attempt, slot, .. } = header;
        let claim = match (slot, self.claims) {
            _ if self.leaves_it_alone(slot) => return None,
            (Some(slot), Some(page)) => Some(begin(page, slot)?),
            _ => None,
        };
        self.runs += 1;
        self.output.begin_task(task);
        let (worker, reporter, run) = (self.hello.worker, Some(self.reporter), self.runs);
        let (allowance, has_context) = self.begin_extras(task);
        Some(Current {
            task,
            worker,
            attempt: attempt.number,
            claim,
            reporter,
            run,
            is_item: false,
            allowance: attempt.is_heard.then(|| allowance.unwrap_or(EMIT_CAPACITY)),
            has_context,
        })
    }

    /// Has what has come before this task hold for it. Returns how much it may emit, if that was
    /// said, and whether it has a context.
    fn begin_extras(&mut self, task: TaskId) -> (Option<u32>, bool) {
        let extras = self.extras.take().filter(|extras| extras.header.task == task);
        let Some(extras) = extras else { return (None, false) };
        let allowance = extras.header.allowance;
        self.limits.set_own(extras.header.limits);
        (allowance, self.reporter.context.begin(self.runs, extras))
    }

    fn end_extras(&mut self, has_context: bool) {
        self.limits.set_own(None);
        if has_context {
            self.reporter.context.end();
        }
    }

    /// Whether the task was not taken back.
    fn is_offered(&self, task: TaskHeader) -> bool {
        task.slot.zip(self.claims).is_none_or(|(slot, page)| is_offered(page, slot))
    }

    /// Whether it is too large to begin what can be taken back.
    fn leaves_it_alone(&self, slot: Option<Slot>) -> bool {
        self.over_memory && slot.is_some() && self.claims.is_some()
    }

    /// Tells once if the task has left too much memory behind; its reply does not count, so this
    /// comes after it was written.
    fn check_memory(&mut self, writer: &mut FrameWriter) -> io::Result<()> {
        let is_leaving = self.over_memory || self.is_used_up();
        let is_exceeded = |limit: &MemoryLimit| limit.is_exceeded(self.segments.size());
        if is_leaving || !self.memory.as_ref().is_some_and(is_exceeded) {
            return Ok(());
        }
        self.over_memory = true;
        put_frame(writer.buffer(), Kind::OverMemory, &(), 0)?;
        writer.flush()
    }

    /// If a result was too large for the pipe, the next one like it is to go through memory.
    fn offer_segment(&mut self, length: usize, writer: &mut FrameWriter) -> io::Result<()> {
        let is_large = length > SHARED_FROM && !self.is_used_up();
        let Some(offer) = is_large.then(|| self.segments.offer(length)).flatten() else {
            return Ok(());
        };
        put_frame(writer.buffer(), Kind::SegmentOffer, &offer, 0)?;
        writer.send(|| self.segments.descriptor(offer.segment).into_iter().collect())?;
        writer.flush()
    }

    /// Runs a task and leaves its reply in the writer's buffer; returns how long that is.
    fn execute(
        &mut self,
        header: TaskHeader,
        function: &Function,
        payload: EncodedArguments<'_>,
        writer: &mut FrameWriter,
    ) -> io::Result<usize> {
        let reply = |outcome| ReplyHeader { run_time: 0, task: header.task, outcome };
        let put_header = |out: &mut Vec<u8>, outcome, length| {
            put_task_frame(out, Kind::Reply, &reply(outcome), length)
        };
        let limit = self.hello.max_payload();
        let mut draft = self.segments.draft();
        let mut sink = OriginalSink(&mut draft);
        let (outcome, encoded) = call(
            function,
            payload,
            writer.buffer(),
            limit,
            Some(&mut sink),
            &self.limits,
            put_header,
        )?;
        if !encoded.kept.is_empty() {
            // Nobody is to hear of that memory before the reply does.
            self.reporter.close_emission(self.runs);
        }
        writer.lend(encoded.kept)?;
        let out = writer.buffer();
        if encoded.in_sink
            && let Some((slab, length)) = draft.finish()
        {
            let (segment, length) = (self.segments.lend(slab), length as u64);
            out.clear();
            let header = SegmentReply { reply: reply(outcome), segment, length };
            put_frame(out, Kind::SegmentReply, &header, 0)?;
        }
        Ok(out.len())
    }

    /// Runs the exit hook, if there is one, and says goodbye.
    fn leave(
        &self,
        stop: Stop,
        payload: EncodedArguments<'_>,
        writer: &mut FrameWriter,
    ) -> io::Result<()> {
        let out = writer.buffer();
        match stop.exit_hook {
            Some(hook) => {
                let put_header = |out: &mut Vec<u8>, outcome, length| {
                    let goodbye = Goodbye { exit_hook: Some(outcome) };
                    put_task_frame(out, Kind::Goodbye, &goodbye, length)
                };
                let (hook, limit) = (named(&self.functions, hook)?, self.hello.max_payload());
                let (_, encoded) = call(hook, payload, out, limit, None, &self.limits, put_header)?;
                writer.lend(encoded.kept)?;
            }
            None => put_goodbye(out)?,
        }
        writer.flush()
    }
}

/// Of a worker that has no exit hook.
fn put_goodbye(out: &mut Vec<u8>) -> io::Result<()> {
    put_task_frame(out, Kind::Goodbye, &Goodbye { exit_hook: None }, 0)
}

fn named(functions: &[&'static Function], position: u32) -> io::Result<&'static Function> {
    functions.get(position as usize).copied().ok_or_else(|| io::ErrorKind::InvalidData.into())
}
