//! Which functions there are, and one call of them.

mod arguments;
mod call;
mod callable;
mod check;
mod inside;
mod probe;
mod registry;
mod runtime;
mod testing;

pub(crate) use self::arguments::EncodedArguments;
pub(crate) use self::call::Call;
pub use self::callable::{Callable, Evaluate, TaskFn, marker};
pub use self::check::{check, search};
pub use self::probe::{Probe, probes};
pub(crate) use self::registry::{CallError, InitError, Registry, TaskCall};
pub use self::registry::{Function, Registration, TestWorker, ValueForms, value_forms};
pub(crate) use self::runtime::was_used;
