//! Tasks that may be begun again, which is decided by code of their users.
//!
//! ```text
//! supervisor: keeps the outcome ─▶ (view unlocked) asks ─────▶ Command::Decided ─▶ delivers it,
//!                                        │                            ▲         or forgets it
//!                                        └─ a thread, if it is large ─┘
//! ```

use std::sync::Arc;

use super::Supervisor;
use super::actions::release;
use crate::base::sync::start_thread;
use crate::base::{TaskId, log};
use crate::memory::Payload;
use crate::pool::commons::{Command, Commons};
use crate::pool::task::cell::{Resolution, TaskCell};
use crate::pool::watch::observer::Observer;
use crate::scheduler::Failure;
use crate::wire::message::Outcome;

/// In bytes. It takes longer to decode larger results than the runtime should be kept.
const LARGE: usize = 64 << 10;

impl Supervisor {
    /// A task has a result, which may not be the last one.
    pub(super) fn keep_result(
        &mut self,
        observer: &mut Observer,
        task: TaskId,
        run_time: u64,
        (outcome, payload): (Outcome, Payload),
    ) {
        let Some(entry) = self.ledger.get(task) else { return };
        observer.attempt_returned(entry.cell(), run_time);
        let resolution = entry.delivered(outcome, payload, self.max_payload);
        self.keep_undecided(task, resolution);
    }

    /// An attempt has failed, perhaps not the last one.
    pub(super) fn keep_failure(&mut self, task: TaskId, failure: Failure) {
        if let Some(entry) = self.ledger.get(task) {
            let error = entry.failed(self.cause(failure));
            self.keep_undecided(task, Err(error));
        }
    }

    fn keep_undecided(&mut self, task: TaskId, resolution: Resolution) {
        if let Some(entry) = self.ledger.get(task) {
            release(&mut self.workers, entry); // its worker is done with it
        }
        self.undecided.insert(task, resolution);
        self.questions.push(task);
    }

    /// There is no further attempt.
    pub(super) fn deliver_kept(&mut self, observer: &mut Observer, task: TaskId) {
        if let (Some(entry), Some(resolution)) = (self.take(task), self.undecided.remove(task)) {
            self.finish(observer, entry, resolution, None);
        }
    }

    /// Asks whether tasks are to be begun again. Nothing may be locked but the helm.
    pub(super) fn ask_users(&mut self) {
        for task in std::mem::take(&mut self.questions) {
            let (Some(entry), Some(resolution)) = (self.ledger.get(task), self.undecided.get(task))
            else {
                continue;
            };
            let question = RetryQuestion {
                commons: Arc::clone(&self.commons),
                cell: Arc::clone(entry.cell()),
                resolution: resolution.clone(),
                wants_retry: false,
            };
            if resolution.as_ref().is_ok_and(|payload| payload.len() > LARGE) {
                // Not one of tokio's blocking threads: all of them may wait for such tasks.
                let started = start_thread("procpool-retry", None, move || question.ask());
                if started.is_err() {
                    log::error!("{}: no thread for the `retry_if` of {task}", self.commons.name);
                }
            } else {
                question.ask();
            }
        }
    }
}

/// Is answered when it is dropped, whatever has become of it; if it was not asked there is no
/// further attempt.
struct RetryQuestion {
    commons: Arc<Commons>,
    cell: Arc<TaskCell>,
    resolution: Resolution,
    wants_retry: bool,
}

impl RetryQuestion {
    fn ask(mut self) {
        self.wants_retry = self.cell.wants_retry(&self.resolution);
    }
}

impl Drop for RetryQuestion {
    fn drop(&mut self) {
        let (task, wants_retry) = (self.cell.id(), self.wants_retry);
        self.commons.send(Command::Decided { task, wants_retry }); // or the pool is gone
    }
}
