//! The settings of a pool as they are read from a file.

#[cfg(feature = "hosts")]
mod hosts;
mod nested;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use self::table::{read_table, table};
use crate::base::ResourceLimits;
use crate::error::kind::words;
use crate::executor::builder::Builder;
use crate::executor::units::{Read, Size, Switch, Text, Whole, seconds};
#[cfg(feature = "hosts")]
use crate::host::Host;
use crate::parent::{Cgroup, StartMethod, WorkerOutput};
use crate::pool::OnWorkerDeath;
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;

/// Settings of a [`Builder`] that can stand in a file or in environment variables, so that a
/// deployment can choose them. Each field is named after the method of the builder that it calls. A
/// field that is `None` leaves the builder as it is. There are no fields for what is no data:
/// functions, passed descriptors, and a shared fork server.
///
/// It is a serde type, for TOML, YAML, JSON, and whatever else has names and values:
///
/// ```toml
/// name = "thumbs"
/// max_workers = 4
/// start_method = "fork_server"
/// default_timeout = "30s"
/// max_age = "1d"
/// hard_memory_limit = "1.5 GiB"
/// env = { RUST_LOG = "info", RUST_BACKTRACE = 1 }
///
/// [limits] # a table has the names of the methods of its type, here of `ResourceLimits`
/// cpu_time = "10s"
/// open_files = 256
///
/// [cgroup]
/// memory_max = "2 GiB"
/// cpu_max = 1.5
/// set = { "cpu.weight" = 20 } # other files of the control group
///
/// [sandbox] # with the feature `sandbox`
/// read = ["/usr/share"]
/// network = true
///
/// [[hosts]] # with the feature `hosts`; of each `ssh`, `command`, `slurm = true` or `local = true`
/// ssh = "node1"
/// workers = 16
/// lease = "5s"
///
/// [[hosts]]
/// local = true
/// ```
///
/// | what | how it is written |
/// |---|---|
/// | a duration | a number of seconds, or a text: `"500ms"`, `"30s"`, `"1.5 min"`, `"1h 30min"`, `"1d"` |
/// | a size | a number of bytes, or a text: `"256MiB"`, `"1.5 GiB"`, `"10 MB"` |
/// | another number, `true` or `false` | itself, or a text, because environment variables are texts |
/// | a name, a variable or its value, a word of a command | a text, a whole number, `true` or `false` |
/// | a value in `cgroup.set` | a text or a whole number |
/// | a path, a choice | a text |
///
/// An unknown field is an error. (Serde does not show it to a structure that has the settings by
/// `#[serde(flatten)]`: there it is left out.) Each error names its field. `Deserialize` reads what
/// `Serialize` writes. A field that is null is not set. In YAML a field without a value is null,
/// and so is the bare word `null`. So write `sandbox: {}` for a sandbox that allows nothing, and
/// `worker_output: "null"`. If the program was built without the feature `sandbox`, a table
/// `sandbox` is an error, so that no task runs without the sandbox that the file asks for. So are
/// `hosts` without the feature of that name.
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, Settings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"{ "max_workers": 4, "default_timeout": "30s", "limits": { "cpu_time": "10s" } }"#;
/// let settings: Settings = serde_json::from_str(text)?;
/// assert_eq!(settings.default_timeout, Some(Duration::from_secs(30)));
/// let pool = ProcessPoolExecutor::builder().settings(settings).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// See [`Builder::name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// See [`Builder::max_workers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<usize>,
    /// See [`Builder::min_workers`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_workers: Option<usize>,
    /// See [`Builder::idle_timeout`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub idle_timeout: Option<Duration>,
    /// See [`Builder::max_tasks_per_child`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks_per_child: Option<u64>,
    /// See [`Builder::max_memory_per_child`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory_per_child: Option<u64>,
    /// See [`Builder::max_age`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub max_age: Option<Duration>,
    /// See [`Builder::surge`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<usize>,
    /// See [`Builder::queue_capacity`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_capacity: Option<usize>,
    /// See [`Builder::queue_bytes`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_bytes: Option<usize>,
    /// See [`Builder::default_timeout`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub default_timeout: Option<Duration>,
    /// See [`Builder::on_worker_death`]: `replace` or `break`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_worker_death: Option<OnWorkerDeath>,
    /// See [`Builder::initializer_retries`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializer_retries: Option<u32>,
    /// See [`Builder::grace_period`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub grace_period: Option<Duration>,
    /// See [`Builder::start_timeout`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub start_timeout: Option<Duration>,
    /// See [`Builder::max_payload`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_payload: Option<usize>,
    /// See [`Builder::shared_memory`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<usize>,
    /// See [`Builder::hard_memory_limit`]; bytes. It has the last word on `limits.memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_memory_limit: Option<u64>,
    /// See [`Builder::limits`]: a table of durations, sizes and numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
    /// See [`Builder::cgroup`]: a table of `memory_max`, `cpu_max`, `pids_max`, `parent`, and
    /// `set`, which is a table of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// See [`Builder::sandbox`]: a table of `read` and `write`, which are lists of paths, and
    /// `network`, `kill_on_refusal` and `best_effort`, which are true or false.
    #[cfg(feature = "sandbox")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sandbox")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// See [`Builder::hosts`]: a list of tables. Each has `ssh`, `command`, `slurm = true` or
    /// `local = true`, and may have `name`, `workers` and `lease`. A host of `ssh` may also have
    /// `ssh_options`, one of `slurm` `nodes` and `slurm_options`, and both `program` and `cache`.
    #[cfg(feature = "hosts")]
    #[cfg_attr(docsrs, doc(cfg(feature = "hosts")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<Host>>,
    /// See [`Builder::oom_score_adj`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
    /// See [`Builder::start_method`]: `spawn` or `fork_server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_method: Option<StartMethod>,
    /// See [`Builder::worker_output`]: `inherit`, `stdout` or `null` (in YAML in quotes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_output: Option<PlainOutput>,
    /// See [`Builder::worker_command`]: the program and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_command: Option<Vec<String>>,
    /// See [`Builder::inner_threads`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_threads: Option<usize>,
    /// See [`Builder::current_dir`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_dir: Option<PathBuf>,
    /// See [`Builder::env_clear`]; `false` leaves the builder as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_clear: Option<bool>,
    /// See [`Builder::env_remove`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_remove: Option<Vec<String>>,
    /// See [`Builder::env`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
}

