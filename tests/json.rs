//! What dashboards are sent, and what settings are read from. A binary of its own: beside
//! `serde_json` other tests would have to say more types.

mod common;

use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Health, OnWorkerDeath, PlainOutput, PoolStats, ProcessPoolExecutor, Progress, Settings,
    StartMethod, TaskOutcome,
};
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
        "unsupported_limit": 0, "worker_died": 0, "timed_out": 0, "expired": 0,
        "not_begun": 0, "cancelled": 0, "broken": 0, "shut_down": 0,
    });
    let expected = json!({
        "health": { "state": "starting" }, "submitted": 0, "completed": 0, "failed": 0,
        "cancelled": 0, "outcomes": outcomes, "retries": 0, "waiting": 0, "running": 0,
        "wait_time": null, "run_time": null, "lost_time": null, "max_workers": 0,
        "min_workers": 0, "workers": 0, "workers_starting": 0, "workers_idle": 0,
        "workers_busy": 0, "workers_stopping": 0, "workers_stuck": 0, "workers_unshared": 0,
        "worker_starts": 0, "worker_restarts": 0, "worker_deaths": 0, "start_failures": 0,
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
    json!({
        "name": "thumbs", "max_workers": 4, "min_workers": "1", "idle_timeout": "5 min",
        "max_tasks_per_child": 1000, "max_memory_per_child": "256MiB", "max_age": "1d", "surge": 2,
        "queue_capacity": "100", "default_timeout": "30s", "on_worker_death": "break",
        "initializer_retries": 3, "grace_period": "500ms", "start_timeout": 2.5,
        "max_payload": "10 MB", "shared_memory": 1024, "memory_limit": "1.5 GiB",
        "address_space_limit": "1TiB", "cpu_time_limit": "10s", "file_size_limit": "1GB",
        "open_files_limit": 256, "core_size_limit": 0, "oom_score_adj": 500,
        "start_method": "fork_server", "worker_output": "null",
        "worker_command": ["worker", "--quiet"], "inner_threads": 0, "current_dir": "/tmp",
        "env_clear": true, "env_remove": ["SECRET"], "env": { "RUST_LOG": "info" },
    })
}

#[test]
fn settings_are_read_as_people_write_them_and_as_they_were_written() {
    let settings: Settings = serde_json::from_value(written()).unwrap();
    assert_eq!(settings.name.as_deref(), Some("thumbs"));
    assert_eq!((settings.max_workers, settings.min_workers), (Some(4), Some(1)));
    assert_eq!(settings.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(settings.grace_period, Some(Duration::from_millis(500)));
    assert_eq!(settings.start_timeout, Some(Duration::from_millis(2_500)));
    assert_eq!(settings.max_memory_per_child, Some(256 << 20));
    assert_eq!((settings.memory_limit, settings.max_payload), (Some(3 << 29), Some(10_000_000)));
    assert_eq!(settings.start_method, Some(StartMethod::ForkServer));
    assert_eq!(settings.on_worker_death, Some(OnWorkerDeath::Break));
    assert_eq!(settings.worker_output, Some(PlainOutput::Null));
    assert_eq!(settings.env_clear, Some(true));
    let again = json_of(&settings);
    assert_eq!(again.as_object().unwrap().len(), written().as_object().unwrap().len());
    assert_eq!(serde_json::from_value::<Settings>(again).unwrap(), settings);
    assert_eq!(json_of(&Settings::default()), json!({}));
    assert_eq!(serde_json::from_value::<Settings>(json!({})).unwrap(), Settings::default());
    assert_eq!(serde_json::from_value::<Settings>(json!({ "name": null })).unwrap().name, None);
}

#[test]
fn each_error_of_settings_names_the_field() {
    let refused = |value: &Value| serde_json::from_value::<Settings>(value.clone()).unwrap_err();
    for (name, value, why) in [
        ("max_workers", json!("four"), "four is no such number"),
        ("max_workers", json!(-1), "-1 is no such number"),
        ("default_timeout", json!("soon"), "\"soon\" begins with no number"),
        ("default_timeout", json!("3 parsec"), "\"parsec\" is no unit; there are s, ms,"),
        ("max_payload", json!("1 Gb"), "\"Gb\" is no unit; there are B, kB,"),
        ("memory_limit", json!(-5), "-5 is no number of bytes"),
        ("start_method", json!("fork"), "\"fork\" is none of spawn, fork_server"),
        ("on_worker_death", json!("ignore"), "\"ignore\" is none of replace, break"),
        ("worker_output", json!("file"), "\"file\" is none of inherit, stdout, null"),
        ("worker_command", json!([]), "it names no program"),
        ("env", json!(3), "invalid type"),
        ("max_wrkers", json!(3), "no such setting; there are name, max_workers,"),
    ] {
        let error = refused(&json!({ name: value })).to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(why), "{error}");
    }
    let twice = serde_json::from_str::<Settings>(r#"{"surge": 1, "surge": 2}"#).unwrap_err();
    assert!(twice.to_string().starts_with("surge: it is there twice"), "{twice}");
    assert!("fork".parse::<StartMethod>().unwrap_err().to_string().contains("fork_server"));
    assert_eq!("spawn".parse(), Ok(StartMethod::Spawn));
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
