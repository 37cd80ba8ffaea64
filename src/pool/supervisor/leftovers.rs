//! What a supervisor must not have any more when all tasks are over.

use super::Supervisor;
use crate::memory::page::ClaimBoard;

impl Supervisor {
    /// Says what it still keeps of tasks.
    pub(crate) fn leftovers(&self) -> Vec<&'static str> {
        let mut boards = self.workers.values().filter_map(|worker| worker.claims.as_ref());
        let kept = [
            (!self.ledger.is_empty(), "entries in the ledger"),
            (!boards.all(ClaimBoard::is_free), "words on a page of claims"),
            (!self.reported.is_empty(), "reports"),
            (!self.wakers.is_empty(), "who waits for a task"),
            (!self.resolved.is_empty(), "resolutions"),
            (!self.undecided.is_empty(), "outcomes that are undecided"),
            (!self.questions.is_empty(), "questions to users"),
            (!self.ripe.is_empty(), "ripe maps"),
            (!self.freed.is_empty(), "places for tasks"),
            (!self.unwritten.is_empty(), "unwritten frames"),
            (self.death.is_some(), "a death"),
        ];
        kept.into_iter().filter_map(|(is_kept, what)| is_kept.then_some(what)).collect()
    }
}