/// The choices of [`WorkerOutput`] that can stand in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainOutput {
    /// [`WorkerOutput::Inherit`]
    #[default]
    Inherit,
    /// [`WorkerOutput::Stdout`]
    Stdout,
    /// [`WorkerOutput::Null`]
    Null,
}

words! { StartMethod { Spawn = "spawn", ForkServer = "fork_server" } }
words! { OnWorkerDeath { Replace = "replace", Break = "break" } }
words! { PlainOutput { Inherit = "inherit", Stdout = "stdout", Null = "null" } }

impl From<PlainOutput> for WorkerOutput {
    fn from(output: PlainOutput) -> Self {
        match output {
            PlainOutput::Inherit => Self::Inherit,
            PlainOutput::Stdout => Self::Stdout,
            PlainOutput::Null => Self::Null,
        }
    }
}

fn size<T: TryFrom<u64>>(read: Read<Size>) -> Result<T, String> {
    let bytes = read.0.0;
    T::try_from(bytes).map_err(|_| format!("{bytes} bytes are too many"))
}

#[allow(clippy::unnecessary_wraps, reason = "others can fail")]
fn plain<T>(value: T) -> Result<T, String> {
    Ok(value)
}

#[allow(clippy::unnecessary_wraps, reason = "others can fail")]
fn time(read: Read<Duration>) -> Result<Duration, String> {
    Ok(read.0)
}

#[allow(clippy::unnecessary_wraps, reason = "others can fail")]
fn number<T>(read: Read<Whole<T>>) -> Result<T, String> {
    Ok(read.0.0)
}

