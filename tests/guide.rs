//! The guide leaves nothing out.

/// What `concurrent.futures` of Python 3.14 has to offer, with every parameter and every method.
const PYTHON: [&str; 58] = [
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

#[test]
fn every_name_of_python_has_a_row_in_a_table() {
    let chapter = include_str!("../src/guide/coming_from_python.md");
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names: Vec<&str> =
        rows.flat_map(|row| row.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let missing: Vec<_> = PYTHON.iter().filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
