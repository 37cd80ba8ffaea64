//! What a task has emitted, and who takes it.
//!
//! The supervisor puts values in as they come from the worker, and streams take them out. A worker
//! may send so many before it is given credit for those that were taken:
//!
//! ```text
//!            a value comes, or is asked for        taken enough
//! (nothing) ───────────────────────────────▶ open ──────────────▶ credit is due ──▶ open
//!                                              │ nobody can take any more
//!                                              └────────────────▶ closed: what comes is dropped
//! ```
//!
//! No credit is given to a worker of which nothing has come at this attempt: it begins with one
//! value at least, so it does not wait for it, and its task may not have begun. Who dies, and when:
//!
//! * the worker: what has come stays, and the next attempt begins with what room there is;
//! * the reader, or the handle without one: closed, of which the worker is told;
//! * the supervisor: the task is over, and so is the stream after what has come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::base::TaskId;
use crate::base::maps::SortedMap;
use crate::memory::Payload;
use crate::pool::task::waiters::Waiters;
use crate::wire::emit::{Credit, EMIT_BYTES, EMIT_CAPACITY};

/// A value that was emitted, as it came.
#[derive(Debug)]
pub(crate) struct EmittedValue {
    pub(crate) attempt: u32,
    pub(crate) type_name: Arc<str>,
    pub(crate) payload: Payload,
}

/// What a value means for who has sent it.
#[must_use]
pub(crate) enum Emitted {
    /// Whom to wake.
    Kept(SortedMap<u64, Waker>),
    /// Nobody takes it.
    Dropped,
    /// It may not have been sent.
    Lie,
}

/// See the [module](self).
pub(crate) struct Emissions {
    values: VecDeque<EmittedValue>,
    /// Of the value that came last.
    type_name: Arc<str>,
    /// How many values may wait to be taken.
    capacity: u32,
    pub(crate) streams: u32,
    /// Those of them that wait.
    pub(crate) readers: Waiters,
    is_closed: bool,
    /// The supervisor has been asked to give credit.
    is_asked: bool,
    sender: Sender,
}

/// What the worker has sent at this attempt, and what it may send.
#[derive(Default)]
struct Sender {
    attempt: u32,
    has_begun: bool,
    /// So many values more.
    allowed: u32,
    /// So many bytes were sent for which it has no credit yet.
    bytes: u64,
    taken_values: u32,
    taken_bytes: u64,
    knows_of_end: bool,
}

