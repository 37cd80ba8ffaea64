//! What a worker is executing: a task, or a chunk, item by item.

use bytes::Bytes;

use crate::base::{TaskId, WorkerId};
use crate::codec::{AskedForm, encoded_as};
use crate::memory::page::{Begun, Items, Recorder, begin};
use crate::sys::memory::SharedPage;
use crate::wire::frame::put_task_frame;
use crate::wire::item::{begin_entry, end_entry};
use crate::wire::message::{
    ChunkHeader, ChunkReplyHeader, ExtrasHeader, Kind, Outcome, PanicReport, ReplyHeader,
    TaskHeader,
};

use super::emit::Emitting;
use super::pen::Pen;
use super::record::{Ending, Execution, Record};

/// What the functions of the simulation return: the number of the call, and that of its execution.
pub(super) type Answer = (u64, u64, Bytes);

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Result {
    pub(super) ending: Ending,
    /// How long it says that it took, in nanoseconds.
    pub(super) nanos: u64,
    /// How large its result is.
    pub(super) size: usize,
    /// How many values a task emits that ends so.
    pub(super) emits: u32,
}

impl Result {
    fn encode(self, number: u64, execution: usize) -> (Outcome, Vec<u8>) {
        match self.ending {
            Ending::Returned => {
                let answer: Answer = (number, execution as u64, vec![7; self.size].into());
                (Outcome::Returned, encoded_as(&answer, form_of(execution)))
            }
            Ending::Panicked => {
                let (message, backtrace) = (execution.to_string(), String::new());
                let report = PanicReport { message, location: None, backtrace };
                (Outcome::Panicked, postcard::to_stdvec(&report).unwrap())
            }
        }
    }
}

/// A worker may change over to the named form at any time.
fn form_of(execution: usize) -> AskedForm {
    if execution.is_multiple_of(3) { AskedForm::Named } else { AskedForm::Compact }
}

fn execution(number: u64, task: TaskId, worker: WorkerId, record: &Record) -> Execution {
    Execution {
        number,
        task,
        worker,
        attempt: 1,
        is_item: false,
        began: record.event,
        emitted: 0,
        ending: None,
        said: false,
        gone: false,
    }
}

/// A task that has begun.
pub(super) struct TaskRun {
    pub(super) task: TaskId,
    number: u64,
    pub(super) execution: usize,
    pub(super) claim: Option<Begun<'static>>,
    pub(super) emitting: Emitting,
}

impl TaskRun {
    /// `None` if it was taken back.
    pub(super) fn begin(
        worker: WorkerId,
        header: TaskHeader,
        (number, extras): (u64, Option<ExtrasHeader>),
        page: Option<&'static SharedPage>,
        record: &mut Record,
    ) -> std::result::Result<Option<Self>, String> {
        let claim = match header.slot.zip(page) {
            None => None,
            Some((slot, page)) => match begin(page, slot) {
                None => {
                    record.see("a task that was taken back");
                    return Ok(None);
                }
                begun => begun,
            },
        };
        let (task, attempt) = (header.task, header.attempt.number);
        let begun = Execution { attempt, ..execution(number, task, worker, record) };
        let execution = record.begin(begun)?;
        let emitting = Emitting::new(&header, extras);
        Ok(Some(Self { task, number, execution, claim, emitting }))
    }

    pub(super) fn finish(self, result: Result, pen: &mut Pen, record: &mut Record) {
        let Self { task, number, execution, .. } = self;
        record.executions[execution].ending = Some(result.ending);
        let (outcome, payload) = result.encode(number, execution);
        let header = ReplyHeader { run_time: result.nanos, task, outcome };
        pen.put([execution], |out| {
            put_task_frame(out, Kind::Reply, &header, payload.len()).unwrap();
            out.extend_from_slice(&payload);
        });
    }
}

/// A chunk that has begun, or is about to.
pub(super) struct ChunkRun {
    pub(super) header: ChunkHeader,
    numbers: Vec<u64>,
    shared: Option<(&'static SharedPage, Recorder<'static>)>,
    /// Set once the first one has begun, if they are claimed.
    items: Option<Items<'static>>,
    /// The entries that were not sent, and the executions that they are of.
    entries: Vec<u8>,
    unsent: Vec<usize>,
    base: u32,
    done: u32,
    /// How many bytes the results of those take that were sent.
    sent: u64,
    nanos: u64,
    total: u64,
    running: Option<usize>,
    /// A part was sent, and the record is still that of before.
    has_sent: bool,
}

