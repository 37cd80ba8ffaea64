//! How the agent on another host is told to start workers.
//!
//! What a worker is told in its hello it is told by its link, wherever it is. This is the rest:
//! what whoever makes the process has to know.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::OomScore;
use crate::function::{Call, Registry};
use crate::parent::cgroup::Cgroup;
use crate::parent::launch::{Launch, StartMethod};
use crate::parent::program::{Environment, Program, inner_threads};
use crate::wire::frame::malformed;
use crate::wire::message::HookStage;

/// See the [module](self).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FarLaunch {
    name: String,
    command: Option<Vec<OsString>>,
    env: Environment,
    directory: Option<OsString>,
    oom_score: OomScore,
    cgroup: Option<FarCgroup>,
    forks: bool,
    start_timeout: Duration,
    max_payload: u64,
    /// Workers enter a sandbox.
    sandboxed: bool,
    /// As the builder was told.
    inner_threads: Option<usize>,
    /// The most workers of the host; `None` for as many as it has CPUs.
    workers: Option<usize>,
    preload: Option<FarCall>,
    hooks: Vec<(HookStage, FarCall)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FarCgroup {
    home: Option<OsString>,
    values: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FarCall {
    /// The position, which is the same in the same program.
    function: u32,
    arguments: Vec<u8>,
}

impl FarCall {
    fn new(call: &Call) -> Self {
        Self { function: call.function, arguments: call.arguments.to_vec() }
    }

    fn into_call(self) -> Call {
        let Self { function, arguments } = self;
        let arguments = Bytes::from(arguments).into();
        Call { name: Registry::global().path(function), function, arguments }
    }
}

impl FarLaunch {
    /// For a host with so many workers at most, or with as many as it has CPUs.
    pub(crate) fn new(
        launch: &Launch,
        inner_threads: Option<usize>,
        workers: Option<usize>,
    ) -> Self {
        let Program { command, env, current_dir, oom_score, cgroup, .. } = &launch.program;
        let cgroup = cgroup.as_ref().map(|cgroup| FarCgroup {
            home: cgroup.home().map(Into::into),
            values: cgroup.values().map(|(file, value)| (file.into(), value.into())).collect(),
        });
        Self {
            name: launch.name.clone(),
            command: command.clone(),
            env: env.clone(),
            directory: current_dir.clone().map(Into::into),
            oom_score: *oom_score,
            cgroup,
            forks: launch.start_method == StartMethod::ForkServer,
            start_timeout: launch.start_timeout,
            max_payload: launch.max_payload as u64,
            sandboxed: launch.sandbox.is_some(),
            inner_threads,
            workers,
            preload: launch.preload.as_ref().map(FarCall::new),
            hooks: launch.hooks.iter().map(|(stage, call)| (*stage, FarCall::new(call))).collect(),
        }
    }

    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }

    /// What an agent was sent.
    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        postcard::from_bytes(bytes).map_err(|_| malformed("a malformed way to start workers"))
    }

    /// As the agent starts them.
    pub(crate) fn into_launch(self) -> Launch {
        let cgroup = self.cgroup.map(|FarCgroup { home, values }| {
            let group = home.into_iter().fold(Cgroup::new(), Cgroup::parent);
            values.into_iter().fold(group, |group, (file, value)| group.set(file, value))
        });
        let program = Program {
            command: self.command,
            env: self.env,
            current_dir: self.directory.map(PathBuf::from),
            oom_score: self.oom_score,
            cgroup,
            ..Program::default()
        };
        let mut launch = Launch {
            name: self.name,
            program,
            start_method: if self.forks { StartMethod::ForkServer } else { StartMethod::Spawn },
            start_timeout: self.start_timeout,
            max_payload: usize::try_from(self.max_payload).unwrap_or(usize::MAX),
            preload: self.preload.map(FarCall::into_call),
            hooks: self.hooks.into_iter().map(|(stage, call)| (stage, call.into_call())).collect(),
            ..Launch::default()
        };
        launch.set_sends_memory(self.sandboxed);
        let (asked, workers) = (self.inner_threads, self.workers);
        launch.settle(asked.map(|asked| inner_threads(asked, workers.unwrap_or(usize::MAX))));
        launch
    }
}
