//! How the items of chunks ended, for the figures of the pool. The supervisor takes the counts.

use super::{Harvest, HarvestState};
use crate::base::TaskId;
use crate::error::kind::TaskOutcome;
use crate::pool::watch::metrics::TaskOutcomes;
use crate::wire::item::split_entry;
use crate::wire::message::Outcome;

impl Harvest {
    /// The position of the function.
    pub(crate) fn function(&self) -> u32 {
        self.function
    }

    /// What became of items and was not taken before.
    pub(crate) fn take_counts(&self) -> TaskOutcomes {
        std::mem::take(&mut self.state.lock().counts)
    }

    /// As [`Self::take_counts`], when a chunk ends so: its items without a result end with it.
    pub(crate) fn take_last_counts(&self, task: TaskId, outcome: TaskOutcome) -> TaskOutcomes {
        let mut state = self.state.lock();
        state.count_rest(task, outcome);
        std::mem::take(&mut state.counts)
    }
}

impl HarvestState {
    /// Once for each chunk: the pool and who cancels it may both say that it is over.
    pub(super) fn count_rest(&mut self, task: TaskId, outcome: TaskOutcome) {
        let Some(chunk) = self.chunks.get_mut(&task) else { return };
        if std::mem::replace(&mut chunk.is_counted, true) {
            return;
        }
        // One that has returned without some results was told to begin no further item.
        let outcome =
            if outcome == TaskOutcome::Returned { TaskOutcome::Cancelled } else { outcome };
        self.counts.count_all(outcome, u64::from(chunk.count - chunk.done));
    }
}

impl TaskOutcomes {
    /// Counts so many entries behind those that are skipped. What cannot be read is an error of the
    /// codec to its reader, too.
    pub(super) fn count_entries(&mut self, entries: &[u8], skip: u32, count: u32) {
        let (mut rest, mut returned) = (entries, 0);
        let end = skip.saturating_add(count);
        for number in 0..end {
            let Ok((outcome, _, next)) = split_entry(rest) else {
                let unread = end - number.max(skip);
                self.count_all(TaskOutcome::Codec, u64::from(unread));
                break;
            };
            rest = next;
            match outcome {
                _ if number < skip => {}
                Outcome::Returned => returned += 1,
                Outcome::Panicked => self.count(TaskOutcome::Panicked),
                Outcome::UndecodableArguments | Outcome::UnencodableResult => {
                    self.count(TaskOutcome::Codec);
                }
                Outcome::ResultTooLarge => self.count(TaskOutcome::TooLarge),
                Outcome::UnsupportedLimit => self.count(TaskOutcome::UnsupportedLimit),
            }
        }
        self.returned += returned;
    }
}
