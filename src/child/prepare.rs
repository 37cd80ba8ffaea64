//! What is built before the first task: the preload and the initializer.

use std::any::Any;

use super::context::{set_preloaded, set_state};
use super::panic::catch;
use crate::function::{EncodedArguments, Function, InitError, was_used};
use crate::wire::message::InitFailure;

/// Runs the preload and keeps what it returns: in a fork server for all workers to come, and
/// otherwise in the worker itself.
pub(super) fn preload(
    functions: &[&'static Function],
    position: u32,
    args: EncodedArguments<'_>,
) -> Result<(), InitFailure> {
    let value = build(functions, position, args)?;
    // Refused wherever it runs, so that no program depends on one of the start methods.
    if was_used() {
        let text = "it is `async`, and no runtime can be forked; what needs one is to be built in the \
                    initializer, which runs in each worker";
        return Err(InitFailure::Failed(text.to_owned()));
    }
    set_preloaded(value);
    Ok(())
}

/// Runs the initializer and keeps what it returns.
pub(super) fn initialise(
    functions: &[&'static Function],
    position: u32,
    args: EncodedArguments<'_>,
) -> Result<(), InitFailure> {
    set_state(build(functions, position, args)?);
    Ok(())
}

fn build(
    functions: &[&'static Function],
    position: u32,
    args: EncodedArguments<'_>,
) -> Result<Box<dyn Any>, InitFailure> {
    let Some(function) = functions.get(position as usize) else {
        return Err(InitFailure::Failed("it is not known here".to_owned()));
    };
    match catch(|| (function.initializer())(args)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(InitError(message))) => Err(InitFailure::Failed(message)),
        Err(report) => Err(InitFailure::Panicked(report)),
    }
}