impl ChunkRun {
    pub(super) fn new(
        header: ChunkHeader,
        numbers: Vec<u64>,
        page: Option<&'static SharedPage>,
    ) -> Self {
        let shared = page.zip(header.slot).map(|(page, slot)| (page, Recorder::new(page, slot)));
        Self {
            header,
            numbers,
            shared,
            items: None,
            entries: Vec::new(),
            unsent: Vec::new(),
            base: 0,
            done: 0,
            sent: 0,
            nanos: 0,
            total: 0,
            running: None,
            has_sent: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What is recorded and was not sent.
    pub(super) fn unsent(&self) -> impl Iterator<Item = usize> {
        self.unsent.iter().copied()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.done > 0
    }

    /// The claim of the item that runs.
    pub(super) fn claim(&self) -> Option<Begun<'static>> {
        self.items.as_ref().map(|items| items.first().of_item(self.done))
    }

    /// Begins the next item; false if there is none, or it was taken back.
    pub(super) fn begin_item(
        &mut self,
        worker: WorkerId,
        record: &mut Record,
    ) -> std::result::Result<bool, String> {
        if self.done == self.header.count {
            return Ok(false);
        }
        if self.sent + self.entries.len() as u64 >= self.header.credit {
            record.see("a chunk that has used its credit up");
            return Ok(false);
        }
        if let (Some((page, _)), Some(slot)) = (&self.shared, self.header.slot) {
            let has_begun = if let Some(items) = &mut self.items {
                items.begin_next()
            } else {
                self.items = begin(page, slot).map(Items::new);
                self.items.is_some()
            };
            if !has_begun {
                record.see("items that were taken back");
                return Ok(false);
            }
        }
        let number = self.numbers[self.done as usize];
        let task = TaskId(self.header.task.0 + u64::from(self.done));
        let attempt = self.header.attempt;
        let item = Execution { is_item: true, attempt, ..execution(number, task, worker, record) };
        self.running = Some(record.begin(item)?);
        Ok(true)
    }

    /// Where its result survives the worker: in the record, or in a frame that has to be written
    /// now.
    pub(super) fn finish_item(&mut self, result: Result, pen: &mut Pen, record: &mut Record) {
        let Some(execution) = self.running.take() else { return };
        let number = self.numbers[self.done as usize];
        record.executions[execution].ending = Some(result.ending);
        let (outcome, bytes) = result.encode(number, execution);
        let (known, start) = (self.entries.len(), begin_entry(&mut self.entries));
        self.entries.extend_from_slice(&bytes);
        end_entry(&mut self.entries, start, outcome).unwrap();
        self.done += 1;
        self.nanos = self.nanos.saturating_add(result.nanos);
        self.total = self.total.saturating_add(result.nanos);
        self.unsent.push(execution);
        let shared = self.shared.as_ref();
        if shared.is_some_and(|(_, recorder)| recorder.publish(&self.entries, known)) {
            record.say(self.unsent.iter().copied());
            record.see("an item that is recorded");
        } else {
            record.see("an item that is sent at once");
            self.send(pen, false);
        }
    }

    pub(super) fn finish(&mut self, pen: &mut Pen) {
        self.send(pen, true);
    }

    fn send(&mut self, pen: &mut Pen, is_last: bool) {
        let header = ChunkReplyHeader {
            task: self.header.task,
            base: self.base,
            count: self.done - self.base,
            nanos: std::mem::take(&mut self.nanos),
            run_time: is_last.then_some(self.total),
        };
        pen.put(self.unsent.drain(..), |out| {
            put_task_frame(out, Kind::ChunkReply, &header, self.entries.len()).unwrap();
            out.extend_from_slice(&self.entries);
        });
        self.sent += self.entries.len() as u64;
        self.entries.clear();
        self.base = self.done;
        self.has_sent = !is_last;
    }

    /// What was sent is written, so the record can begin anew.
    pub(super) fn restart_record(&mut self) {
        if std::mem::take(&mut self.has_sent)
            && let Some((_, recorder)) = &mut self.shared
        {
            recorder.restart(self.base);
        }
    }
}
