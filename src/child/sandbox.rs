//! How a worker gives up what its tasks are not to have.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use super::prepare::Unprepared;
use crate::function::TestWorker;
use crate::sys::fork::count_threads;
use crate::sys::memory::give_up_segments;
use crate::sys::sandbox::enter_sandbox;
use crate::wire::hello::Hello;
use crate::wire::message::InitFailure;

/// What the thread that watches the parent says of its own sandbox, once it has entered it.
pub(super) type WatchBegun = OnceLock<Result<(), String>>;

/// Before it the thread that watches the parent makes system calls which nothing else does, and
/// which a filter may not allow.
pub(super) fn wait_for_watch(hello: &Hello, watch: Option<&WatchBegun>) -> Result<(), Unprepared> {
    let begun = watch.filter(|_| hello.calls_something()).map(WatchBegun::wait);
    begun.cloned().unwrap_or(Ok(())).map_err(without_sandbox)
}

/// Enters the sandbox, if there is to be one.
pub(super) fn enter(hello: &Hello, is_watched: bool, is_forked: bool) -> Result<(), Unprepared> {
    let Some(rules) = &hello.sandbox else { return Ok(()) };
    // What enters no sandbox: a thread that watches the parent, and sees to itself; and in a test
    // harness the one that waits for the test that has become the worker.
    let in_harness = !is_forked && TestWorker::name().is_some();
    let own = 1 + usize::from(is_watched) + usize::from(in_harness);
    give_up_segments();
    let checked = if rules.best_effort { Ok(()) } else { refuse_threads(own) };
    checked.and_then(|()| enter_sandbox(rules)).map_err(without_sandbox)
}

fn without_sandbox(reason: String) -> Unprepared {
    Unprepared::Initializer(InitFailure::NoSandbox(reason))
}

/// They would go on with all that they may do now, and code in the sandbox could reach them.
fn refuse_threads(own: usize) -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let began = Instant::now();
    loop {
        match count_threads() {
            Ok(count) if count <= own => return Ok(()),
            Ok(count) if began.elapsed() > PATIENCE => {
                let others = count - own;
                return Err(format!(
                    "{others} threads that have been started before would stay outside: start \
                     them in tasks, make `procpool::init()` the first statement of `main`, or let \
                     them stay there by `Sandbox::best_effort`"
                ));
            }
            Ok(_) => thread::sleep(Duration::from_micros(100)), // they may have been joined
            Err(error) => {
                return Err(format!("its threads cannot be counted: {error}; is `/proc` mounted?"));
            }
        }
    }
}
