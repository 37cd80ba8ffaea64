//! What dashboards are sent, and what settings are read from. A binary of its own: beside
//! `serde_json` other tests would have to say more types.

mod common;

use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Cgroup, Health, OnWorkerDeath, PlainOutput, PoolStats, ProcessPoolExecutor, Progress,
    ResourceLimits, Settings, StartMethod, TaskOutcome,
};
use serde::Deserialize;
use serde_json::{Value, json};

use common::{Gate, exit_now, hold, in_time, pid};

procpool::test_support!();
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

procpool::register!(exit_now, variable);

fn json_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().unwrap()
}

#[test]
fn the_figures_of_a_pool_have_these_names() {
    let mut stats = json_of(&PoolStats::default());
    let run_time = stats["run_time"].take();
    for histogram in ["wait_time", "lost_time"] {
        assert_eq!(stats[histogram].take(), run_time);
    }
    let outcomes = json!({
        "returned": 0, "panicked": 0, "codec": 0, "too_large": 0,
        "unsupported_limit": 0, "worker_died": 0, "host_lost": 0, "timed_out": 0, "expired": 0,
        "not_begun": 0, "cancelled": 0, "broken": 0, "shut_down": 0,
    });
    assert_eq!(stats["items"].take(), outcomes);
    let expected = json!({
        "health": { "state": "starting" }, "submitted": 0, "completed": 0, "failed": 0,
        "cancelled": 0, "outcomes": outcomes, "items": null, "retries": 0, "waiting": 0, "running": 0,
        "wait_time": null, "run_time": null, "lost_time": null, "max_workers": 0,
        "min_workers": 0, "workers": 0, "workers_starting": 0, "workers_idle": 0,
        "workers_busy": 0, "workers_stopping": 0, "workers_stuck": 0, "workers_unshared": 0,
        "worker_starts": 0, "worker_restarts": 0, "worker_deaths": 0, "start_failures": 0, "workers_lost": 0, "hosts": [],
        "utilization": 0.0,
    });
    assert_eq!(stats, expected);
    let mut names: Vec<_> = run_time.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["buckets", "count", "max", "mean", "min", "p50", "p90", "p99", "sum"]);
    assert_eq!(run_time["buckets"][0], json!({ "le": 1e-5, "count": 0 }));
    assert_eq!(run_time["buckets"][24], json!({ "le": 3600.0, "count": 0 }));
}

