//! A worker that speaks the protocol, unless it is told not to.

mod loss;

use std::collections::VecDeque;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::base::{HostId, TaskId, WorkerId};
use crate::codec::{decode, encoded};
use crate::sys::memory::SharedPage;
use crate::testing::{Check, ensure};
use crate::wire::frame::{
    PREAMBLE, PreambleSearch, VERSION, frame_codec, put_frame, put_task_frame, split_header,
    split_kind,
};
use crate::wire::hello::{Hello, WorkerHello};
use crate::wire::item::split_item;
use crate::wire::message::{
    ChunkHeader, ExtrasHeader, Goodbye, Kind, Outcome, ProgressHeader, Ready, ReplyHeader,
    TaskHeader,
};

use super::emit::{self, EmitStep};
use super::lie::Lie;
use super::pen::Pen;
use super::process::{Birth, Process};
use super::record::Record;
use super::runs::{self, Answer, ChunkRun, TaskRun};

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Started,
    /// It has said hello.
    Initializing,
    Serving,
}

/// What it has read.
enum Frame {
    Extras(ExtrasHeader),
    Task(TaskHeader, u64),
    Chunk(ChunkHeader, Vec<u64>),
    Stop,
}

enum Run {
    Task(TaskRun),
    Chunk(ChunkRun),
}

/// How a worker tells of a task that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Write,
    Show,
    /// Not yet.
    Keep,
}

/// What a worker is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// It heeds nothing but SIGKILL.
    pub(super) is_stubborn: bool,
    /// It gets ready by itself.
    pub(super) is_quick: bool,
    /// For this reason, or none, it cannot open its page.
    pub(super) no_page: Option<i32>,
    /// Its tasks look whether they are asked to end.
    pub(super) looks: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) host: HostId,
    pub(super) process: Process,
    pub(super) pen: Pen,
    pub(super) stage: Stage,
    search: Option<PreambleSearch>,
    codec: LengthDelimitedCodec,
    inbox: BytesMut,
    hello: Option<Hello>,
    frames: VecDeque<Frame>,
    run: Option<Run>,
    /// What has come before a task.
    extras: Option<ExtrasHeader>,
    has_put_ready: bool,
    has_claims: bool,
    /// It has said that it cannot open its page, and one more start may help.
    pub(super) may_be_sent: bool,
    /// Whether its pool still waits for it to be ready.
    pub(super) is_awaited: bool,
    /// It was killed before it has exited.
    was_killed: bool,
    /// Its functions are others.
    differs: bool,
    pub(super) manners: Manners,
    pub(super) is_liar: bool,
    is_over_memory: bool,
    is_asked_to_end: bool,
    replies: u64,
    last_reply: Option<TaskId>,
    /// When all is written it exits.
    is_leaving: bool,
}

/// EACCES and ENOENT: what may be, if it is sent.
pub(super) const REFUSALS: [i32; 2] = [13, 2];

/// What nobody's call is numbered.
pub(super) const FORGED: u64 = u64::MAX;

