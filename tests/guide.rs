//! The guide leaves nothing out.
//!
//! A binary of its own: it reads text, and needs no pool.

/// What `concurrent.futures` of Python 3.14 has to offer, with every parameter and every method;
/// and `multiprocessing.Pool`.
const FUTURES: [&str; 58] = [
    "Executor",
    "submit",
    "map",
    "shutdown",
    "timeout",
    "chunksize",
    "buffersize",
    "wait",
    "cancel_futures",
    "ProcessPoolExecutor",
    "max_workers",
    "mp_context",
    "initializer",
    "initargs",
    "max_tasks_per_child",
    "terminate_workers",
    "kill_workers",
    "ThreadPoolExecutor",
    "thread_name_prefix",
    "InterpreterPoolExecutor",
    "Future",
    "cancel",
    "cancelled",
    "running",
    "done",
    "result",
    "exception",
    "add_done_callback",
    "set_running_or_notify_cancel",
    "set_result",
    "set_exception",
    "fs",
    "return_when",
    "as_completed",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "ALL_COMPLETED",
    "CancelledError",
    "TimeoutError",
    "BrokenExecutor",
    "InvalidStateError",
    "BrokenThreadPool",
    "BrokenInterpreterPool",
    "BrokenProcessPool",
    "run_in_executor",
    "wrap_future",
    "apply",
    "apply_async",
    "map_async",
    "imap",
    "imap_unordered",
    "starmap",
    "starmap_async",
    "maxtasksperchild",
    "terminate",
    "close",
    "join",
    "AsyncResult",
];

/// What `multiprocessing.Process` has to offer.
const PROCESS: [&str; 21] = [
    "Process",
    "group",
    "target",
    "name",
    "args",
    "kwargs",
    "daemon",
    "run",
    "start",
    "join",
    "timeout",
    "is_alive",
    "pid",
    "exitcode",
    "authkey",
    "sentinel",
    "interrupt",
    "terminate",
    "kill",
    "close",
    "ProcessError",
];

/// What the module `multiprocessing` has besides.
const MODULE: [&str; 36] = [
    "active_children",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_start_method",
    "parent_process",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
    "get_logger",
    "log_to_stderr",
    "BufferTooShort",
    "AuthenticationError",
    "Pipe",
    "Queue",
    "SimpleQueue",
    "JoinableQueue",
    "Connection",
    "Listener",
    "Client",
    "wait",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
    "Value",
    "Array",
    "RawValue",
    "RawArray",
    "shared_memory",
    "Manager",
];

const CHAPTER: &str = include_str!("../docs/guide/coming_from_python.md");

/// What has no row in a table of this text.
fn missing<'a>(text: &str, names: &[&'a str]) -> Vec<&'a str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let in_rows: Vec<&str> =
        rows.flat_map(|row| row.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    names.iter().copied().filter(|name| !in_rows.contains(name)).collect()
}

/// What is below a heading, down to the next one.
#[track_caller]
fn section(heading: &str) -> &'static str {
    let (_, below) = CHAPTER.split_once(&format!("\n## {heading}\n")).expect(heading);
    below.split("\n## ").next().unwrap_or(below)
}

#[test]
fn every_name_of_python_has_a_row_in_a_table() {
    let missing_ones = [
        missing(CHAPTER, &FUTURES),
        // Pools have some of these, too.
        missing(section("`multiprocessing.Process`"), &PROCESS),
        missing(section("Functions of `multiprocessing`"), &MODULE),
    ];
    assert!(missing_ones.concat().is_empty(), "{missing_ones:?}");
}