#[tokio::test]
async fn durations_are_numbers_of_seconds() {
    let (pool, gate) = (pool(), Gate::new().await);
    let running = pool.task(hold, gate.port()).label("a label").submit().await.unwrap();
    let held = gate.arrival().await;
    let worker = json_of(&pool.workers()[0]);
    assert!(worker["uptime"].as_f64().unwrap() > 0.0, "{worker}");
    let shown = [&worker["id"], &worker["pid"], &worker["state"], &worker["label"]];
    assert_eq!(json_of(&shown), json!([1, held.pid, "busy", "a label"]));
    drop(held);
    in_time(running).await.unwrap();
    let stats = pool.stats();
    let shown = json_of(&stats);
    assert_eq!(shown["run_time"]["sum"], json!(stats.run_time.sum().as_secs_f64()));
    assert_eq!(shown["run_time"]["buckets"][24]["count"], 1);
    let functions = json_of(&pool.functions());
    assert_eq!(functions[0]["name"], json!(pool.functions()[0].name));
    assert_eq!(functions[0]["outcomes"]["returned"], 1);
    assert_eq!(functions[0]["items"]["returned"], 1);
    let worker = json_of(&pool.workers()[0]);
    assert_eq!((&worker["tasks_completed"], &worker["items_completed"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn each_event_says_what_it_is() {
    let pool = pool();
    let events = pool.events();
    in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.run(exit_now, ())).await.unwrap_err();
    in_time(pool.shutdown()).await;
    let story: Vec<_> = in_time(events.collect()).await;
    let story: Vec<Value> = story.iter().map(json_of).collect();
    let of = |name: &str| story.iter().find(|event| event["event"] == name);
    assert_eq!(of("worker_ready"), Some(&json!({ "event": "worker_ready", "worker": 1 })));
    let finished = of("task_finished").unwrap();
    assert_eq!((&finished["task"], &finished["outcome"]), (&json!(1), &json!("returned")));
    assert_eq!(finished["label"], Value::Null);
    let death = &of("worker_died").unwrap()["death"];
    assert_eq!((&death["worker"], &death["exit_code"]), (&json!(1), &json!(3)));
    assert_eq!(death["signal"], Value::Null);
    assert!(death["message"].as_str().unwrap().contains("exited unexpectedly"), "{death}");
    assert!(of("pool_shut_down").is_some(), "{story:?}");
}

#[tokio::test]
async fn one_who_was_too_slow_is_told_so_in_json() {
    let pool = pool();
    let events = pool.events();
    for _ in 0..600 {
        in_time(pool.run(pid, ())).await.unwrap(); // three events each
    }
    in_time(pool.shutdown()).await;
    let first = json_of(&in_time(events.collect::<Vec<_>>()).await[0]);
    assert!(first["event"] == "missed" && first["count"].as_u64() > Some(0), "{first}");
}

#[tokio::test]
async fn states_and_outcomes_are_words() {
    let pool = pool();
    assert_eq!(json_of(&pool.health()), json!({ "state": "ready" }));
    in_time(pool.abort("the key was withdrawn")).await;
    let broken = json!({ "state": "broken", "reason": "the key was withdrawn" });
    assert_eq!(json_of(&pool.health()), broken);
    for health in [Health::ShuttingDown, Health::ShutDown, Health::RuntimeGone, pool.health()] {
        assert_eq!(json_of(&health)["state"], health.as_str());
    }
    assert_eq!(json_of(&TaskOutcome::TimedOut), json!("timed_out"));
    let all = [
        procpool::TaskStatus::Pending,
        procpool::TaskStatus::Running,
        procpool::TaskStatus::Finished,
        procpool::TaskStatus::Cancelled,
    ];
    assert_eq!(json_of(&all), json!(["pending", "running", "finished", "cancelled"]));
    let _: fn(&Progress) -> Value = json_of;
}

// ----- settings -----

/// All of them, as people write them.
fn written() -> Value {
    let limits = json!({
        "memory": "1.5 GiB", "address_space": "1TiB", "cpu_time": "10s", "file_size": "1GB",
        "open_files": 256, "core_size": 0,
    });
    let cgroup = json!({
        "parent": "/sys/fs/cgroup/thumbs", "memory_max": "2Gi", "cpu_max": "1.5", "pids_max": 64,
        "set": { "cpu": { "weight": 20 }, "memory.high": "1G" },
    });
    let mut all = json!({
        "name": "thumbs", "max_workers": 4, "min_workers": "1", "idle_timeout": "5 min",
        "max_tasks_per_child": 1000, "max_memory_per_child": "256MiB", "max_age": "1d", "surge": 2,
        "queue_capacity": "100", "queue_bytes": "1 GiB", "default_timeout": "1h 30min", "on_worker_death": "break",
        "initializer_retries": 3, "grace_period": "500ms", "start_timeout": 2.5,
        "max_payload": "10 MB", "shared_memory": 1024, "hard_memory_limit": "1 GiB",
        "limits": limits, "cgroup": cgroup, "oom_score_adj": 500,
        "start_method": "fork_server", "worker_output": "null",
        "worker_command": ["worker", "--level", 9], "inner_threads": 0, "current_dir": "/tmp",
        "env_clear": "true", "env_remove": ["SECRET"],
        "env": { "RUST_LOG": "info", "RUST_BACKTRACE": 1, "CI": true },
    });
    if cfg!(feature = "sandbox") {
        all["sandbox"] = json!({
            "read": ["/usr/share", "data"], "write": ["/tmp"], "network": true,
            "kill_on_refusal": "false", "best_effort": true,
        });
    }
    if cfg!(feature = "hosts") {
        all["hosts"] = json!([
            { "local": true, "workers": "4" },
            { "ssh": "node1", "lease": "5s", "program": ["/opt/service", 1], "cache": "/tmp/copies" },
            { "command": ["podman", "exec", "-i", "box", "/opt/service"], "name": "box" },
            { "slurm": "true", "nodes": 4, "slurm_options": ["--partition=short"] },
        ]);
    }
    all
}

fn read(value: Value) -> Result<Settings, serde_json::Error> {
    serde_json::from_value(value)
}

#[test]
fn settings_are_read_as_people_write_them_and_as_they_were_written() {
    let settings = read(written()).unwrap();
    assert_eq!(settings.name.as_deref(), Some("thumbs"));
    assert_eq!((settings.max_workers, settings.min_workers), (Some(4), Some(1)));
    assert_eq!(settings.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(settings.default_timeout, Some(Duration::from_secs(5_400)));
    assert_eq!(settings.grace_period, Some(Duration::from_millis(500)));
    assert_eq!(settings.start_timeout, Some(Duration::from_millis(2_500)));
    assert_eq!(settings.max_memory_per_child, Some(256 << 20));
    assert_eq!(
        (settings.hard_memory_limit, settings.max_payload),
        (Some(1 << 30), Some(10_000_000))
    );
    assert_eq!(settings.start_method, Some(StartMethod::ForkServer));
    assert_eq!(settings.on_worker_death, Some(OnWorkerDeath::Break));
    assert_eq!(settings.worker_output, Some(PlainOutput::Null));
    assert_eq!(settings.env_clear, Some(true));
    assert_eq!(settings.worker_command.as_ref().unwrap()[2], "9");
    let env = settings.env.as_ref().unwrap();
    assert_eq!((&*env["RUST_BACKTRACE"], &*env["CI"]), ("1", "true"));
    let limits = ResourceLimits::new().memory(3 << 29).address_space(1 << 40).open_files(256);
    let limits = limits.cpu_time(Duration::from_secs(10)).file_size(1_000_000_000).core_size(0);
    assert_eq!(settings.limits, Some(limits));
    let group = Cgroup::new().parent("/sys/fs/cgroup/thumbs").memory_max(2 << 30).cpu_max(1.5);
    let group = group.pids_max(64).set("cpu.weight", 20).set("memory.high", "1G");
    assert_eq!(settings.cgroup, Some(group));
    let again = json_of(&settings);
    assert_eq!(again.as_object().unwrap().len(), written().as_object().unwrap().len());
    assert_eq!(read(again).unwrap(), settings);
    assert_eq!(json_of(&Settings::default()), json!({}));
    assert_eq!(read(json!({})).unwrap(), Settings::default());
    assert_eq!(read(json!({ "name": null, "cgroup": null })).unwrap(), Settings::default());
}

#[test]
fn each_setting_changes_the_builder() {
    let shown = |settings| format!("{:?}", ProcessPoolExecutor::builder().settings(settings));
    let without = shown(Settings::default());
    assert_eq!(without, format!("{:?}", ProcessPoolExecutor::builder()));
    for (name, value) in written().as_object().unwrap() {
        assert_ne!(shown(read(json!({ name: value })).unwrap()), without, "{name}");
    }
}

#[test]
fn settings_that_meet_are_set_in_the_order_that_is_documented() {
    let all = json!({
        "env": { "CI": "1" }, "env_remove": ["CI", "PATH"], "env_clear": true,
        "hard_memory_limit": 1, "limits": { "memory": 2 },
    });
    let as_settings = ProcessPoolExecutor::builder().settings(read(all).unwrap());
    let as_calls = ProcessPoolExecutor::builder().env_clear().env_remove("CI").env_remove("PATH");
    let as_calls = as_calls.env("CI", "1").limits(ResourceLimits::new().memory(2));
    let as_calls = as_calls.hard_memory_limit(1);
    assert_eq!(format!("{as_settings:?}"), format!("{as_calls:?}"));
}

/// What is no data: functions, descriptors, a handle of a server, and settings themselves.
const NO_DATA: [&str; 9] = [
    "after_fork",
    "after_fork_in_parent",
    "before_fork",
    "exit_hook",
    "fork_server",
    "initializer",
    "pass_fds",
    "preload",
    "settings",
];

/// The names of the methods that a builder returns itself from, in the blocks of a file that begin
/// with this line.
fn setters(file: &str, block: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split(block).skip(1).map(|block| block.split("\n}\n").next().unwrap());
    let methods = blocks.flat_map(|block| block.split("    pub fn ").skip(1));
    let heads = methods.map(|method| method.split_once('{').unwrap().0);
    let setters = heads.filter(|head| head.contains("self") && head.contains("-> Self"));
    setters.map(|head| head.split(['(', '<']).next().unwrap().to_owned()).collect()
}

#[test]
fn whatever_a_builder_takes_that_is_data_is_a_setting() {
    let own = ["builder", "hooks", "fork_server", "settings"]
        .map(|file| setters(&format!("executor/{file}.rs"), "\nimpl Builder {"));
    let shared = setters("parent/program.rs", "\nmacro_rules! program_");
    let mut methods: Vec<_> = own.into_iter().flatten().chain(shared).collect();
    let all = written();
    let mut settings: Vec<_> = all.as_object().unwrap().keys().map(String::as_str).collect();
    settings.extend((!cfg!(feature = "sandbox")).then_some("sandbox"));
    settings.extend((!cfg!(feature = "hosts")).then_some("hosts"));
    settings.extend(NO_DATA);
    methods.sort_unstable();
    settings.sort_unstable();
    assert_eq!(methods, settings, "add a field to `Settings`, and to `written` here");
}

#[test]
fn each_error_of_settings_names_the_field() {
    let refused = |value: &Value| read(value.clone()).unwrap_err();
    for (name, value, why) in [
        ("max_workers", json!("four"), "four is no such number"),
        ("max_workers", json!(-1), "-1 is no such number"),
        ("default_timeout", json!("soon"), "\"soon\" begins with no number"),
        ("default_timeout", json!("3 parsec"), "\"parsec\" is no unit; there are s, ms,"),
        ("default_timeout", json!(true), "expected a number of seconds, or a duration such as"),
        ("max_payload", json!("1 Gb"), "\"Gb\" is no unit; there are B, kB,"),
        ("hard_memory_limit", json!(-5), "-5 is no number of bytes"),
        ("limits", json!({ "memory": -5 }), "memory: -5 is no number of bytes"),
        ("limits", json!({ "memry": 5 }), "memry: no such setting; there are memory, address_"),
        ("limits", json!("1 GiB"), "expected a table of limits"),
        ("cgroup", json!({ "memory_max": "much" }), "memory_max: \"much\" begins with no number"),
        ("cgroup", json!({ "cpu_max": 0 }), "cpu_max: 0 is no number of CPUs"),
        ("cgroup", json!({ "set": "cpu.weight" }), "set: \"cpu.weight\" is no table of files"),
        ("cgroup", json!({ "set": { "io": { "weight": [] } } }), "set: io: weight: invalid type"),
        ("start_method", json!("fork"), "\"fork\" is none of spawn, fork_server"),
        ("on_worker_death", json!("ignore"), "\"ignore\" is none of replace, break"),
        ("worker_output", json!("file"), "\"file\" is none of inherit, stdout, null"),
        ("worker_command", json!([]), "it names no program"),
        ("env", json!(3), "invalid type"),
        ("env", json!({ "VERSION": 1.10 }), "1.1 has to be in quotes"),
        ("env_clear", json!("yes"), "\"yes\" is neither true nor false"),
        ("max_wrkers", json!(3), "no such setting; there are name, max_workers,"),
        ("pass_fds", json!([3]), "no such setting; there are name, max_workers,"),
    ] {
        let error = refused(&json!({ name: value })).to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(why), "{error}");
    }
    let twice = serde_json::from_str::<Settings>(r#"{"surge": 1, "surge": 2}"#).unwrap_err();
    assert!(twice.to_string().starts_with("surge: it is there twice"), "{twice}");
    assert!("fork".parse::<StartMethod>().unwrap_err().to_string().contains("fork_server"));
    assert_eq!("spawn".parse(), Ok(StartMethod::Spawn));
}

/// As a part of the settings of a service, which keeps them in one table.
#[derive(Debug, Deserialize)]
struct Service {
    port: u16,
    #[serde(flatten)]
    pool: Settings,
}

#[test]
fn settings_are_a_part_of_larger_ones() {
    let written = json!({ "port": 80, "surge": 3, "limits": { "core_size": 0 } });
    let Service { port, pool } = serde_json::from_value(written).unwrap();
    assert_eq!((port, pool.surge), (80, Some(3)));
    assert_eq!(pool.limits, Some(ResourceLimits::new().core_size(0)));
}

/// With the feature `tests/sandbox.rs` reads one.
#[cfg(not(feature = "sandbox"))]
#[test]
fn without_the_feature_a_sandbox_is_refused_and_not_left_out() {
    let sandbox = json!({ "port": 80, "sandbox": { "network": true } });
    let error = serde_json::from_value::<Service>(sandbox.clone()).unwrap_err().to_string();
    let reason = "sandbox: this program was built without the feature sandbox of procpool";
    assert_eq!(error, reason);
    let error = read(json!({ "sandbox": sandbox["sandbox"] })).unwrap_err().to_string();
    assert_eq!(error, reason);
}

/// With the feature `procpool-values` reads them.
#[cfg(not(feature = "hosts"))]
#[test]
fn without_the_feature_hosts_are_refused_and_not_left_out() {
    let error = read(json!({ "hosts": [{ "ssh": "node1" }] })).unwrap_err().to_string();
    assert_eq!(error, "hosts: this program was built without the feature hosts of procpool");
}

#[tokio::test]
async fn a_pool_is_as_its_settings_say() {
    let text = r#"{"name": "thumbs", "max_workers": 1, "queue_capacity": 2, "env": {"COLOR": "red"},
                   "default_timeout": "400ms", "grace_period": "50ms"}"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    let pool = ProcessPoolExecutor::builder().max_workers(7).settings(settings).build().unwrap();
    assert_eq!((pool.name(), pool.stats().max_workers), ("thumbs", 1));
    let color = in_time(pool.run(variable, "COLOR".to_owned())).await.unwrap();
    assert_eq!(color.as_deref(), Some("red"));
    let gate = Gate::new().await;
    assert!(in_time(pool.run(hold, gate.port())).await.unwrap_err().is_timeout());
}
