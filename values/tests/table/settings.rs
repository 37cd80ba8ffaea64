//! The settings of a pool, as formats of files have them.

use std::time::Duration;

use procpool::{Host, Settings};
use serde::Deserialize;
use serde_json::Value;

/// All of them.
const ALL: &str = r#"
name = "thumbs"
max_workers = 4
min_workers = "1"
idle_timeout = "5 min"
max_tasks_per_child = 1000
max_memory_per_child = "256MiB"
max_age = "1d"
surge = 2
queue_capacity = 100
queue_bytes = "1 GiB"
default_timeout = "1h 30min"
on_worker_death = "break"
initializer_retries = 3
grace_period = 0.5
start_timeout = 30
max_payload = "10 MB"
shared_memory = 0
hard_memory_limit = "1 GiB"
oom_score_adj = -5
start_method = "fork_server"
worker_output = "null"
worker_command = ["nice", "-n", 10, "worker"]
inner_threads = 0
current_dir = "/tmp"
env_clear = true
env_remove = ["SECRET"]
env = { RUST_LOG = "info", RUST_BACKTRACE = 1 }

[limits]
memory = "1.5 GiB"
address_space = "1TiB"
cpu_time = "10s"
file_size = "1GB"
open_files = 256
core_size = 0

[cgroup]
parent = "/sys/fs/cgroup/thumbs"
memory_max = "2 GiB"
cpu_max = 1.5
pids_max = 64

[cgroup.set]
cpu.weight = 20
"memory.high" = "1G"

[sandbox]
read = ["/usr"]
write = ["/tmp"]
network = false
kill_on_refusal = true
best_effort = "true"

[[hosts]]
local = true
workers = "4"

[[hosts]]
ssh = "admin@node1"
name = "first"
workers = 16
lease = "5s"
ssh_options = ["-p", 2222]
program = ["/opt/service"]
cache = "/var/cache/service"

[[hosts]]
command = ["podman", "exec", "-i", "box", "/opt/service"]

[[hosts]]
slurm = true
nodes = "4"
slurm_options = ["--partition=short"]
cache = "/shared/service"
"#;

/// What a service has in its file.
#[derive(Debug, Deserialize)]
struct Configuration {
    pool: Settings,
}

#[test]
fn settings_are_the_same_in_all_formats() {
    let settings: Settings = toml::from_str(ALL).unwrap();
    let values: Value = toml::from_str(ALL).unwrap();
    let written = serde_json::to_value(&settings).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&values));
    let error = serde_json::from_value::<Settings>(serde_json::json!({ "?": 0 })).unwrap_err();
    let error = error.to_string();
    let known = error.split_once("there are ").unwrap().1.split(", ");
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    assert_eq!(names(&values), known, "add what is missing to `ALL`");

    let (json, yaml) = (values.to_string(), serde_yaml_ng::to_string(&values).unwrap());
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    assert_eq!(serde_yaml_ng::from_str::<Settings>(&yaml).unwrap(), settings);

    let (json, yaml) = (written.to_string(), serde_yaml_ng::to_string(&settings).unwrap());
    let again = toml::to_string(&settings).unwrap();
    assert_eq!(toml::from_str::<Settings>(&again).unwrap(), settings, "{again}");
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings, "{json}");
    assert_eq!(serde_yaml_ng::from_str::<Settings>(&yaml).unwrap(), settings, "{yaml}");
}

/// The blocks of TOML in a text.
fn blocks(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.strip_prefix("///").map_or(line, str::trim_start));
    let text = lines.collect::<Vec<_>>().join("\n");
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_files_in_the_documentation_are_read() {
    let shown = blocks(include_str!("../../../src/executor/settings.rs"));
    let settings: Settings = toml::from_str(&shown[0]).unwrap();
    let has_tables = settings.cgroup.is_some() && settings.limits.is_some();
    assert!(has_tables && settings.sandbox.is_some(), "{settings:?}");
    assert_eq!(settings.hosts.map(|hosts| hosts.len()), Some(2));

    let shown = blocks(include_str!("../../../docs/guide/hosts.md"));
    let hosts: Settings = toml::from_str(&shown[0]).unwrap();
    let nodes = [Host::local().workers(4), Host::ssh("node1")];
    let nodes = nodes.into_iter().chain([Host::ssh("admin@node2").workers(16)]);
    assert_eq!(hosts.hosts, Some(nodes.collect()));

    let shown = blocks(include_str!("../../../docs/guide/in_production.md"));
    let Configuration { pool } = toml::from_str(&shown[0]).unwrap();
    assert_eq!((pool.max_workers, pool.hard_memory_limit), (Some(4), Some(3 << 29)));
}

