//! Items that are begun again, because their reader wants so when their results have come.

use std::sync::Arc;

use super::{Harvest, RepeatedItem};
use crate::pool::task::cell::TaskCell;

impl Harvest {
    /// From now on parts have what their items were called with.
    pub(crate) fn set_repeats(&self) {
        self.state.lock().repeats = true;
    }

    /// How many names are needed for a chunk of so many items: for the items, and for chunks that
    /// may be made of them.
    pub(crate) fn names(&self, count: u32) -> u64 {
        u64::from(count) * if self.state.lock().repeats { 2 } else { 1 }
    }

    /// Adds a chunk of one item that is begun again, and is about to be queued. `None` if its
    /// attempt before is not over yet: its result has come, and its end has not. The stream is
    /// woken when it has.
    pub(crate) fn repeat(self: &Arc<Self>, item: &RepeatedItem) -> Option<Arc<TaskCell>> {
        let RepeatedItem { number, task, attempt, ref items } = *item;
        let mut state = self.state.lock();
        if state.chunks.contains_key(&task) {
            return None;
        }
        let extras = state.extras.clone();
        let cell = TaskCell::new(task, self.function, items.clone(), false, extras);
        cell.set_attempts_before(attempt - 1);
        let cell = self.insert(&mut state, (number, 1), 0, cell);
        if let Some(chunk) = state.chunks.get_mut(&task) {
            chunk.sits_out = true;
        }
        Some(cell)
    }
}