impl Emissions {
    pub(crate) fn new(capacity: Option<u32>) -> Self {
        let capacity = capacity.unwrap_or(EMIT_CAPACITY);
        Self {
            values: VecDeque::new(),
            type_name: "".into(),
            capacity,
            streams: 0,
            readers: Waiters::default(),
            is_closed: false,
            is_asked: false,
            sender: Sender { allowed: capacity, ..Sender::default() },
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// An attempt begins with a worker that has sent nothing; returns how many values it may.
    pub(crate) fn begin(&mut self, attempt: u32) -> u32 {
        let waiting = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let allowed = self.capacity.saturating_sub(waiting).max(1);
        self.sender = Sender { attempt, allowed, ..Sender::default() };
        allowed
    }

    /// A value has come.
    pub(crate) fn receive(&mut self, type_name: Option<String>, payload: Payload) -> Emitted {
        let sender = &mut self.sender;
        if sender.allowed == 0 || sender.bytes >= EMIT_BYTES {
            return Emitted::Lie;
        }
        sender.has_begun = true;
        sender.allowed -= 1;
        sender.bytes += payload.len() as u64;
        if let Some(type_name) = type_name {
            self.type_name = type_name.into();
        }
        if self.is_closed {
            return Emitted::Dropped;
        }
        let type_name = Arc::clone(&self.type_name);
        self.values.push_back(EmittedValue { attempt: sender.attempt, type_name, payload });
        Emitted::Kept(self.readers.take())
    }

    pub(crate) fn take(&mut self) -> Option<EmittedValue> {
        let value = self.values.pop_front()?;
        let sender = &mut self.sender;
        sender.taken_values = sender.taken_values.saturating_add(1);
        if value.attempt == sender.attempt {
            sender.taken_bytes += value.payload.len() as u64;
        }
        Some(value)
    }

    /// Nobody takes any more; returns what nobody has taken.
    pub(crate) fn close(&mut self) -> VecDeque<EmittedValue> {
        self.is_closed = true;
        std::mem::take(&mut self.values)
    }

    /// Whether the supervisor has to be asked to tell the worker something.
    pub(crate) fn asks(&mut self) -> bool {
        let asks = !self.is_asked && self.is_due();
        self.is_asked |= asks;
        asks
    }

    /// Half of what it may send, so that it need not wait, and is not told of each value.
    fn is_due(&self) -> bool {
        let sender = &self.sender;
        let is_enough = sender.taken_values >= self.capacity.div_ceil(2)
            || sender.taken_bytes >= EMIT_BYTES / 2;
        sender.has_begun && if self.is_closed { !sender.knows_of_end } else { is_enough }
    }

    /// What the worker is to be told, if that is due.
    pub(crate) fn credit(&mut self, task: TaskId) -> Option<Credit> {
        self.is_asked = false;
        if !self.is_due() {
            return None;
        }
        let sender = &mut self.sender;
        let values = std::mem::take(&mut sender.taken_values);
        let bytes = std::mem::take(&mut sender.taken_bytes);
        sender.allowed = sender.allowed.saturating_add(values);
        sender.bytes = sender.bytes.saturating_sub(bytes);
        sender.knows_of_end = self.is_closed;
        Some(Credit { task, values, bytes, is_closed: self.is_closed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(7);

    fn of(bytes: usize) -> Payload {
        bytes::Bytes::from(vec![0; bytes]).into()
    }

    fn is_kept(emissions: &mut Emissions, bytes: usize) -> bool {
        matches!(emissions.receive(None, of(bytes)), Emitted::Kept(_))
    }

    #[test]
    fn a_worker_that_sends_more_than_it_may_lies() {
        let mut emissions = Emissions::new(Some(2));
        assert_eq!(emissions.begin(1), 2);
        assert!(is_kept(&mut emissions, 1) && is_kept(&mut emissions, 1));
        assert!(matches!(emissions.receive(None, of(1)), Emitted::Lie));
        emissions.begin(2);
        assert!(is_kept(&mut emissions, usize::try_from(EMIT_BYTES).unwrap()));
        assert!(matches!(emissions.receive(None, of(1)), Emitted::Lie));
    }

    #[test]
    fn credit_is_due_when_half_is_taken_and_told_once() {
        let mut emissions = Emissions::new(Some(4));
        emissions.begin(1);
        (0..4).for_each(|_| assert!(is_kept(&mut emissions, 10)));
        assert!(emissions.take().is_some() && !emissions.asks());
        assert!(emissions.take().is_some() && emissions.asks() && !emissions.asks());
        let credit = emissions.credit(TASK);
        assert_eq!(credit, Some(Credit { task: TASK, values: 2, bytes: 20, is_closed: false }));
        assert_eq!(emissions.credit(TASK), None);
        assert!(is_kept(&mut emissions, 1) && is_kept(&mut emissions, 1));
        assert!(matches!(emissions.receive(None, of(1)), Emitted::Lie));
    }

    /// Whatever the sizes, a worker that has sent all that it may gets credit when all is taken.
    #[test]
    fn nobody_waits_for_a_reader_that_has_taken_all() {
        for capacity in 1..=5 {
            for size in [0, 1, 200_000, 700_000, 1 << 20, 3 << 20] {
                let mut emissions = Emissions::new(Some(capacity));
                emissions.begin(1);
                for _ in 0..4 {
                    while !matches!(emissions.receive(None, of(size)), Emitted::Lie) {}
                    while emissions.take().is_some() {}
                    assert!(emissions.asks() && emissions.credit(TASK).is_some());
                }
            }
        }
    }

    #[test]
    fn the_next_attempt_begins_with_the_room_that_is_left() {
        let mut emissions = Emissions::new(Some(3));
        emissions.begin(1);
        (0..2).for_each(|_| assert!(is_kept(&mut emissions, 1)));
        assert_eq!(emissions.begin(2), 1);
        assert!(is_kept(&mut emissions, 1));
        assert_eq!(emissions.begin(3), 1, "it does not begin by waiting");
        assert!(emissions.take().is_some() && emissions.take().is_some());
        assert!(!emissions.asks(), "the third attempt may not have begun");
        assert!(is_kept(&mut emissions, 1) && emissions.asks());
        let credit = emissions.credit(TASK);
        assert_eq!(credit, Some(Credit { task: TASK, values: 2, bytes: 0, is_closed: false }));
        let attempts = std::iter::from_fn(|| emissions.take()).map(|value| value.attempt);
        assert_eq!(attempts.collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_worker_is_told_once_that_nobody_takes_any_more() {
        let mut emissions = Emissions::new(None);
        emissions.begin(1);
        assert!(is_kept(&mut emissions, 1));
        assert_eq!(emissions.close().len(), 1);
        assert!(emissions.asks() && emissions.credit(TASK).unwrap().is_closed);
        assert!(matches!(emissions.receive(None, of(1)), Emitted::Dropped), "it was on its way");
        assert!(!emissions.asks() && emissions.credit(TASK).is_none());
        assert!(emissions.take().is_none());
        emissions.begin(2);
        assert!(!emissions.asks(), "it will be told when it begins, or emits");
    }
}
