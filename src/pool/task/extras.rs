//! What few tasks have beside their arguments. It is kept where those of them have more who are
//! watched, and sent in a frame of its own before that of the task, so all others pay nothing.

use std::any::type_name;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{ResourceLimits, TaskId};
use crate::codec::choice_for;
use crate::error::Cause;
use crate::memory::Payload;
use crate::pool::task::condition::Condition;
use crate::wire::emit::EMIT_CAPACITY;
use crate::wire::message::ExtrasHeader;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    /// What the user calls it.
    pub(crate) label: Option<Arc<str>>,
    pub(crate) context: Option<Arc<TaskContext>>,
    /// How many values it may have emitted that nobody has taken.
    pub(crate) emit_capacity: Option<u32>,
    /// What it may take of the machine, beside what its worker may.
    pub(crate) limits: Option<Arc<ResourceLimits>>,
    /// Decides whether it is begun again.
    pub(crate) condition: Option<Arc<Condition>>,
    /// There will be a handle that can ask for these.
    pub(crate) is_held: bool,
}

/// A value that goes with a task.
#[derive(Debug)]
pub(crate) struct TaskContext {
    type_name: &'static str,
    bytes: Payload,
}

/// The frame that comes before that of the task.
pub(crate) type ExtrasFrame = (ExtrasHeader, Payload);

impl Extras {
    /// Whether nothing of it need be kept.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { label, context, emit_capacity, limits, condition, is_held: _ } = self;
        let is_plain = label.is_none() && context.is_none() && emit_capacity.is_none();
        is_plain && limits.is_none() && condition.is_none()
    }

    /// A later limit replaces an earlier one of the same kind; `None` takes all of them back.
    pub(crate) fn set_limits(&mut self, limits: Option<ResourceLimits>) {
        let earlier = self.limits.as_deref().copied().unwrap_or_default();
        let limits = limits.map(|limits| limits.or(earlier));
        self.limits = limits.filter(|limits| *limits != ResourceLimits::default()).map(Arc::new);
    }

    /// Why no worker can have a task with these.
    pub(crate) fn fault(&self) -> Option<Cause> {
        self.limits.as_ref()?.refusal_for_task().map(Cause::unsupported_limit)
    }

    /// What its worker is told, if anything.
    pub(crate) fn frame(&self, task: TaskId, allowance: Option<u32>) -> Option<Box<ExtrasFrame>> {
        let allowance =
            allowance.or(self.emit_capacity).filter(|allowance| *allowance != EMIT_CAPACITY);
        let limits = self.limits.as_deref().copied();
        if allowance.is_none() && self.context.is_none() && limits.is_none() {
            return None;
        }
        let context = self.context.as_ref();
        let payload = context.map(|context| context.bytes.clone()).unwrap_or_default();
        let context = context.map(|context| context.type_name.to_owned());
        Some(Box::new((ExtrasHeader { task, allowance, context, limits }, payload)))
    }
}

impl TaskContext {
    /// Encodes one that may take up to `limit` bytes.
    pub(crate) fn new<T>(value: &T, limit: usize) -> Result<Arc<Self>, Cause>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let bytes = Payload::encode(value, limit, choice_for::<T>());
        let bytes = bytes.map_err(|error| Cause::encoding_context(&error))?;
        Ok(Arc::new(Self { type_name: type_name::<T>(), bytes }))
    }
}
