//! What a task can know about itself.

use std::any::{Any, type_name};
use std::cell::Cell;

use crate::id::{TaskId, WorkerId};

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

/// The worker's state. It is needed as long as the process lives, so it is never freed.
type State = &'static dyn Any;

/// The task that is running on this thread.
///
/// Copied out of [`current`]; it does not change when the next task begins.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    task: TaskId,
    worker: WorkerId,
    attempt: u32,
}

impl Current {
    pub(super) fn new(task: TaskId, worker: WorkerId, attempt: u32) -> Self {
        Self { task, worker, attempt }
    }

    /// The task's id, the same as [`TaskHandle::id`](crate::TaskHandle::id) in the parent.
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// The id of the worker that runs the task.
    pub fn worker_id(&self) -> WorkerId {
        self.worker
    }

    /// Counts from one; more only for tasks that asked for retries.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What the [initializer](crate::Builder::initializer) of this worker returned.
    ///
    /// ```
    /// struct Model(Vec<f64>);
    ///
    /// fn load(path: String) -> std::io::Result<Model> {
    ///     # drop(path);
    ///     Ok(Model(vec![1.0, 2.0]))
    /// }
    ///
    /// fn score(x: f64) -> f64 {
    ///     let model: &Model = procpool::current().state().expect("the pool has an initializer");
    ///     model.0.iter().map(|weight| weight * x).sum()
    /// }
    ///
    /// procpool::register!(load, score);
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// If the pool has no initializer, if it returned something of another type, or if this is not
    /// the thread that runs the task.
    pub fn state<T: 'static>(&self) -> Result<&'static T, StateError> {
        let state = STATE.get().ok_or(StateError::NoInitializer)?;
        state.downcast_ref().ok_or(StateError::OtherType { wanted: type_name::<T>() })
    }
}

/// Why there is no such state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The pool was built without [`Builder::initializer`](crate::Builder::initializer).
    #[error("this worker has no state: the pool was built without an initializer")]
    NoInitializer,
    /// The initializer returned something else. A `Result` is unwrapped before it becomes the
    /// state, and a future is awaited.
    #[error("the initializer of this pool did not return a `{wanted}`")]
    OtherType {
        /// The type that was asked for.
        wanted: &'static str,
    },
}

/// The task that is running on this thread.
///
/// # Panics
///
/// Outside of a task, and on threads that a task has started; see [`try_current`].
#[track_caller]
pub fn current() -> Current {
    try_current().expect("procpool::current() was called outside of a task")
}

/// As [`current`], but `None` outside of a task.
pub fn try_current() -> Option<Current> {
    CURRENT.get()
}

pub(super) fn set_current(current: Option<Current>) {
    CURRENT.set(current);
}

pub(super) fn set_state(state: Box<dyn Any>) {
    STATE.set(Some(Box::leak(state)));
}