#[allow(clippy::unnecessary_wraps, reason = "others can fail")]
fn switch(read: Read<Switch>) -> Result<bool, String> {
    Ok(read.0.0)
}

#[allow(clippy::unnecessary_wraps, reason = "others can fail")]
fn text(read: Read<Text>) -> Result<String, String> {
    Ok(read.0.0)
}

fn texts(read: Vec<Read<Text>>) -> Result<Vec<String>, String> {
    read.into_iter().map(text).collect()
}

fn command(read: Vec<Read<Text>>) -> Result<Vec<String>, String> {
    if read.is_empty() { Err("it names no program".to_owned()) } else { texts(read) }
}

fn variables(read: BTreeMap<String, Read<Text>>) -> Result<BTreeMap<String, String>, String> {
    read.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect()
}

table! {
    Settings as "Settings", "the settings of a pool";
    name: Read<Text> => text,
    max_workers: Read<Whole<usize>> => number,
    min_workers: Read<Whole<usize>> => number,
    idle_timeout: Read<Duration> => time,
    max_tasks_per_child: Read<Whole<u64>> => number,
    max_memory_per_child: Read<Size> => size,
    max_age: Read<Duration> => time,
    surge: Read<Whole<usize>> => number,
    queue_capacity: Read<Whole<usize>> => number,
    queue_bytes: Read<Size> => size,
    default_timeout: Read<Duration> => time,
    on_worker_death: OnWorkerDeath => plain,
    initializer_retries: Read<Whole<u32>> => number,
    grace_period: Read<Duration> => time,
    start_timeout: Read<Duration> => time,
    max_payload: Read<Size> => size,
    shared_memory: Read<Size> => size,
    hard_memory_limit: Read<Size> => size,
    limits: ResourceLimits => plain,
    cgroup: Cgroup => plain,
    #[cfg(feature = "sandbox")]
    sandbox: Sandbox => plain,
    #[cfg(feature = "hosts")]
    hosts: Vec<Host> => plain,
    oom_score_adj: Read<Whole<i16>> => number,
    start_method: StartMethod => plain,
    worker_output: PlainOutput => plain,
    worker_command: Vec<Read<Text>> => command,
    inner_threads: Read<Whole<usize>> => number,
    current_dir: PathBuf => plain,
    env_clear: Read<Switch> => switch,
    env_remove: Vec<Read<Text>> => texts,
    env: BTreeMap<String, Read<Text>> => variables,
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read_table(from)
    }
}

/// Calls the methods of a builder whose settings there are.
macro_rules! apply {
    ($builder:ident, $settings:ident: $($name:ident)+) => {
        $(if let Some(value) = $settings.$name {
            $builder = $builder.$name(value);
        })+
    };
}

/// # Settings from a file
impl Builder {
    /// Sets what these [`Settings`] say, and leaves the rest as it is: later calls have the last
    /// word on what was set here. [Limits](Self::limits) are set each by itself. A control group, a
    /// sandbox or hosts replace those of the builder as a whole. The environment is changed in this
    /// order: `env_clear`, `env_remove`, `env`.
    pub fn settings(self, settings: Settings) -> Self {
        let mut builder = self;
        if settings.env_clear == Some(true) {
            builder = builder.env_clear();
        }
        for name in settings.env_remove.into_iter().flatten() {
            builder = builder.env_remove(name);
        }
        for (name, value) in settings.env.into_iter().flatten() {
            builder = builder.env(name, value);
        }
        apply! { builder, settings:
            name max_workers min_workers idle_timeout max_tasks_per_child max_memory_per_child
            max_age surge queue_capacity queue_bytes default_timeout on_worker_death initializer_retries
            grace_period start_timeout max_payload shared_memory limits hard_memory_limit cgroup
            oom_score_adj start_method worker_output worker_command inner_threads current_dir
        }
        #[cfg(feature = "sandbox")]
        apply! { builder, settings: sandbox }
        #[cfg(feature = "hosts")]
        apply! { builder, settings: hosts }
        builder
    }
}
