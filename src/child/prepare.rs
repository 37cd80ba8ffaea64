//! What is called before the first task: the preload, the hooks after a fork, and the initializer.

use std::any::Any;
use std::io;

use super::call::cut_failure;
use super::context::{set_preloaded, set_state};
use super::panic::catch;
use super::stream::Incoming;
use crate::function::{EncodedArguments, Function, InitError, was_used};
use crate::wire::frame::put_frame;
use crate::wire::hello::Hello;
use crate::wire::message::{HookFailure, HookStage, InitFailure, Kind};

/// What has failed of what a worker calls before its first task.
pub(super) enum Unprepared {
    Preload(InitFailure),
    Hook(HookFailure),
    Initializer(InitFailure),
}

impl Unprepared {
    /// Says it in no more than so many bytes.
    pub(super) fn put(self, out: &mut Vec<u8>, limit: usize) -> io::Result<()> {
        let cut = |failure| cut_failure(failure, limit);
        match self {
            Self::Preload(failure) => put_frame(out, Kind::PreloadFailed, &cut(failure), 0),
            Self::Hook(HookFailure { stage, number, failure }) => {
                let failure = HookFailure { stage, number, failure: cut(failure) };
                put_frame(out, Kind::HookFailed, &failure, 0)
            }
            Self::Initializer(failure) => put_frame(out, Kind::InitFailed, &cut(failure), 0),
        }
    }
}

/// Runs in a worker what comes before its first task. The payload has the arguments.
pub(super) fn prepare(
    hello: &Hello,
    functions: &[&'static Function],
    incoming: &mut Incoming<'_>,
    payload: usize,
) -> Result<(), Unprepared> {
    let mut left = 0..payload;
    if let Some(call) = hello.preload {
        let args = incoming.payload_part(payload, call.take_arguments(&mut left));
        preload(functions, call.function, args).map_err(Unprepared::Preload)?;
    }
    for (number, call) in hello.after_fork.iter().enumerate() {
        let args = incoming.payload_part(payload, call.take_arguments(&mut left));
        build(functions, call.function, args).map_err(|failure| {
            Unprepared::Hook(HookFailure::new(HookStage::After, number, failure))
        })?;
    }
    if let Some(function) = hello.initializer {
        initialize(functions, function, incoming.payload_part(payload, left))
            .map_err(Unprepared::Initializer)?;
    }
    Ok(())
}

/// Runs the preload and keeps what it returns: in a fork server for all workers to come, and
/// otherwise in the worker itself.
pub(super) fn preload(
    functions: &[&'static Function],
    position: u32,
    args: EncodedArguments<'_>,
) -> Result<(), InitFailure> {
    let value = build(functions, position, args)?;
    // Refused wherever it runs, so that no program depends on one of the start methods.
    refuse_runtime()?;
    set_preloaded(value);
    Ok(())
}

/// Of what has run in a server, or may run in one.
pub(super) fn refuse_runtime() -> Result<(), InitFailure> {
    if !was_used() {
        return Ok(());
    }
    let text = "it is `async`, and no runtime can be forked; what needs one is to be built in the \
                initializer, which runs in each worker";
    Err(InitFailure::Failed(text.to_owned()))
}

/// Runs the initializer and keeps what it returns.
fn initialize(
    functions: &[&'static Function],
    position: u32,
    args: EncodedArguments<'_>,
) -> Result<(), InitFailure> {
    set_state(build(functions, position, args)?);
    Ok(())
}

/// Calls a function for what it returns, which need not be a serde type.
pub(super) fn build(
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
        Err(panic) => Err(InitFailure::Panicked(panic.report())),
    }
}
