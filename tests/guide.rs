//! The guide and the tables in the documentation leave nothing out.
//!
//! A binary of its own: it reads text, and needs no pool.

use std::fs::read_to_string;
use std::io;
use std::path::Path;

use procpool::ProcessPoolExecutor;

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

/// What tokio 1.54 has for closures that run elsewhere: handles, sets, what bounds them, and their
/// part of the runtime.
const TOKIO: [&str; 54] = [
    "spawn_blocking",
    "block_in_place",
    "block_on",
    "timeout",
    "JoinHandle",
    "abort",
    "abort_handle",
    "AbortHandle",
    "is_finished",
    "id",
    "JoinError",
    "is_panic",
    "into_panic",
    "try_into_panic",
    "is_cancelled",
    "JoinSet",
    "new",
    "len",
    "is_empty",
    "build_task",
    "spawn",
    "spawn_on",
    "spawn_local",
    "spawn_local_on",
    "spawn_blocking_on",
    "join_next",
    "join_next_with_id",
    "try_join_next",
    "try_join_next_with_id",
    "poll_join_next",
    "poll_join_next_with_id",
    "join_all",
    "shutdown",
    "abort_all",
    "detach_all",
    "Semaphore",
    "acquire",
    "try_acquire",
    "available_permits",
    "send",
    "try_send",
    "blocking_send",
    "capacity",
    "max_capacity",
    "closed",
    "is_closed",
    "max_blocking_threads",
    "thread_keep_alive",
    "on_thread_start",
    "on_thread_stop",
    "thread_name",
    "shutdown_timeout",
    "shutdown_background",
    "start_paused",
];

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

#[test]
fn every_name_of_tokio_has_a_row_in_a_table() {
    let missing = missing(include_str!("../docs/guide/coming_from_tokio.md"), &TOKIO);
    assert!(missing.is_empty(), "{missing:?}");
}

const BUILDER: &str = include_str!("../src/executor/builder.rs");

/// The files with methods of the builder.
const SETTINGS: [&str; 5] = [
    BUILDER,
    include_str!("../src/executor/hooks.rs"),
    include_str!("../src/executor/fork_server.rs"),
    include_str!("../src/executor/settings.rs"),
    include_str!("../src/parent/program.rs"),
];

/// What the table says a default is, and how that is seen in a builder.
const DEFAULTS: [(&str, &str, &str); 22] = [
    ("max_workers", "the CPUs that this process may use", "max_workers: None"),
    ("min_workers", "0", "min_workers: 0"),
    ("idle_timeout", "never", "idle_timeout: None"),
    ("max_tasks_per_child", "no limit", "max_tasks_per_child: None"),
    ("max_memory_per_child", "no limit", "max_memory_per_child: None"),
    ("max_age", "no limit", "max_age: None"),
    ("surge", "1", "surge: 1"),
    ("queue_capacity", "10,000", "queue_capacity: 10000"),
    ("queue_bytes", "no limit", "queue_bytes: None"),
    ("default_timeout", "none", "default_timeout: None"),
    ("max_payload", "1 GiB", "max_payload: 1073741824"),
    ("shared_memory", "256 MiB, less in a small container", "shared_memory: None"),
    ("on_worker_death", "the worker is replaced", "on_worker_death: Replace"),
    ("grace_period", "2 seconds", "grace_period: 2s"),
    ("start_timeout", "30 seconds", "start_timeout: 30s"),
    ("initializer_retries", "8", "initializer_retries: 8"),
    ("cgroup", "that of this process", "cgroup: None"),
    ("oom_score_adj", "1000", "OomScore(Some(1000))"),
    ("current_dir", "that of this process", "current_dir: None"),
    ("inner_threads", "nothing is said", "inner_threads: None"),
    ("start_method", "`Spawn`", "start_method: Spawn"),
    ("name", "`procpool`", "name: \"procpool\""),
];

