//! What holds for the texts of all errors.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::build::{BuildError, BuildFailure, ResizeError};
use super::kind::{BrokenKind, BuildErrorKind, SubmitErrorKind, TaskErrorKind, TaskOutcome};
use super::text::assert_told_once;
use super::*;
use crate::base::{ResourceLimits, TaskId, WorkerId};
use crate::codec::CodecError;
use crate::sys::process::Exit;
use crate::wire::message::{HookFailure, HookStage, InitFailure, Outcome, PanicReport};

/// What somebody has printed.
const PRINTED: &str = "a first line\nthe token of alice\n";

fn death(process: PoolProcess) -> WorkerDeath {
    WorkerDeath::new(DeathReport {
        process,
        worker: WorkerId(1),
        exit: Exit { code: None, signal: Some(9) },
        stderr_tail: PRINTED.to_owned(),
        task_output: None,
        limits: ResourceLimits::new(),
        task_limits: None,
        host: None,
        remark: None,
    })
}

fn loss() -> HostLoss {
    HostLoss::new("node\n1".into(), "two\nlines".into(), WorkerId(1), 7)
}

fn panic_report() -> PanicReport {
    PanicReport {
        message: "it\nwas\r\nbad".to_owned(),
        location: Some("src/main.rs:3:7".to_owned()),
        backtrace: "0: main\n1: start".to_owned(),
    }
}

fn codec_error() -> CodecError {
    serde::de::Error::custom("two\nlines")
}

fn start_errors() -> Vec<StartError> {
    let place = PoolProcess::Worker(7);
    let limit = Duration::from_secs(1);
    let failures = [
        InitFailure::Panicked(panic_report()),
        InitFailure::Failed("two\nlines".to_owned()),
        InitFailure::CannotFork("two\nlines".to_owned()),
        InitFailure::NoSandbox("two\nlines".to_owned()),
    ];
    let refusals = failures.into_iter().flat_map(|failure| {
        let hook = HookFailure::new(HookStage::After, 0, failure.clone());
        [Refusal::Initializer(failure.clone()), Refusal::Preload(failure), Refusal::Hook(hook)]
    });
    let others = [
        Refusal::NotInitialized,
        Refusal::NoWorker,
        Refusal::Version { ours: 1, theirs: 2 },
        Refusal::Functions(vec!["a".to_owned(), "b".to_owned()]),
    ];
    let refused = refusals.chain(others).map(|refusal| StartError::refused(place, "f", refusal));
    let hint = || "; do this".to_owned();
    let error = Arc::new(io::Error::from_raw_os_error(2));
    let refused: Vec<_> = refused.collect();
    let on_host = refused.clone().into_iter().map(|error| error.on_host(&"node\n1".into()));
    let on_host: Vec<_> = on_host.collect();
    let refused = refused.into_iter().chain(on_host);
    refused
        .chain([
            StartError::Spawn { program: "a\nb".to_owned(), error, hint: hint() },
            StartError::Died { death: death(place), hint: hint() },
            StartError::ServerLost(death(PoolProcess::ForkServer(7))),
            StartError::Timeout { place, limit, hint: hint() },
            StartError::Unreachable { host: "a\nb".into(), reason: "two\nlines".into() },
            StartError::HostLost(loss()),
            StartError::initializer_timed_out("f", place, limit),
            StartError::preload_timed_out("f", place, limit),
        ])
        .collect()
}

