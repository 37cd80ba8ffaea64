//! Which functions there are, and one call of them.

pub(crate) mod arguments;
pub(crate) mod callable;
pub(crate) mod check;
pub(crate) mod probe;
pub(crate) mod registry;
pub(crate) mod runtime;
pub(crate) mod testing;

pub(crate) use self::arguments::Arguments;
pub use self::callable::{Callable, TaskFn, marker};
pub use self::check::{check, search};
pub use self::probe::{Probe, probes};
pub(crate) use self::registry::{CallError, InitError, Registry, TaskCall};
pub use self::registry::{Function, Registration, TestWorker, ValueForms, value_forms};
pub(crate) use self::runtime::was_used;
