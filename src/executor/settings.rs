//! The settings of a pool as they are read from a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::ResourceLimits;
use crate::error::kind::words;
use crate::executor::builder::Builder;
use crate::executor::units::{Read, Size, Whole, seconds};
use crate::parent::{StartMethod, WorkerOutput};
use crate::pool::OnWorkerDeath;

/// Settings of a [`Builder`] that can stand in a file or in environment variables, so that a
/// deployment can choose them. A setting that is `None` leaves the builder as it is. Functions,
/// control groups, sandboxes and passed descriptors are not among them.
///
/// | field | how it is written |
/// |---|---|
/// | a duration | a number of seconds, or a text: `"500ms"`, `"30s"`, `"1.5 min"`, `"2h"`, `"1d"` |
/// | a size | a number of bytes, or a text: `"256MiB"`, `"1.5 GiB"`, `"10 MB"` |
/// | another number | a number, or a text, because environment variables are texts |
///
/// An unknown field is an error. Each error names its field. `Deserialize` reads what `Serialize`
/// writes.
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, Settings, StartMethod};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"{
///     "max_workers": 4,
///     "start_method": "fork_server",
///     "default_timeout": "30s",
///     "memory_limit": "1.5 GiB",
///     "env": { "RUST_LOG": "info" }
/// }"#;
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
    /// See [`ResourceLimits::memory`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// See [`ResourceLimits::address_space`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space_limit: Option<u64>,
    /// See [`ResourceLimits::cpu_time`].
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub cpu_time_limit: Option<Duration>,
    /// See [`ResourceLimits::file_size`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size_limit: Option<u64>,
    /// See [`ResourceLimits::open_files`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files_limit: Option<u64>,
    /// See [`ResourceLimits::core_size`]; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_size_limit: Option<u64>,
    /// See [`Builder::oom_score_adj`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
    /// See [`Builder::start_method`]: `spawn` or `fork_server`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_method: Option<StartMethod>,
    /// See [`Builder::worker_output`]: `inherit`, `stdout` or `null`.
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
    /// See [`Builder::env_clear`]; it comes before `env_remove` and `env`.
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

/// The fields, how each is read, and what of that is its value.
macro_rules! fields {
    ($($name:ident: $read:ty => $value:expr),+ $(,)?) => {
        const FIELDS: &[&str] = &[$(stringify!($name)),+];

        impl Settings {
            fn read<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
                match name {
                    $(stringify!($name) => {
                        if self.$name.is_some() {
                            return Err(Error::custom("it is there twice"));
                        }
                        let read: Option<$read> = map.next_value()?;
                        self.$name = read.map($value).transpose().map_err(Error::custom)?;
                    })+
                    _ => {
                        let known = FIELDS.join(", ");
                        return Err(Error::custom(format_args!("no such setting; there are {known}")));
                    }
                }
                Ok(())
            }
        }
    };
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

fn command(words: Vec<String>) -> Result<Vec<String>, String> {
    if words.is_empty() { Err("it names no program".to_owned()) } else { Ok(words) }
}

fields! {
    name: String => plain,
    max_workers: Read<Whole<usize>> => number,
    min_workers: Read<Whole<usize>> => number,
    idle_timeout: Read<Duration> => time,
    max_tasks_per_child: Read<Whole<u64>> => number,
    max_memory_per_child: Read<Size> => size,
    max_age: Read<Duration> => time,
    surge: Read<Whole<usize>> => number,
    queue_capacity: Read<Whole<usize>> => number,
    default_timeout: Read<Duration> => time,
    on_worker_death: OnWorkerDeath => plain,
    initializer_retries: Read<Whole<u32>> => number,
    grace_period: Read<Duration> => time,
    start_timeout: Read<Duration> => time,
    max_payload: Read<Size> => size,
    shared_memory: Read<Size> => size,
    memory_limit: Read<Size> => size,
    address_space_limit: Read<Size> => size,
    cpu_time_limit: Read<Duration> => time,
    file_size_limit: Read<Size> => size,
    open_files_limit: Read<Whole<u64>> => number,
    core_size_limit: Read<Size> => size,
    oom_score_adj: Read<Whole<i16>> => number,
    start_method: StartMethod => plain,
    worker_output: PlainOutput => plain,
    worker_command: Vec<String> => command,
    inner_threads: Read<Whole<usize>> => number,
    current_dir: PathBuf => plain,
    env_clear: bool => plain,
    env_remove: Vec<String> => plain,
    env: BTreeMap<String, String> => plain,
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_struct("Settings", FIELDS, SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a pool")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Settings, M::Error> {
        let mut settings = Settings::default();
        while let Some(name) = map.next_key::<String>()? {
            let read = settings.read(&name, &mut map);
            read.map_err(|error| Error::custom(format_args!("{name}: {error}")))?;
        }
        Ok(settings)
    }
}

impl Settings {
    fn limits(&self) -> ResourceLimits {
        let mut limits = ResourceLimits::new();
        for (limit, set) in [
            (self.memory_limit, ResourceLimits::memory as fn(ResourceLimits, u64) -> _),
            (self.address_space_limit, ResourceLimits::address_space),
            (self.file_size_limit, ResourceLimits::file_size),
            (self.open_files_limit, ResourceLimits::open_files),
            (self.core_size_limit, ResourceLimits::core_size),
        ] {
            limits = limit.map_or(limits, |limit| set(limits, limit));
        }
        self.cpu_time_limit.map_or(limits, |limit| limits.cpu_time(limit))
    }

    fn set_process(self, mut builder: Builder) -> Builder {
        if self.env_clear == Some(true) {
            builder = builder.env_clear();
        }
        for name in self.env_remove.into_iter().flatten() {
            builder = builder.env_remove(name);
        }
        for (name, value) in self.env.into_iter().flatten() {
            builder = builder.env(name, value);
        }
        if let Some([program, arguments @ ..]) = self.worker_command.as_deref() {
            let mut command = Command::new(program);
            command.args(arguments);
            builder = builder.worker_command(command);
        }
        match self.current_dir {
            Some(directory) => builder.current_dir(directory),
            None => builder,
        }
    }
}

/// Calls the methods of a builder whose settings there are.
macro_rules! apply {
    ($builder:ident, $settings:ident: $($name:ident)+) => {
        $(if let Some(value) = $settings.$name.take() {
            $builder = $builder.$name(value);
        })+
    };
}

/// # Settings from a file
impl Builder {
    /// Sets what these [`Settings`] say, and leaves the rest as it is: later calls have the last
    /// word on what was set here.
    pub fn settings(self, mut settings: Settings) -> Self {
        let mut builder = self.limits(settings.limits());
        apply! { builder, settings:
            name max_workers min_workers idle_timeout max_tasks_per_child max_memory_per_child
            max_age surge queue_capacity default_timeout on_worker_death initializer_retries
            grace_period start_timeout max_payload shared_memory oom_score_adj start_method
            worker_output inner_threads
        }
        settings.set_process(builder)
    }
}