#[test]
fn hosts_are_those_of_the_builder() {
    let settings: Settings = toml::from_str(ALL).unwrap();
    let ssh = Host::ssh("admin@node1").name("first").workers(16).lease(Duration::from_secs(5));
    let ssh = ssh.ssh_options(["-p", "2222"]).program(["/opt/service"]).cache("/var/cache/service");
    let command = Host::command(["podman", "exec", "-i", "box", "/opt/service"]);
    let slurm = Host::slurm().nodes(4).slurm_options(["--partition=short"]);
    let slurm = slurm.cache("/shared/service");
    assert_eq!(settings.hosts, Some(vec![Host::local().workers(4), ssh, command, slurm]));
}

#[test]
fn a_host_that_cannot_be_is_refused_where_it_stands() {
    for (host, place, reason) in [
        ("{}", "{}", "a host needs `ssh`, `command`, `slurm = true` or `local = true`"),
        ("{ local = false }", "{ local = false }", "a host needs `ssh`, `command`,"),
        ("{ ssh = 'n1', local = true }", "{ ssh", "not by `local = true` and `ssh = \"n1\"`"),
        ("{ ssh = 'n1', command = ['n2'] }", "{ ssh", "`ssh = \"n1\"` and `command = [\"n2\"]`"),
        ("{ slurm = true, local = true }", "{ slurm", "`local = true` and `slurm = true`"),
        (
            "{ local = true, program = ['x'] }",
            "{ local",
            "program: only a host of `ssh` or `slurm`",
        ),
        ("{ slurm = true, ssh_options = [] }", "{ slurm", "ssh_options: only a host of `ssh`"),
        ("{ ssh = 'n1', slurm_options = [] }", "{ ssh", "slurm_options: only a host of `slurm`"),
        ("{ ssh = 'n1', nodes = 2 }", "{ ssh", "nodes: only a host of `slurm`"),
        ("{ command = ['x'], cache = '/' }", "{ command", "cache: only a host of"),
        ("{ command = [] }", "[]", "it names no program"),
        ("{ ssh = 'n1', program = [] }", "[]", "it names no program"),
        ("{ ssh = 'n1', workers = 0 }", "0", "there has to be one at least"),
        ("{ slurm = true, nodes = 0 }", "0", "there has to be one at least"),
        ("{ ssh = 'n1', lease = 'long' }", "'long'", "\"long\" begins with no number"),
        ("{ ssh = 'n1', worker = 3 }", "3", "no such setting; there are local, ssh, command"),
    ] {
        let text = format!("surge = 1\nhosts = [{{ local = true }}, {host}]\n");
        let error = toml::from_str::<Settings>(&text).unwrap_err();
        assert!(error.message().contains(reason), "{error}");
        let span = error.span().map_or("", |span| &text[span]);
        assert!(span.starts_with(place), "{span:?}: {error}");

        let value: Value = toml::from_str(&text).unwrap();
        let error = serde_json::from_value::<Settings>(value).unwrap_err().to_string();
        assert!(error.starts_with("hosts: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn an_error_says_where_in_the_file_it_is() {
    let wrong = ALL.replace("2 GiB", "2 GiBs");
    let error = toml::from_str::<Settings>(&wrong).unwrap_err();
    assert_eq!(error.span().map(|span| &wrong[span]), Some("\"2 GiBs\""));
    assert!(error.message().contains("\"GiBs\" is no unit"), "{error}");

    let yaml = "pool:\n  limits:\n    memory: much\n";
    let error = serde_yaml_ng::from_str::<Configuration>(yaml).unwrap_err();
    let location = error.location().map(|location| (location.line(), location.column()));
    assert_eq!(location, Some((3, 13)));
    assert!(error.to_string().starts_with("pool.limits.memory: \"much\""), "{error}");

    let json = "{\n  \"limits\": { \"memory\": \"much\" } }";
    let error = serde_json::from_str::<Settings>(json).unwrap_err();
    assert_eq!(error.line(), 2);
    assert!(error.to_string().starts_with("limits: memory: \"much\""), "{error}");
}
