//! How much a running task may emit before somebody has taken of it.
//!
//! A run begins with so many values as its parent says, and gets more as they are taken. Whoever
//! has none left waits, and reads what the parent says in place of the thread that serves it:
//!
//! ```text
//!          emit               emit, none left             credit, closed, asked to end
//! (room) ───────▶ (less room) ───────────────▶ (waits) ─────────────────────────▶ looks again
//! ```
//!
//! If the run ends while one of its threads waits, that one reads a frame more, which is kept for
//! the thread that serves, and lets go.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use super::source::SharedSource;
use crate::base::TaskId;
use crate::base::sync::Mutex;
use crate::wire::emit::{Credit, EMIT_BYTES};

/// What all runs of a worker need that emit.
#[derive(Default)]
pub(super) struct Emitter {
    pub(super) ports: OnceLock<EmitPorts>,
    /// Held for moments only.
    pub(super) allowance: Mutex<EmitAllowance>,
}

/// Where credit comes from, and memory goes to.
pub(super) struct EmitPorts {
    pub(super) source: SharedSource,
    /// Set if the parent has to be sent what it shall open.
    pub(super) socket: Option<Arc<File>>,
    pub(super) max_payload: usize,
}

/// How much more a run may emit.
#[derive(Debug, Default)]
pub(super) struct EmitAllowance {
    /// The last run that has emitted something. Runs are numbered from one.
    run: u64,
    task: Option<TaskId>,
    /// How many values more.
    values: u32,
    /// How many bytes nobody has taken.
    bytes: u64,
    is_closed: bool,
    /// The name of the last value's type.
    type_name: &'static str,
}

/// Whether there is room for a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Yes {
        /// The parent does not know its type.
        names_type: bool,
    },
    No,
    /// Nobody takes it.
    Closed,
}

impl EmitAllowance {
    /// Whether this run, which has begun with so many, may emit one more.
    pub(super) fn room(
        &mut self,
        run: u64,
        (task, values): (TaskId, u32),
        type_name: &str,
    ) -> Room {
        if self.run != run {
            *self = Self { run, task: Some(task), values, ..Self::default() };
        }
        if self.is_closed {
            Room::Closed
        } else if self.values == 0 || self.bytes >= EMIT_BYTES {
            Room::No
        } else {
            Room::Yes { names_type: self.type_name != type_name }
        }
    }

    /// A value of so many bytes is on its way.
    pub(super) fn sent(&mut self, bytes: usize, type_name: &'static str) {
        self.values -= 1;
        self.bytes += bytes as u64;
        self.type_name = type_name;
    }

    /// The parent has said it, perhaps of a task that is over.
    pub(super) fn add(&mut self, credit: &Credit) {
        if self.task == Some(credit.task) {
            self.values = self.values.saturating_add(credit.values);
            self.bytes = self.bytes.saturating_sub(credit.bytes);
            self.is_closed |= credit.is_closed;
        }
    }

    /// This run emits nothing more, and nor does a later one that has begun.
    pub(super) fn close(&mut self, run: u64) {
        if self.run < run {
            *self = Self { run, ..Self::default() };
        }
        self.is_closed = true;
    }

    /// Whether who waits for it need not wait any longer.
    pub(super) fn has_changed(&self, run: u64) -> bool {
        self.run != run || self.is_closed || (self.values > 0 && self.bytes < EMIT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(7);

    fn credit(values: u32, bytes: u64) -> Credit {
        Credit { task: TASK, values, bytes, is_closed: false }
    }

    fn emit(allowance: &mut EmitAllowance, run: u64, bytes: usize) -> bool {
        let has_room = matches!(allowance.room(run, (TASK, 2), "u8"), Room::Yes { .. });
        if has_room {
            allowance.sent(bytes, "u8");
        }
        has_room
    }

    #[test]
    fn a_run_emits_as_many_values_as_it_is_given() {
        let mut allowance = EmitAllowance::default();
        assert!(
            emit(&mut allowance, 1, 1) && emit(&mut allowance, 1, 1) && !emit(&mut allowance, 1, 1)
        );
        assert!(!allowance.has_changed(1));
        allowance.add(&credit(1, 1));
        assert!(
            allowance.has_changed(1) && emit(&mut allowance, 1, 1) && !emit(&mut allowance, 1, 1)
        );
        assert!(allowance.has_changed(2) && emit(&mut allowance, 2, 1), "the next one begins anew");
    }

    #[test]
    fn many_bytes_are_enough() {
        let mut allowance = EmitAllowance::default();
        assert!(emit(&mut allowance, 1, 2 * usize::try_from(EMIT_BYTES).unwrap()));
        assert!(!emit(&mut allowance, 1, 1) && !allowance.has_changed(1));
        allowance.add(&credit(0, EMIT_BYTES));
        assert!(!emit(&mut allowance, 1, 1), "as many are left");
        allowance.add(&credit(0, EMIT_BYTES));
        assert!(emit(&mut allowance, 1, 1));
    }

    #[test]
    fn credit_of_another_task_is_not_taken() {
        let mut allowance = EmitAllowance::default();
        assert!(emit(&mut allowance, 1, 1) && emit(&mut allowance, 1, 1));
        allowance.add(&Credit { task: TaskId(8), ..credit(5, 1) });
        assert!(!emit(&mut allowance, 1, 1));
    }

    #[test]
    fn a_run_that_is_closed_stays_so() {
        let mut allowance = EmitAllowance::default();
        assert!(emit(&mut allowance, 1, 1));
        allowance.add(&Credit { is_closed: true, ..credit(0, 0) });
        assert_eq!(allowance.room(1, (TASK, 2), "u8"), Room::Closed);
        allowance.close(2);
        allowance.add(&credit(1, 0));
        assert_eq!(allowance.room(2, (TASK, 2), "u8"), Room::Closed);
        assert_eq!(allowance.room(3, (TASK, 2), "u8"), Room::Yes { names_type: true });
    }

    #[test]
    fn a_type_is_named_when_it_changes() {
        let mut allowance = EmitAllowance::default();
        let mut names = |type_name: &'static str| {
            let room = allowance.room(1, (TASK, 9), type_name);
            allowance.sent(1, type_name);
            room == Room::Yes { names_type: true }
        };
        assert_eq!(["a", "a", "b", "a"].map(&mut names), [true, false, true, true]);
    }
}