impl Worker {
    pub(super) fn new((id, host): (WorkerId, HostId), process: Process, manners: Manners) -> Self {
        Self {
            id,
            host,
            process,
            pen: Pen::default(),
            stage: Stage::Started,
            search: Some(PreambleSearch::default()),
            codec: frame_codec(1 << 20),
            inbox: BytesMut::new(),
            hello: None,
            frames: VecDeque::new(),
            run: None,
            extras: None,
            has_put_ready: false,
            has_claims: false,
            may_be_sent: false,
            is_awaited: false,
            was_killed: false,
            differs: false,
            manners,
            is_liar: false,
            is_over_memory: false,
            is_asked_to_end: false,
            replies: 0,
            last_reply: None,
            is_leaving: false,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.process.is_alive
    }

    pub(super) fn exit(&mut self, raw_status: i32, record: &mut Record) {
        record.trace.note(format_args!("{} exits with {raw_status:#x}", self.id));
        let fate = &self.process.fate;
        let sights = [
            (fate.is_killed(), "a worker that was killed"),
            (fate.is_killed() && self.is_liar, "a liar that was killed"),
            (fate.is_terminated(), "a worker that was terminated"),
            (self.pen.is_writing(), "a death in the middle of a frame"),
            (!self.pen.is_empty(), "a death with something to say"),
            (self.run.is_some(), "a death in a task"),
            (self.stage != Stage::Serving, "a death before it is ready"),
            (self.may_be_sent, "a death of who may be sent the page"),
            (self.is_leaving, "a goodbye"),
        ];
        for (is_seen, sight) in sights {
            if is_seen {
                record.see(sight);
            }
        }
        self.was_killed = fate.is_killed();
        self.process.exit(raw_status);
        record.lose(self.id);
    }

    /// Whether its parent has heard that it cannot open its page, and nothing else was to end it.
    /// Then it is started once more.
    pub(super) fn is_only_refused(&self) -> bool {
        let (is_awaited, fate) = (self.is_awaited && self.was_killed, &self.process.fate);
        self.may_be_sent && is_awaited && !fate.is_killed_late() && !self.process.is_mute()
    }

    /// Whether there may be another process in place of this one.
    pub(super) fn check_second_start(&self, birth: &Birth) -> Check {
        let (id, fate) = (self.id, &self.process.fate);
        ensure!(self.may_be_sent, "{id} is started once more, and can have the page");
        ensure!(birth.sends_memory, "{id} is started once more, and the page is not sent to it");
        ensure!(!self.is_alive() && fate.is_reaped(), "{id} is started once more, and still there");
        ensure!(self.is_awaited, "{id} is started once more, and nobody waits for it");
        Ok(())
    }

    /// Whether its pool may count it as one that has not started.
    pub(super) fn may_have_failed(&self) -> bool {
        let is_ready = self.stage == Stage::Serving && !self.differs && !self.may_be_sent;
        !is_ready && !self.is_only_refused()
    }

    /// Whether it has nothing more to do, unless somebody tells it.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Serving
            && self.frames.is_empty()
            && self.run.is_none()
            && self.pen.is_empty()
            && !self.is_leaving
    }