/// With a source of its own, which its text leaves out.
#[derive(Debug, thiserror::Error)]
#[error("the user's\nreason")]
struct Reason(#[source] io::Error);

fn broken() -> Vec<BrokenProcessPool> {
    let reason = Reason(io::Error::from_raw_os_error(5));
    let causes = start_errors().into_iter().map(BrokenCause::Start).chain([
        BrokenCause::WorkerDied(death(PoolProcess::Worker(7))),
        BrokenCause::HostLost(loss()),
        BrokenCause::aborted(reason.into()),
    ]);
    causes.map(BrokenProcessPool).collect()
}

fn causes() -> Vec<Cause> {
    let report = postcard::to_stdvec(&panic_report()).unwrap();
    let told = [
        Outcome::Panicked,
        Outcome::UndecodableArguments,
        Outcome::UnencodableResult,
        Outcome::ResultTooLarge,
        Outcome::UnsupportedLimit,
    ];
    let told = told.map(|outcome| Cause::told(outcome, &report, 100).unwrap());
    let others = [
        Cause::encoding("f", codec_error()),
        Cause::decoding("f", codec_error()),
        Cause::Unregistered("a::f"),
        Cause::QueueFull { capacity: 1 },
        Cause::QueueFullOfBytes { limit: 64 },
        Cause::ShutDown,
        Cause::RuntimeGone,
        Cause::WorkerDied(death(PoolProcess::Worker(7))),
        Cause::HostLost(loss()),
        Cause::Cancelled,
        Cause::Replaced,
        Cause::TimedOut(Duration::from_secs(1)),
        Cause::Expired,
        Cause::MapExpired(Duration::from_secs(1)),
        Cause::NotBegun(Duration::from_secs(1)),
    ];
    told.into_iter().chain(others).chain(broken().into_iter().map(Cause::Broken)).collect()
}

fn reports() -> impl Iterator<Item = ErrorReport> {
    causes().into_iter().flat_map(|cause| {
        let subjects = [
            Subject::Submission("a::f"),
            Subject::Task(TaskId(1), "a::f"),
            Subject::Readiness,
            Subject::ExitHook("a::f"),
        ];
        subjects.map(move |subject| ErrorReport {
            subject,
            label: Some("a\nlabel".into()),
            worker: Some(WorkerId(1)),
            attempt: 2,
            cause: cause.clone(),
        })
    })
}

fn build_failures() -> Vec<BuildFailure> {
    vec![
        BuildFailure::NoRuntime,
        BuildFailure::NoWorkers,
        BuildFailure::TooManyWorkers { most: 1 },
        BuildFailure::MinOverMax { min: 2, max: 1 },
        BuildFailure::NoTasks,
        BuildFailure::NoAge,
        BuildFailure::NoQueueBytes,
        BuildFailure::NotInitialized,
        BuildFailure::OfForkServer("preload"),
        BuildFailure::AmbiguousFunction("a::f".to_owned()),
        BuildFailure::Unregistered("a::f"),
        BuildFailure::Arguments { function: "a::f", error: codec_error() },
    ]
}

#[test]
fn every_text_is_one_line_and_repeated_by_no_source() {
    let mut all: Vec<Box<dyn Error>> = Vec::new();
    all.extend(reports().map(|report| SubmitError::new(report).into()));
    all.extend(reports().map(|report| TaskError::new(report).into()));
    all.extend(reports().map(|report| RunError::from(TaskError::new(report)).into()));
    all.extend(broken().into_iter().map(Box::from));
    all.extend(start_errors().into_iter().map(Box::from));
    all.extend(build_failures().into_iter().map(|kind| BuildError::from(kind).into()));
    all.extend(build_failures().into_iter().map(|kind| ResizeError(kind).into()));
    all.push(death(PoolProcess::Worker(7)).into());
    all.push(loss().into());
    all.push(TaskPanic::told(&postcard::to_stdvec(&panic_report()).unwrap()).into());
    for error in &all {
        assert_told_once(&**error);
    }
}

#[test]
fn what_a_user_has_behind_a_reason_is_the_source() {
    let error =
        BrokenProcessPool(BrokenCause::aborted(Reason(io::Error::from_raw_os_error(5)).into()));
    assert_eq!(error.to_string(), "the process pool is broken: the user's\\nreason");
    assert!(error.source().unwrap().is::<io::Error>());
    let task = TaskError::new(ErrorReport {
        subject: Subject::Readiness,
        label: None,
        worker: None,
        attempt: 1,
        cause: Cause::Broken(error),
    });
    assert!(task.source().unwrap().is::<io::Error>());
}

#[test]
fn only_what_could_not_start_is_quoted() {
    for report in reports() {
        let text = TaskError::new(report.clone()).to_string();
        let could_not_start = matches!(
            report.cause,
            Cause::Broken(BrokenProcessPool(BrokenCause::Start(StartError::Died { .. })))
        );
        assert_eq!(text.contains("alice"), could_not_start, "{text}");
        assert!(!could_not_start || text.ends_with("a first line\\nthe token of alice"), "{text}");
    }
}

#[test]
fn the_lines_of_a_panic_are_kept_apart() {
    let report = postcard::to_stdvec(&panic_report()).unwrap();
    let panic = TaskPanic::told(&report);
    assert_eq!(panic.message(), "it\nwas\r\nbad");
    assert_eq!(panic.to_string(), "panicked: it\\nwas\\r\\nbad (at src/main.rs:3:7)");
    let error = BuildError::from(BuildFailure::NoTasks);
    let text = "failed to build the process pool: max_tasks_per_child must be at least 1";
    assert_eq!(format!("{error:?}"), format!("BuildError(\"{text}\")"));
}

#[test]
fn kinds_are_what_predicates_say() {
    let mut seen = HashSet::new();
    for cause in causes() {
        let report = ErrorReport {
            subject: Subject::Task(TaskId(1), "a::f"),
            label: None,
            worker: None,
            attempt: 1,
            cause,
        };
        let task = TaskError::new(report);
        let run = RunError::from(task.clone());
        assert_eq!(run.kind(), task.kind());
        let said = [
            (run.is_panic(), TaskErrorKind::Panic),
            (run.is_worker_death(), TaskErrorKind::WorkerDeath),
            (run.is_host_lost(), TaskErrorKind::HostLost),
            (run.is_timeout(), TaskErrorKind::Timeout),
            (run.is_deadline(), TaskErrorKind::Deadline),
            (run.is_not_begun(), TaskErrorKind::NotBegun),
            (run.is_cancelled(), TaskErrorKind::Cancelled),
            (run.is_codec(), TaskErrorKind::Codec),
            (run.is_too_large(), TaskErrorKind::TooLarge),
            (run.is_unsupported_limit(), TaskErrorKind::UnsupportedLimit),
            (run.is_queue_full(), TaskErrorKind::QueueFull),
            (run.is_shut_down(), TaskErrorKind::ShutDown),
            (run.is_runtime_gone(), TaskErrorKind::RuntimeGone),
            (run.is_broken(), TaskErrorKind::Broken),
            (run.is_unregistered(), TaskErrorKind::Unregistered),
        ];
        let said: Vec<_> = said.iter().filter(|(said, _)| *said).map(|(_, kind)| *kind).collect();
        assert_eq!(said, [run.kind()], "{run}");
        assert!(run.host_loss().is_some() || !run.is_host_lost());
        seen.insert(run.kind());
    }
    assert_eq!(seen.len(), TaskErrorKind::ALL.len());
}

#[test]
fn a_lost_host_is_named_once_with_what_is_known() {
    let report = ErrorReport {
        subject: Subject::Task(TaskId(3), "a::f"),
        label: None,
        worker: Some(WorkerId(1)),
        attempt: 2,
        cause: Cause::HostLost(loss()),
    };
    let error = TaskError::new(report);
    assert_eq!(
        error.to_string(),
        "task 3 (`a::f`) failed at attempt 2: worker 1 (pid 7) was lost with its host \"node\\n1\": \
         two\\nlines"
    );
    let loss = error.host_loss().unwrap();
    assert_eq!((loss.host(), loss.reason()), ("node\n1", "two\nlines"));
    assert_eq!((loss.worker_id(), loss.pid()), (WorkerId(1), 7));
    assert!(error.may_be_retried() && error.worker_death().is_none());
}

#[test]
fn an_error_has_the_outcome_that_events_tell() {
    let outcomes: HashSet<_> = reports().map(|report| TaskError::new(report).outcome()).collect();
    assert!(!outcomes.contains(&TaskOutcome::Returned));
    assert_eq!(outcomes.len(), TaskOutcome::ALL.len() - 1);
}

#[test]
fn what_was_not_accepted_has_the_kind_that_it_has_as_an_error_of_a_task() {
    let mut seen = HashSet::new();
    for report in reports() {
        let error = SubmitError::new(report);
        let kind = RunError::from(error.clone()).kind();
        if SubmitErrorKind::ALL.iter().any(|of| TaskErrorKind::from(*of) == kind) {
            assert_eq!(TaskErrorKind::from(error.kind()), kind);
            seen.insert(error.kind());
        }
    }
    assert_eq!(seen.len(), SubmitErrorKind::ALL.len());
}

#[test]
fn every_kind_of_a_pool_that_is_broken_or_not_built_is_met() {
    let kinds: HashSet<_> = broken().iter().map(BrokenProcessPool::kind).collect();
    assert_eq!(kinds.len(), BrokenKind::ALL.len());
    for error in broken() {
        let said = [
            (error.is_initializer_failure(), BrokenKind::Initializer),
            (error.is_preload_failure(), BrokenKind::Preload),
            (error.is_fork_hook_failure(), BrokenKind::ForkHook),
            (error.abort_reason().is_some(), BrokenKind::Aborted),
        ];
        for (said, kind) in said {
            assert_eq!(said, error.kind() == kind, "{error}");
        }
    }
    let errors: Vec<_> = build_failures().into_iter().map(BuildError::from).collect();
    let kinds: HashSet<_> = errors.iter().map(BuildError::kind).collect();
    assert_eq!(kinds.len(), BuildErrorKind::ALL.len());
    for error in errors {
        let named = error.is_invalid_setting() || error.is_of_fork_server();
        assert_eq!(error.setting().is_some(), named, "{error}");
        let said = [
            (error.is_no_runtime(), BuildErrorKind::NoRuntime),
            (error.is_invalid_setting(), BuildErrorKind::InvalidSetting),
            (error.is_of_fork_server(), BuildErrorKind::OfForkServer),
            (error.is_not_initialized(), BuildErrorKind::NotInitialized),
            (error.is_unregistered(), BuildErrorKind::Unregistered),
            (error.is_ambiguous_function(), BuildErrorKind::AmbiguousFunction),
            (error.is_codec(), BuildErrorKind::Codec),
        ];
        let said: Vec<_> = said.iter().filter(|(said, _)| *said).map(|(_, kind)| *kind).collect();
        assert_eq!(said, [error.kind()], "{error}");
    }
}
