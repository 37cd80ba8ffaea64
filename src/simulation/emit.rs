//! What simulated tasks emit, and their users read.

use crate::base::TaskId;
use crate::codec::encoded;
use crate::testing::{Check, ensure};
use crate::wire::emit::{Credit, EMIT_CAPACITY, EmitHeader};
use crate::wire::frame::put_frame;
use crate::wire::message::{ExtrasHeader, Kind, TaskHeader};

use super::pen::Pen;
use super::record::Record;
use super::worker::FORGED;

/// The execution that emits, and how many it has emitted before.
pub(super) type Value = (u64, u64);

/// How much a task has to emit, and how much it may.
#[derive(Debug)]
pub(super) struct Emitting {
    task: TaskId,
    is_heard: bool,
    /// So many more.
    allowed: u32,
    /// How many it will emit before it ends, once that is known.
    wanted: Option<u32>,
    emitted: u32,
    /// It has found no room, and has heard nothing since then.
    pub(super) is_waiting: bool,
}

/// What an attempt to emit comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EmitStep {
    /// A value is to be written.
    Emitted,
    /// There is no room.
    Waits,
    /// There is nothing more to emit.
    Over,
}

impl Emitting {
    pub(super) fn new(header: &TaskHeader, extras: Option<ExtrasHeader>) -> Self {
        let allowed = extras.and_then(|extras| extras.allowance).unwrap_or(EMIT_CAPACITY);
        let (task, is_heard) = (header.task, header.attempt.is_heard);
        Self { task, is_heard, allowed, wanted: None, emitted: 0, is_waiting: false }
    }

    /// Its parent has said something.
    pub(super) fn hear(&mut self, credit: &Credit) {
        if credit.task == self.task {
            self.allowed += credit.values;
            self.is_heard &= !credit.is_closed;
            self.is_waiting = false;
        }
    }

    pub(super) fn step(
        &mut self,
        wanted: u32,
        is_asked: bool,
        (execution, pen): (usize, &mut Pen),
        record: &mut Record,
    ) -> EmitStep {
        let wanted = *self.wanted.get_or_insert(wanted);
        if self.is_waiting {
            return EmitStep::Waits;
        }
        if self.emitted == wanted || !self.is_heard {
            return EmitStep::Over;
        }
        if is_asked {
            record.see("a task that is asked to end and does not emit");
            return EmitStep::Over;
        }
        if self.allowed == 0 {
            record.see("a task that waits for its reader");
            self.is_waiting = true;
            return EmitStep::Waits;
        }
        self.allowed -= 1;
        put(pen, self.task, (execution as u64, self.emitted.into()));
        self.emitted += 1;
        record.executions[execution].emitted += 1;
        EmitStep::Emitted
    }
}

/// Puts a value down, to be written.
pub(super) fn put(pen: &mut Pen, task: TaskId, value: Value) {
    let type_name = Some(std::any::type_name::<Value>().to_owned());
    let (header, payload) = (EmitHeader { task, type_name }, encoded(&value));
    pen.put([], |out| {
        put_frame(out, Kind::Emit, &header, payload.len()).unwrap();
        out.extend_from_slice(&payload);
    });
}

fn index(execution: u64) -> usize {
    usize::try_from(execution).unwrap()
}

/// Whether a user has read what the executions of a call have emitted. Of the one whose end it has
/// heard of that must be all.
pub(super) fn check(record: &Record, number: u64, read: &[Value], heard: Option<u64>) -> Check {
    let mut left: Vec<_> = record.of(number).collect();
    left.reverse();
    let (mut current, mut next) = (None, 0);
    for (execution, count) in read.iter().filter(|(execution, _)| *execution != FORGED) {
        if current != Some(*execution) {
            current = Some(*execution);
            next = 0;
            let is_own = std::iter::from_fn(|| left.pop()).any(|(own, _)| own as u64 == *execution);
            ensure!(is_own, "it has read what execution {execution} has emitted");
        }
        let is_true = !record.liars.contains(&record.executions[index(*execution)].worker);
        ensure!(
            !is_true || *count == next,
            "value {count} of execution {execution} comes in place of {next}"
        );
        next += 1;
    }
    for (own, execution) in record.of(number) {
        let own = own as u64;
        let count = read.iter().filter(|(execution, _)| *execution == own).count() as u64;
        let emitted = execution.emitted;
        let is_liar = record.liars.contains(&execution.worker);
        ensure!(
            is_liar || count <= emitted,
            "it has read {count} values of the {emitted} of {own}"
        );
        let is_told = heard == Some(own) && !is_liar;
        ensure!(!is_told || count == emitted, "it has read {count} of the {emitted} of {own}");
    }
    Ok(())
}
