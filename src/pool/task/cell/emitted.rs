//! What a task has emitted, as those see it who bring it, and who take it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use super::{CellState, TaskCell, TaskStage};
use crate::base::WorkerId;
use crate::memory::Payload;
use crate::pool::task::emissions::{Emissions, Emitted, EmittedValue};
use crate::wire::emit::Credit;

/// What came of the end of all who would take it: whether the supervisor has to be told, and what
/// nobody has taken, which is to be dropped when the cell is unlocked.
type Forsaken = (bool, VecDeque<EmittedValue>);

impl CellState {
    pub(super) fn emissions(&mut self) -> Option<&mut Emissions> {
        self.watchers.as_mut()?.emissions.as_deref_mut()
    }

    fn emissions_or_new(&mut self) -> &mut Emissions {
        let attempt = self.attempt;
        let watchers = self.watchers();
        let capacity = watchers.extras.emit_capacity;
        watchers.emissions.get_or_insert_with(|| {
            let mut emissions = Emissions::new(capacity);
            emissions.begin(attempt);
            Box::new(emissions)
        })
    }

    /// An attempt begins. Returns whether somebody may take what it emits, and how many values it
    /// may emit. The latter is `None` if nothing has come so far: it may emit as many as were set.
    pub(super) fn begin_to_emit(&mut self, attempt: u32) -> (bool, Option<u32>) {
        let is_held = self.is_held;
        let Some(emissions) = self.emissions() else { return (is_held, None) };
        let is_heard = !emissions.is_closed() && (is_held || emissions.streams > 0);
        (is_heard, Some(emissions.begin(attempt)))
    }

    fn close(&mut self) -> Forsaken {
        let is_done = self.is_done();
        let Some(emissions) = self.emissions() else { return (false, VecDeque::new()) };
        let left = emissions.close();
        (!is_done && emissions.asks(), left)
    }

    /// Closes it if there is no stream, and nobody who would ask for one: the handle is gone, or
    /// it is awaited.
    pub(super) fn close_if_forsaken(&mut self) -> Forsaken {
        let is_forsaken = !self.is_held || self.waker.is_some();
        let has_none = |emissions: &mut Emissions| emissions.streams == 0;
        if is_forsaken && self.emissions().is_some_and(has_none) {
            return self.close();
        }
        (false, VecDeque::new())
    }
}

impl TaskCell {
    // ----- the supervisor's side -----

    /// A value has come.
    pub(crate) fn receive(&self, type_name: Option<String>, payload: Payload) -> Emitted {
        let mut state = self.state.lock();
        if state.is_done() {
            return Emitted::Dropped;
        }
        state.emissions_or_new();
        let forsaken = state.close_if_forsaken();
        let emitted = state.emissions_or_new().receive(type_name, payload);
        drop(state);
        drop(forsaken);
        emitted
    }

    /// Who has the task, and what that worker is to be told of the room that there is.
    pub(crate) fn credit(&self) -> Option<(WorkerId, Credit)> {
        let mut state = self.state.lock();
        let credit = state.emissions()?.credit(self.id)?;
        (state.stage == TaskStage::Sent).then_some((state.worker, credit))
    }

    // ----- the handle's side -----

    /// The handle is gone; whether the supervisor has to be told.
    pub(crate) fn let_go(&self) -> bool {
        if self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let mut state = self.state.lock();
        state.is_held = false;
        let (asks, left) = state.close_if_forsaken();
        drop(state);
        drop(left);
        asks
    }

    pub(crate) fn add_stream(&self) -> u64 {
        let mut state = self.state.lock();
        let emissions = state.emissions_or_new();
        emissions.streams += 1;
        emissions.readers.add()
    }

    /// Whether the supervisor has to be told.
    pub(crate) fn remove_stream(&self, reader: u64) -> bool {
        let mut state = self.state.lock();
        let Some(emissions) = state.emissions() else { return false };
        emissions.streams -= 1;
        let (is_last, waker) = (emissions.streams == 0, emissions.readers.remove(reader));
        let (asks, left) = if is_last { state.close() } else { (false, VecDeque::new()) };
        drop(state);
        drop((waker, left)); // only now that the cell is unlocked
        asks
    }

    /// The next value, or `None` if no more will come; and whether the supervisor has to be told.
    pub(crate) fn poll_emitted(
        &self,
        reader: u64,
        waker: &Waker,
    ) -> (Poll<Option<EmittedValue>>, bool) {
        let mut state = self.state.lock();
        let is_done = state.is_done();
        let Some(emissions) = state.emissions() else { return (Poll::Ready(None), false) };
        if let Some(value) = emissions.take() {
            let asks = !is_done && emissions.asks();
            return (Poll::Ready(Some(value)), asks);
        }
        if is_done || emissions.is_closed() {
            return (Poll::Ready(None), false);
        }
        let replaced = emissions.readers.wait(reader, waker);
        drop(state);
        drop(replaced); // only now that the cell is unlocked
        (Poll::Pending, false)
    }
}
