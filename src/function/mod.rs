//! Which functions there are, and one call of them.

pub(crate) mod arguments;
pub(crate) mod callable;
pub(crate) mod check;
pub(crate) mod probe;
pub(crate) mod registry;
pub(crate) mod runtime;
pub(crate) mod testing;