    fn page(&self) -> Option<&'static SharedPage> {
        self.process.page.as_ref().filter(|_| self.has_claims).map(|page| page.words)
    }

    // ----- the handshake -----

    pub(super) fn greet(&mut self, no_page: Option<i32>, differences: Vec<String>) {
        let Some(hello) = &self.hello else { return };
        if self.stage != Stage::Started {
            return;
        }
        self.stage = Stage::Initializing;
        let is_offered = hello.claims.is_some() && self.process.page.is_some();
        self.has_claims = no_page.is_none() && is_offered;
        let no_page = no_page.or((!is_offered).then_some(0));
        let is_refused = no_page.is_some_and(|errno| errno == 0 || REFUSALS.contains(&errno));
        self.differs = !differences.is_empty();
        let is_known = self.differs || self.process.is_sent;
        self.may_be_sent = is_offered && is_refused && !is_known && !self.process.is_far;
        let answer = WorkerHello { version: VERSION, no_page, differences };
        self.pen.put([], |out| {
            out.extend_from_slice(b"a banner\n");
            out.extend_from_slice(&PREAMBLE);
            put_frame(out, Kind::WorkerHello, &answer, 0).unwrap();
        });
    }

    /// It is initialized; what it has said before is written.
    pub(super) fn ready(&mut self, record: &mut Record) {
        if self.stage != Stage::Initializing || self.is_leaving {
            return;
        }
        if !self.has_put_ready {
            if self.pen.is_writing() {
                return self.write_all(record); // its hello comes first
            }
            self.has_put_ready = true;
            self.pen.put([], |out| {
                put_frame(out, Kind::Ready, &Ready::default(), 0).unwrap();
            });
        }
        if self.pen.write(&self.process, None, record) {
            self.stage = Stage::Serving;
            // The agent writes to the pool what it sees.
            self.pen.set_display(self.page().filter(|_| !self.process.is_far));
            record.is_blurred |= !self.has_claims || self.process.is_far;
        }
    }

    /// If it is quick it needs nobody who tells it.
    pub(super) fn get_ready(&mut self, record: &mut Record) {
        if !self.manners.is_quick || !self.is_alive() {
            return;
        }
        match self.stage {
            Stage::Started => {
                self.read(1 << 16);
                self.greet(self.manners.no_page, Vec::new());
            }
            Stage::Initializing => self.ready(record),
            Stage::Serving => {}
        }
    }

    // ----- reading -----

    pub(super) fn read(&mut self, most: usize) -> bool {
        let bytes = self.process.read(most);
        self.inbox.extend_from_slice(&bytes);
        if let Some(search) = &mut self.search {
            let Some(end) = search.advance(&self.inbox) else {
                self.inbox.clear();
                return !bytes.is_empty();
            };
            let _ = self.inbox.split_to(end);
            self.search = None;
        }
        while let Some(frame) = self.codec.decode(&mut self.inbox).unwrap() {
            self.understand(&frame);
        }
        !bytes.is_empty()
    }

    fn understand(&mut self, frame: &[u8]) {
        let number = |arguments| decode::<(u64, bytes::Bytes)>(arguments).unwrap().0;
        let (kind, body) = split_kind(frame).unwrap();
        self.frames.push_back(match kind {
            Kind::Hello => {
                self.hello = Some(split_header(body).unwrap().0);
                return;
            }
            Kind::Task => {
                let (header, arguments) = split_header(body).unwrap();
                Frame::Task(header, number(arguments))
            }
            Kind::Chunk => {
                let (header, mut rest) = split_header::<ChunkHeader>(body).unwrap();
                let numbers = (0..header.count).map(|_| {
                    let (item, others) = split_item(rest).unwrap();
                    rest = others;
                    number(item)
                });
                Frame::Chunk(header, numbers.collect())
            }
            Kind::Stop => Frame::Stop,
            Kind::Credit => {
                if let Some(Run::Task(run)) = &mut self.run {
                    run.emitting.hear(&split_header(body).unwrap().0);
                }
                return;
            }
            Kind::Extras => Frame::Extras(split_header(body).unwrap().0),
            kind => panic!("a worker is not sent {kind:?}"),
        });
    }

    // ----- working -----

    /// Does the next thing: goes on writing, ends what runs, or begins the next task.
    pub(super) fn step(&mut self, result: runs::Result, say: Say, record: &mut Record) -> Check {
        let is_stuck = self.process.is_mute() && !self.pen.is_empty();
        if self.pen.is_writing() || is_stuck || self.is_leaving || self.stage != Stage::Serving {
            self.write_all(record);
            return Ok(());
        }
        if self.manners.looks {
            self.look(record);
        }
        match self.run.take() {
            Some(Run::Task(mut run)) => {
                if self.emits(&mut run, result.emits, say, record) {
                    self.run = Some(Run::Task(run));
                    return Ok(());
                }
                let task = run.task;
                run.finish(result, &mut self.pen, record);
                self.end_run(task, say, record);
            }
            Some(Run::Chunk(run)) => self.step_chunk(run, result, record)?,
            None => self.begin(record)?,
        }
        Ok(())
    }

    /// Whether a task goes on, as it has emitted something or waits for room.
    fn emits(&mut self, run: &mut TaskRun, wanted: u32, say: Say, record: &mut Record) -> bool {
        let is_asked = run.claim.is_some_and(|claim| claim.is_asked());
        let whose = (run.execution, &mut self.pen);
        match run.emitting.step(wanted, is_asked, whose, record) {
            EmitStep::Over => return false,
            EmitStep::Waits => {}
            EmitStep::Emitted if say == Say::Show => self.say_kept(record),
            EmitStep::Emitted => self.write_all(record),
        }
        true
    }

    /// Whether its task waits for credit, so that there is nothing to do.
    pub(super) fn waits_for_reader(&self) -> bool {
        matches!(&self.run, Some(Run::Task(run)) if run.emitting.is_waiting) && self.pen.is_empty()
    }

    fn step_chunk(
        &mut self,
        mut run: ChunkRun,
        result: runs::Result,
        record: &mut Record,
    ) -> Check {
        if run.is_running() {
            run.finish_item(result, &mut self.pen, record);
            self.write_all(record);
        }
        if !self.pen.is_empty() {
            self.run = Some(Run::Chunk(run));
            return Ok(());
        }
        run.restart_record();
        if run.begin_item(self.id, record)? {
            self.run = Some(Run::Chunk(run));
        } else if run.has_begun() {
            run.finish(&mut self.pen);
            self.end_run(run.header.task, Say::Write, record);
        }
        Ok(())
    }

    fn end_run(&mut self, task: TaskId, say: Say, record: &mut Record) {
        self.last_reply = Some(task);
        self.replies += 1;
        if self.hello.as_ref().and_then(|hello| hello.max_tasks) == Some(self.replies) {
            self.put_goodbye();
            self.is_leaving = true;
        }
        match say {
            Say::Write => self.write_all(record),
            Say::Show if !self.is_leaving => {
                if !self.pen.show(record) {
                    self.write_all(record);
                }
            }
            Say::Show | Say::Keep => {}
        }
    }

    fn put_goodbye(&mut self) {
        self.pen.put([], |out| {
            put_task_frame(out, Kind::Goodbye, &Goodbye { exit_hook: None }, 0).unwrap();
        });
    }

    fn begin(&mut self, record: &mut Record) -> Check {
        if matches!(
            self.frames.front(),
            Some(Frame::Extras(_) | Frame::Task(..) | Frame::Chunk(..))
        ) {
            self.say_kept(record);
            if self.pen.is_writing() || !self.is_alive() {
                return Ok(());
            }
        }
        match self.frames.pop_front() {
            None => self.write_all(record), // before it sleeps
            Some(Frame::Stop) if self.manners.is_stubborn => {}
            Some(Frame::Stop) => {
                self.put_goodbye();
                self.is_leaving = true;
                self.write_all(record);
            }
            Some(Frame::Task(header, _)) if self.is_over_memory && header.slot.is_some() => {}
            Some(Frame::Extras(header)) => {
                self.extras = Some(header);
                return self.begin(record);
            }
            Some(Frame::Task(header, number)) => {
                let extras = self.extras_of(header.task);
                record.check_limits(number, extras.as_ref().and_then(|extras| extras.limits))?;
                let call = (number, extras);
                let run = TaskRun::begin(self.id, header, call, self.page(), record)?;
                self.run = run.map(Run::Task);
            }
            Some(Frame::Chunk(header, _)) if self.is_over_memory && header.slot.is_some() => {}
            Some(Frame::Chunk(header, numbers)) => {
                let limits = self.extras_of(header.task).and_then(|extras| extras.limits);
                numbers.iter().try_for_each(|number| record.check_limits(*number, limits))?;
                let mut run = ChunkRun::new(header, numbers, self.page());
                if run.begin_item(self.id, record)? {
                    self.run = Some(Run::Chunk(run));
                }
            }
        }
        Ok(())
    }

    fn extras_of(&mut self, task: TaskId) -> Option<ExtrasHeader> {
        self.extras.take().filter(|extras| extras.task == task)
    }

    /// Nothing begins before what is kept is seen or written.
    fn say_kept(&mut self, record: &mut Record) {
        if !self.pen.is_empty() && !self.pen.show(record) {
            self.write_all(record);
        }
    }

    pub(super) fn write_all(&mut self, record: &mut Record) {
        let is_written = self.pen.is_empty() || self.pen.write(&self.process, None, record);
        if is_written && self.is_leaving && self.is_alive() {
            self.exit(0, record);
        }
    }

    /// Its running task looks whether it is asked to end; whether it is.
    pub(super) fn look(&self, record: &mut Record) -> bool {
        let claim = match &self.run {
            Some(Run::Task(run)) => run.claim,
            Some(Run::Chunk(run)) => run.claim(),
            None => None,
        };
        let is_asked = claim.is_some_and(|claim| claim.is_asked());
        if is_asked {
            record.see("a task that is asked to end");
        }
        is_asked
    }

    fn running(&self) -> Option<TaskId> {
        match &self.run {
            Some(Run::Task(run)) => Some(run.task),
            Some(Run::Chunk(run)) => Some(run.header.task),
            None => None,
        }
    }

    pub(super) fn report_progress(&mut self, record: &mut Record) {
        if let Some(task) = self.running() {
            self.put_progress(task);
            self.write_all(record);
        }
    }

    fn put_progress(&mut self, task: TaskId) {
        let header = ProgressHeader { task, done: 1, total: 2 };
        self.pen.put([], |out| put_task_frame(out, Kind::Progress, &header, 0).unwrap());
    }

    /// It takes too much memory, and begins nothing more that could go to another worker.
    pub(super) fn bloat(&mut self, record: &mut Record) {
        let may_say_so = self.run.is_none() && self.replies > 0 && !self.pen.is_writing();
        if may_say_so && !self.is_over_memory && !self.is_leaving {
            self.is_over_memory = true;
            record.see("a worker that takes too much memory");
            self.pen.put([], |out| put_frame(out, Kind::OverMemory, &(), 0).unwrap());
            self.write_all(record);
        }
    }

    /// Somebody else has asked it to end, of which it tells once, whatever it does.
    pub(super) fn be_asked_to_end(&mut self, record: &mut Record) {
        if self.stage != Stage::Serving || self.pen.is_writing() || self.is_asked_to_end {
            return;
        }
        self.is_asked_to_end = true;
        record.see("a worker that others have asked to end");
        self.pen.put([], |out| put_frame(out, Kind::AskedToEnd, &(), 0).unwrap());
        self.write_all(record);
    }

    // ----- lies -----

    pub(super) fn lie(&mut self, lie: Lie, record: &mut Record) {
        if self.pen.is_writing() || self.stage != Stage::Serving || self.is_leaving {
            return;
        }
        self.write_all(record); // what it has said before was the truth
        if !self.pen.is_empty() {
            return;
        }
        let behind = self.frames.iter().find_map(|frame| match frame {
            Frame::Task(header, _) => Some(header.task),
            _ => None,
        });
        match lie {
            Lie::Garbage => self.pen.put([], |out| out.extend_from_slice(b"\x01\0\0\0\xEE")),
            Lie::Huge => self.pen.put([], |out| out.extend_from_slice(&[0xFF; 4])),
            Lie::UnknownTask => self.forge(TaskId(1 << 40)),
            Lie::SecondReply => match self.last_reply {
                Some(task) if self.running() != Some(task) => self.forge(task),
                _ => return,
            },
            Lie::OutOfOrder => match behind.filter(|_| self.run.is_some()) {
                Some(task) => self.forge(task),
                None => return,
            },
            Lie::OtherKind => match &self.run {
                Some(Run::Chunk(run)) => self.forge(run.header.task),
                _ => return,
            },
            Lie::Goodbye if self.frames.iter().any(|frame| matches!(frame, Frame::Stop)) => return,
            Lie::Goodbye => self.put_goodbye(),
            Lie::SecondReady => self.pen.put([], |out| {
                put_frame(out, Kind::Ready, &Ready { segments: true, remarks: Vec::new() }, 0)
                    .unwrap();
            }),
            Lie::Scribble { word, value } => {
                let Some(page) = self.page() else { return };
                let word = &page.words()[word];
                word.store(value, std::sync::atomic::Ordering::Relaxed);
            }
            Lie::Progress => self.put_progress(behind.unwrap_or(TaskId(1 << 40))),
            Lie::Emit => {
                let task = self.running().or(behind).unwrap_or(TaskId(1 << 40));
                (0..40).for_each(|n| emit::put(&mut self.pen, task, (FORGED, n)));
            }
        }
        record.trace.note(format_args!("{} lies: {lie:?}", self.id));
        // A late report of progress is no crime.
        if !matches!(lie, Lie::Progress) {
            self.is_liar = true;
            record.liars.insert(self.id);
        }
        self.write_all(record);
    }

    fn forge(&mut self, task: TaskId) {
        let answer: Answer = (FORGED, FORGED, bytes::Bytes::new());
        let payload = encoded(&answer);
        let header = ReplyHeader { run_time: 1, task, outcome: Outcome::Returned };
        self.pen.put([], |out| {
            put_task_frame(out, Kind::Reply, &header, payload.len()).unwrap();
            out.extend_from_slice(&payload);
        });
    }
}