/// The methods of `impl Builder` and of the macros that are written into it.
fn settings(source: &str) -> Vec<&str> {
    let mut is_inside = false;
    let mut names = Vec::new();
    for line in source.lines() {
        match line.trim_start().split_once("pub fn ") {
            _ if line.starts_with(['i', 'm']) => {
                is_inside = line.starts_with("impl Builder {") || line.starts_with("macro_rules!");
            }
            Some((_, rest)) if is_inside => names.extend(rest.split(['(', '<']).next()),
            _ => {}
        }
    }
    names
}

#[test]
fn every_setting_of_a_pool_has_a_row_in_the_table() {
    let table = BUILDER.replace("/// |", "|").replace("doc = \"|", "|");
    let rows: String = table.lines().map(|line| line.trim_start().to_owned() + "\n").collect();
    let mut settings = SETTINGS.map(settings).concat();
    settings.retain(|name| *name != "build");
    assert!(settings.len() > 35, "{settings:?}");
    let missing = missing(&rows, &settings);
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_table_tells_the_defaults_as_they_are() {
    let builder = format!("{:?}", ProcessPoolExecutor::builder());
    for (name, default, field) in DEFAULTS {
        let row = format!("/// | [`{name}`](Self::{name}) | {default} |");
        assert!(BUILDER.contains(&row), "{row}");
        assert!(builder.contains(field), "{field} in {builder}");
    }
}

/// Where the chapters can be read as they are meant: a code host shows neither where the links of
/// rustdoc lead nor which lines of an example are hidden.
const RENDERED: &str = "https://docs.rs/procpool/latest/procpool/guide/";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The places that a page leads to.
fn links(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Whether a page has a heading with this anchor.
fn has_heading(page: &str, anchor: &str) -> bool {
    let slug = |heading: &str| {
        let is_kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        heading.trim().to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
    };
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| slug(line.trim_start_matches('#'))).any(|heading| heading == anchor)
}

/// What is wrong with a link in this page, which stands at the top of the repository.
fn complaint(page: &str, link: &str) -> Option<&'static str> {
    let (place, anchor) = link.split_once('#').unwrap_or((link, ""));
    let text = match place.strip_prefix(RENDERED) {
        Some(chapter) => {
            let name = chapter.strip_suffix("/index.html").unwrap_or(chapter);
            let modules = include_str!("../src/lib.rs");
            if !modules.contains(&format!("pub mod {name} {{}}")) {
                return Some("there is no such chapter");
            }
            read_to_string(repository().join(format!("docs/guide/{name}.md")))
        }
        None if place.starts_with("https://") => return None,
        None if place.is_empty() => Ok(page.to_owned()),
        None => read_to_string(repository().join(place)).and_then(|text| {
            if text.contains("](crate::") {
                Err(io::ErrorKind::InvalidData.into())
            } else {
                Ok(text)
            }
        }),
    };
    match text {
        Ok(text) if anchor.is_empty() || has_heading(&text, anchor) => None,
        Ok(_) => Some("there is no such heading"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Some("a code host does not render it: lead to docs.rs")
        }
        Err(_) => Some("there is no such file"),
    }
}

#[test]
fn the_readme_leads_to_pages_that_render() {
    let readme = include_str!("../README.md");
    let links = links(readme);
    assert!(links.len() > 30, "{links:?}");
    let wrong: Vec<_> =
        links.iter().filter_map(|link| Some((link, complaint(readme, link)?))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");

    let planted = [
        "docs/guide/values.md",
        "docs/guide/none.md",
        "SECURITY.md#nothing",
        "#nothing",
        "docs/none.svg",
        &format!("{RENDERED}none/index.html"),
        &format!("{RENDERED}values/index.html#nothing"),
    ];
    for link in planted {
        assert!(complaint(readme, link).is_some(), "{link}");
    }
}

#[test]
fn the_readme_names_every_chapter() {
    let readme = include_str!("../README.md");
    for file in repository().join("docs/guide").read_dir().unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let link = format!("]({RENDERED}{name}/index.html)");
        assert!(name == "README" || readme.contains(&link), "{name}");
    }
}
