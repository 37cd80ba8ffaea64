//! What is held back when results take too much, until their reader has made room.

use std::sync::atomic::Ordering;

use super::{Chunk, Harvest, HarvestState};
use crate::base::TaskId;

impl Harvest {
    // ----- the stream's side -----

    /// Whether there are enough arguments.
    pub(crate) fn has_enough(&self) -> bool {
        if self.arguments.sum() < self.enough.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state.lock();
        let (in_use, workers) = (|chunk: &&Chunk| !chunk.sits_out, state.budget.workers());
        state.chunks.values().filter(in_use).take(workers).count() >= workers
    }

    /// Whether what has not begun is held back. If nothing is left of that, and there is room, it
    /// ends here.
    pub(crate) fn is_paused(&self) -> bool {
        if !self.is_paused.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state.lock();
        let is_paused = !state.withheld.is_empty() || self.chunks_out(&state) == 0;
        self.is_paused.store(is_paused, Ordering::Relaxed);
        is_paused
    }

    /// Whether the supervisor is to be asked to send what is held back: there is room, or the
    /// stream waits for just that.
    pub(crate) fn asks(&self, is_waiting: bool) -> bool {
        if !self.is_paused.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state.lock();
        let wants = !state.withheld.is_empty() && (is_waiting || self.chunks_out(&state) > 0);
        wants && !self.is_asked.swap(true, Ordering::Relaxed)
    }

    fn chunks_out(&self, state: &HarvestState) -> usize {
        state.budget.chunks_out(self.results.sum(), self.arguments.sum(), state.is_large)
    }

    // ----- the supervisor's side -----

    /// Whether a chunk that was not sent is to be held back, as all others are.
    pub(crate) fn withholds(&self, task: TaskId) -> bool {
        let mut state = self.state.lock();
        let withholds = self.is_paused.load(Ordering::Relaxed) && state.chunks.contains_key(&task);
        let is_new = withholds && !state.closed && !state.withheld.contains_key(&task);
        if is_new {
            state.withheld.insert(task, ());
        }
        is_new
    }

    /// Those chunks that are to be held back if they have not begun.
    pub(crate) fn excess(&self) -> Vec<TaskId> {
        let state = self.state.lock();
        if state.closed || self.results.sum() < state.budget.results(self.arguments.sum()) {
            return Vec::new();
        }
        self.is_paused.store(true, Ordering::Relaxed);
        // What is held back was sent in its order, so all before it is out.
        let end = state.withheld.keys().next().copied().unwrap_or(TaskId(u64::MAX));
        let out =
            state.chunks.range(..end).filter(|(_, chunk)| !chunk.is_finished && !chunk.sits_out);
        out.map(|(task, _)| *task).collect()
    }

    /// They have not begun, and will not begin.
    pub(crate) fn withhold(&self, tasks: &[TaskId]) {
        let mut state = self.state.lock();
        let HarvestState { chunks, withheld, .. } = &mut *state;
        for task in tasks.iter().filter(|task| chunks.contains_key(task)) {
            withheld.insert(*task, ());
        }
    }

