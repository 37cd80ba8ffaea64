//! Results as values: for whoever awaits them, and for what decides whether a task is begun again.

use serde::de::DeserializeOwned;

use super::{Resolution, TaskCell};
use crate::base::log;
use crate::error::{Cause, TaskError};
use crate::pool::task::condition::Decoded;

impl TaskCell {
    /// Whether its user wants a further attempt after this outcome; not if that panics. Runs the
    /// user's code, so nothing may be locked.
    pub(crate) fn wants_retry(&self, outcome: &Resolution) -> bool {
        let state = self.state.lock();
        let condition = state.watchers.as_ref().and_then(|w| w.extras.condition.clone());
        drop(state);
        let Some(condition) = condition else { return false };
        let Some((wants_retry, decoded)) = condition.judge(outcome) else {
            log::error!("the `retry_if` of {} panicked", self.title());
            return false;
        };
        self.keep_decoded(decoded);
        wants_retry
    }

    /// Whoever has a handle may ask more than once, and decodes each time.
    fn keep_decoded(&self, decoded: Option<Decoded>) {
        let mut state = self.state.lock();
        let unwanted = if decoded.is_none() || state.is_held {
            decoded
        } else {
            std::mem::replace(&mut state.watchers().decoded, decoded)
        };
        drop(state);
        drop(unwanted); // only now that the cell is unlocked
    }

    /// Its result, if that has been decoded and was not taken.
    pub(crate) fn take_decoded<R: 'static>(&self) -> Option<R> {
        let decoded = self.state.lock().watchers.as_mut()?.decoded.take();
        decoded?.into_value()
    }

    /// What the awaiting side makes of the result's bytes.
    pub(crate) fn decode<R: DeserializeOwned>(
        &self,
        resolution: &Resolution,
    ) -> Result<R, TaskError> {
        match resolution {
            Ok(bytes) => {
                bytes.decode().map_err(|error| self.error(Cause::decoding(self.name(), error)))
            }
            Err(error) => Err(error.clone()),
        }
    }
}
