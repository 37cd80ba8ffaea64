//! What a task has beside its arguments, as its worker is told before the task itself.

use std::any::type_name;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::base::sync::Mutex;
use crate::codec::decode;
use crate::wire::message::ExtrasHeader;

/// Those of a task that has not begun.
#[derive(Debug)]
pub(super) struct ReceivedExtras {
    pub(super) header: ExtrasHeader,
    pub(super) payload: Vec<u8>,
}

/// The context of the task that runs, for all of its threads.
#[derive(Debug, Default)]
pub(super) struct RunningContext(Mutex<Option<Arc<RunContext>>>);

#[derive(Debug)]
struct RunContext {
    run: u64,
    type_name: String,
    bytes: Vec<u8>,
}

impl RunningContext {
    /// Takes that of a run that begins; whether it has one.
    pub(super) fn begin(&self, run: u64, extras: ReceivedExtras) -> bool {
        let ReceivedExtras { header, payload } = extras;
        let Some(type_name) = header.context else { return false };
        *self.0.lock() = Some(Arc::new(RunContext { run, type_name, bytes: payload }));
        true
    }

    /// The run is over that has it.
    pub(super) fn end(&self) {
        *self.0.lock() = None;
    }

    pub(super) fn read<T: DeserializeOwned>(&self, run: u64) -> Result<T, ContextError> {
        let context = self.0.lock().clone().filter(|context| context.run == run);
        let RunContext { type_name: sent, bytes, .. } = &*context.ok_or(ContextError::TaskOver)?;
        let wanted = type_name::<T>();
        if sent != wanted {
            return Err(ContextError::OtherType { sent: sent.clone(), wanted });
        }
        decode(bytes)
            .map_err(|error| ContextError::Undecodable { wanted, reason: error.to_string() })
    }
}

/// Why the [context](crate::Current::context) of a task cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// It is of another type than the one that was asked for.
    #[error("the context of this task is a `{sent}`, and not a `{wanted}`")]
    OtherType {
        /// The type of what was sent.
        sent: String,
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// Its bytes are no such value.
    #[error("the context of this task cannot be decoded as a `{wanted}`: {reason}")]
    Undecodable {
        /// The type that was asked for.
        wanted: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// The task is over, and this thread was left behind by it.
    #[error("the task is over that had this context")]
    TaskOver,
}
