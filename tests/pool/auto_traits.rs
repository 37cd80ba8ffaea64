//! Which public types can be sent, shared, moved when polled, and printed. A change of a private
//! field must not change it by accident.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

use std::fmt::Debug;
use std::rc::Rc;

use futures::stream::Iter;
use procpool::{
    AsCompleted, AsCompletedWithin, AuthKey, BrokenKind, BrokenProcessPool, BuildError,
    BuildErrorKind, Builder, Completed, ContextError, Current, CurrentProcess, Deadline,
    DurationHistogram, EmitError, EmittedError, EmittedStream, Events, ExitResult, ExitTypeError,
    HostState, HostStats, LeaveReason, Map, OnWorkerDeath, OutputLine, ParentProcess, PoolEvent,
    PoolStats, Process, ProcessBuilder, ProcessError, ProcessErrorKind, ProcessHandle,
    ProcessPoolExecutor, ProcessStdio, Progress, ProgressStream, ResizeError, ReturnWhen, RunError,
    Sentinel, Shutdown, ShutdownReport, Started, StateError, SubmitError, SubmitErrorKind,
    TaskBuilder, TaskError, TaskErrorKind, TaskHandle, TaskId, TaskOutcome, TaskOutcomes,
    TaskPanic, TaskSet, TaskStatus, Unfinished, UnknownWord, WorkerCommand, WorkerDeath, WorkerId,
    WorkerInfo, WorkerOutput, WorkerState,
};

fn square(x: u64) -> u64 {
    x * x
}

procpool::register!(square);

/// Nobody decodes it but who awaits it, so it need not be `Send`.
type Local = Rc<u64>;

fn value<T: Send + Sync + Unpin + Debug + 'static>() {}
fn polled<T: Send + Sync + Unpin + Debug>() {}
fn error<T: std::error::Error + Clone + Send + Sync + Unpin + 'static>() {}
fn future<T: Future + Send>(_: &T) {}

#[test]
fn handles_and_their_settings() {
    value::<ProcessPoolExecutor>();
    value::<Builder>();
    value::<WorkerCommand>();
    value::<WorkerOutput>();
    value::<OutputLine<'static>>();
    value::<OnWorkerDeath>();
    value::<Shutdown>();
    value::<Deadline>();
    value::<ReturnWhen>();
    value::<Current>();
    value::<Process>();
    value::<ProcessBuilder<u64, Local>>();
    value::<ProcessStdio>();
    value::<AuthKey>();
    value::<CurrentProcess>();
    value::<ParentProcess>();
}

#[test]
fn what_is_polled_may_be_shared_and_moved_whatever_the_result_is() {
    polled::<TaskHandle<Local>>();
    polled::<Started>();
    polled::<AsCompleted<Local>>();
    polled::<AsCompletedWithin<Local>>();
    polled::<TaskSet<Local>>();
    polled::<ProgressStream>();
    polled::<EmittedStream<Local>>();
    polled::<Events>();
    polled::<ProcessHandle<Local>>();
    polled::<Sentinel>();
}

#[test]
fn what_is_told_of_pools_and_tasks() {
    value::<TaskId>();
    value::<WorkerId>();
    value::<TaskStatus>();
    value::<Completed<u64>>();
    value::<Progress>();
    value::<ExitResult<u64>>();
    value::<ShutdownReport>();
    value::<PoolStats>();
    value::<DurationHistogram>();
    value::<TaskOutcome>();
    value::<TaskOutcomes>();
    value::<HostStats>();
    value::<HostState>();
    value::<WorkerInfo>();
    value::<WorkerState>();
    value::<PoolEvent>();
    value::<LeaveReason>();
    value::<TaskErrorKind>();
    value::<SubmitErrorKind>();
    value::<BuildErrorKind>();
    value::<ProcessErrorKind>();
    value::<BrokenKind>();
    value::<TaskPanic>();
    value::<WorkerDeath>();
}

#[test]
fn errors() {
    error::<BuildError>();
    error::<ResizeError>();
    error::<UnknownWord>();
    error::<SubmitError>();
    error::<TaskError>();
    error::<RunError>();
    error::<TaskPanic>();
    error::<WorkerDeath>();
    error::<BrokenProcessPool>();
    error::<StateError>();
    error::<ContextError>();
    error::<EmitError>();
    error::<EmittedError>();
    error::<ExitTypeError>();
    error::<Unfinished>();
    error::<ProcessError>();
}

/// As sendable as its inputs.
fn map<R, I>(_: &Map<R, Iter<std::ops::Range<u64>>, I>)
where
    Map<R, Iter<std::ops::Range<u64>>, I>: Send + Sync + Unpin + Debug + 'static,
{
}

fn task<A, R>(_: &TaskBuilder<'_, A, R>)
where
    for<'a> TaskBuilder<'a, A, R>: Send + Sync + Unpin + Debug,
{
}

#[tokio::test]
async fn what_a_pool_returns() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    map(&pool.map(square, 0..3));
    map(&pool.map(square, 0..3).unordered().with_index());
    task(&pool.task(square, 1));
    future(&pool.run(square, 1));
    future(&pool.submit(square, 1));
    future(&pool.task(square, 1).run());
    future(&pool.task(square, 1).submit());
    future(&pool.ready());
    future(&procpool::wait(Vec::<TaskHandle<Local>>::new(), ReturnWhen::AllCompleted, None));
    future(&pool.recycle());
    future(&pool.shutdown());
    future(&pool.shutdown_with(Shutdown::new().wait(false)));
    future(&pool.terminate_workers());
    future(&pool.kill_workers());
}

#[tokio::test]
async fn what_a_process_returns() {
    let process = Process::new(square, 1);
    future(&process.start());
    future(&process.join());
    future(&process.join_within(std::time::Duration::ZERO));
    future(&Process::spawn(square, 1));
}
