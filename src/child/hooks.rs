//! Hooks around a fork.

use std::ops::Range;

use bytes::Bytes;

use super::call::cut_failure;
use super::original::alone;
use super::prepare::{build, refuse_runtime};
use crate::function::{EncodedArguments, Function};
use crate::wire::fork::MOST_TEXT;
use crate::wire::hello::{CallHeader, ServerHello};
use crate::wire::message::{HookFailure, HookStage};

/// Those that a server runs, for each worker anew.
pub(super) struct ServerHooks {
    before: Vec<Hook>,
    after: Vec<Hook>,
}

struct Hook {
    function: u32,
    /// Its parameters may keep parts of them.
    arguments: Bytes,
}

impl ServerHooks {
    /// Takes what is theirs of what is left of the arguments.
    pub(super) fn new(hello: &ServerHello, arguments: &[u8], mut left: Range<usize>) -> Self {
        let mut take = |calls: &[CallHeader]| {
            let hook = |call: &CallHeader| {
                let own = &arguments[call.take_arguments(&mut left)];
                Hook { function: call.function, arguments: Bytes::copy_from_slice(own) }
            };
            calls.iter().map(hook).collect()
        };
        Self { before: take(&hello.before_fork), after: take(&hello.after_fork_in_parent) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// What was asked for last comes first, as what it needs was asked for before it.
    pub(super) fn run_before(&self, functions: &[&'static Function]) -> Result<(), HookFailure> {
        let hooks = self.before.iter().enumerate().rev();
        run_all(functions, HookStage::Before, hooks)
    }

    pub(super) fn run_after(&self, functions: &[&'static Function]) -> Result<(), HookFailure> {
        let hooks = self.after.iter().enumerate();
        run_all(functions, HookStage::AfterInParent, hooks)
    }
}

fn run_all<'a>(
    functions: &[&'static Function],
    stage: HookStage,
    hooks: impl Iterator<Item = (usize, &'a Hook)>,
) -> Result<(), HookFailure> {
    for (number, hook) in hooks {
        let args = EncodedArguments::Shared(hook.arguments.clone());
        let result = alone(|| build(functions, hook.function, args));
        let result = result.and_then(|_| refuse_runtime());
        result
            .map_err(|failure| HookFailure::new(stage, number, cut_failure(failure, MOST_TEXT)))?;
    }
    Ok(())
}