    /// Those chunks that are not held back any more.
    pub(crate) fn release(&self) -> Vec<TaskId> {
        if !self.is_paused.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.is_asked.store(false, Ordering::Relaxed);
        let mut state = self.state.lock();
        let mut allowed = self.chunks_out(&state);
        let away = state.chunks.values().filter(|chunk| chunk.sits_out).count();
        let idle = state.withheld.len() + state.finished + away;
        let mut out = state.chunks.len().saturating_sub(idle);
        // Perhaps the stream waits for just that one.
        let first = state.chunks.iter().find(|(_, chunk)| !chunk.sits_out).map(|(task, _)| task);
        let is_next = first == state.withheld.keys().next();
        if state.waker.is_some() && is_next {
            allowed = allowed.max(out + 1);
        }
        let mut released = Vec::new();
        while out < allowed
            && let Some(&task) = state.withheld.keys().next()
        {
            state.withheld.remove(&task);
            released.push(task);
            out += 1;
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::base::WorkerId;
    use crate::memory::Payload;
    use crate::pool::task::budget::Budget;
    use crate::wire::message::ChunkReplyHeader;

    const BYTES: u64 = 800;

    /// Of so many chunks of one item.
    fn harvest(chunks: u64) -> Arc<Harvest> {
        let harvest = Harvest::new(0, Budget::new(BYTES, 2));
        for number in 0..chunks {
            harvest.add(TaskId(10 + number), (number, 1), Payload::default());
        }
        harvest
    }

    fn receive(harvest: &Harvest, task: u64, bytes: usize) {
        let header =
            ChunkReplyHeader { task: TaskId(task), base: 0, count: 1, nanos: 1, run_time: Some(1) };
        let _ = harvest.receive(WorkerId(1), &header, Bytes::from(vec![0; bytes]).into(), false);
    }

    fn ids(tasks: &[TaskId]) -> Vec<u64> {
        tasks.iter().map(|task| task.0).collect()
    }

    fn pause(harvest: &Harvest) {
        receive(harvest, 10, 600);
        let excess = harvest.excess();
        assert_eq!(ids(&excess), [11, 12, 13, 14]);
        harvest.withhold(&excess[1..]); // the first one has begun
    }

    #[test]
    fn nothing_is_held_back_before_results_take_their_part() {
        let harvest = harvest(5);
        receive(&harvest, 10, 599);
        assert!(harvest.excess().is_empty() && !harvest.is_paused() && !harvest.asks(true));
        assert!(!harvest.withholds(TaskId(11)));
    }

    #[test]
    fn what_is_held_back_is_let_go_in_its_order_when_there_is_room() {
        let harvest = harvest(5);
        pause(&harvest);
        assert!(harvest.release().is_empty() && harvest.is_paused() && !harvest.asks(false));
        let mut parts = Vec::new();
        let _ = harvest.poll_parts(&mut Context::from_waker(Waker::noop()), &mut parts);
        drop(parts);
        assert!(harvest.asks(false) && !harvest.asks(false), "it asks once");
        // One for each worker, as the last result was large, and one is out.
        harvest.state.lock().is_large = true;
        assert_eq!(ids(&harvest.release()), [12]);
        assert!(harvest.asks(false) && harvest.release().is_empty());
        harvest.state.lock().is_large = false;
        assert_eq!(ids(&harvest.release()), [13, 14]);
        assert!(!harvest.is_paused() && !harvest.asks(true));
    }

    #[test]
    fn what_the_stream_waits_for_is_let_go_whatever_is_held() {
        let harvest = harvest(5);
        pause(&harvest);
        let mut parts = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(harvest.poll_parts(&mut cx, &mut parts).is_ready());
        assert!(harvest.poll_parts(&mut cx, &mut parts).is_pending());
        assert!(harvest.asks(true) && harvest.release().is_empty(), "11 comes before them");
        let cell = harvest.state.lock().chunks[&TaskId(11)].cell.clone();
        let finished = harvest.state.lock().chunks[&TaskId(10)].cell.clone();
        for cell in [cell, finished] {
            cell.resolve(Err(cell.error(crate::error::Cause::Cancelled)));
        }
        assert!(harvest.poll_parts(&mut cx, &mut parts).is_ready());
        assert!(harvest.poll_parts(&mut cx, &mut parts).is_pending());
        assert_eq!(ids(&harvest.release()), [12]);
        assert!(harvest.release().is_empty(), "one at a time");
    }

    #[test]
    fn what_comes_while_others_are_held_back_is_held_back_too() {
        let harvest = harvest(5);
        pause(&harvest);
        harvest.add(TaskId(20), (5, 1), Payload::default());
        assert!(harvest.withholds(TaskId(20)) && !harvest.withholds(TaskId(21)));
    }

    #[test]
    fn what_sits_out_its_back_off_holds_up_nothing() {
        let harvest = harvest(5);
        pause(&harvest);
        for chunk in harvest.state.lock().chunks.values_mut().take(2) {
            chunk.sits_out = true; // 10 and 11
        }
        let mut parts = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let _ = harvest.poll_parts(&mut cx, &mut parts);
        drop(parts);
        harvest.state.lock().is_large = true;
        assert_eq!(ids(&harvest.release()), [12, 13], "one for each worker");

        let harvest = Harvest::new(0, Budget::new(BYTES, 1));
        drop(harvest.add(TaskId(1), (1, 1), Bytes::from(vec![0; 800]).into()));
        assert!(harvest.has_enough());
        harvest.state.lock().chunks.get_mut(&TaskId(1)).unwrap().sits_out = true;
        assert!(!harvest.has_enough());
    }

    #[test]
    fn arguments_are_enough_when_each_worker_has_some() {
        let harvest = Harvest::new(0, Budget::new(BYTES, 2));
        let add = |task| harvest.add(TaskId(task), (task, 1), Bytes::from(vec![0; 399]).into());
        drop(add(1));
        assert!(!harvest.has_enough(), "one worker has none");
        let cell = add(2);
        assert!(harvest.has_enough());
        cell.resolve(Err(cell.error(crate::error::Cause::Cancelled)));
        drop(cell);
        assert!(!harvest.has_enough());
    }
}
