//! How the workers of a pool are started, and what is said when that fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::base::{Identity, WorkerId, log};
use crate::error::{PoolProcess, Refusal, StartError, WorkerDeath};
use crate::function::{Call, Registry};
use crate::memory::Payload;
use crate::memory::shared::Kept;
use crate::parent::oom::OomWatch;
use crate::parent::output::{FailedOutput, WorkerOutput};
use crate::parent::program::Program;
use crate::sys::descriptor::numbers;
use crate::sys::memory::SharedPageRef;
use crate::sys::process::Exit;
use crate::sys::resources::MemoryCgroup;
use crate::sys::sandbox::SandboxRules;
use crate::sys::signal::{SIGCHLD, is_ignored};
use crate::wire::frame::{PREAMBLE, VERSION, put_frame};
use crate::wire::hello::{CallHeader, Hello, ServerHello};
use crate::wire::message::{HookFailure, HookStage, Kind, Stop};

/// How long a child may live on that has closed its output.
pub(super) const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// How workers are started; the counterpart of Python's start methods of the same names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// Each worker is a fresh start of the program. A start takes about a millisecond, and works on
    /// every platform.
    #[default]
    Spawn,
    /// A server process runs the [`preload`](crate::Builder::preload) once, and then forks the
    /// workers. A fork takes a fraction of a millisecond. All workers have in memory what was
    /// preloaded, and it takes memory only once, as long as they only read it. The server is
    /// started like a worker, but has only one thread. It runs as long as the pool does; several
    /// pools may [share one](crate::ForkServer).
    ///
    /// It needs Linux 5.3 or later, and no filter of system calls that refuses `pidfd_open`.
    /// Elsewhere no worker can be started, which breaks the pool. A
    /// [chapter](crate::guide::start_methods) compares the two methods, and says why this process
    /// itself is never forked.
    ForkServer,
}

/// How the workers of a pool are started. What each of the settings means the builder says.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The pool's.
    pub(crate) name: String,
    /// The name of the host, if the pool was built with hosts.
    pub(crate) host: Option<Arc<str>>,
    /// It is not this machine.
    pub(crate) is_far: bool,
    pub(crate) program: Program,
    pub(crate) start_method: StartMethod,
    pub(crate) start_timeout: Duration,
    pub(crate) output: WorkerOutput,
    pub(crate) failed_output: FailedOutput,
    pub(crate) max_payload: usize,
    /// What the pool has found for it.
    pub(crate) shared_memory: usize,
    /// The control group that this process was in when the pool was built.
    pub(crate) cgroup: Option<&'static MemoryCgroup>,
    /// A worker could not open what this process shares, so it is sent to those that come.
    pub(crate) sends_memory: Arc<AtomicBool>,
    pub(crate) max_tasks_per_child: Option<u64>,
    pub(crate) max_memory_per_child: Option<u64>,
    pub(crate) preload: Option<Call>,
    /// Around forks, in the order in which they were asked for.
    pub(crate) hooks: Vec<(HookStage, Call)>,
    pub(crate) initializer: Option<Call>,
    pub(crate) sandbox: Option<SandboxRules>,
    pub(crate) exit_hook: Option<Call>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            name: "procpool".to_owned(),
            host: None,
            is_far: false,
            program: Program::default(),
            start_method: StartMethod::default(),
            start_timeout: Duration::from_secs(30),
            output: WorkerOutput::default(),
            failed_output: FailedOutput::default(),
            max_payload: 1 << 30,
            shared_memory: 0,
            cgroup: None,
            sends_memory: Arc::default(),
            max_tasks_per_child: None,
            max_memory_per_child: None,
            preload: None,
            hooks: Vec::new(),
            initializer: None,
            sandbox: None,
            exit_hook: None,
        }
    }
}

fn header(call: &Call) -> CallHeader {
    CallHeader { function: call.function, length: call.arguments.len() as u64 }
}

impl Launch {
    /// After how many tasks workers leave by themselves. With an exit hook they wait to be told to,
    /// as that is when they are told of the hook.
    pub(crate) fn leaves_after(&self) -> Option<u64> {
        self.max_tasks_per_child.filter(|_| self.exit_hook.is_none())
    }

    /// Whether what is shared with workers is sent to them. In a sandbox they open nothing of
    /// another process.
    pub(crate) fn sends_memory(&self) -> bool {
        self.sandbox.is_some() || self.sends_memory.load(Ordering::Relaxed)
    }

    /// What is shared with workers is sent to them, if that is so.
    #[cfg(feature = "hosts")]
    pub(crate) fn set_sends_memory(&self, is_so: bool) {
        self.sends_memory.store(is_so, Ordering::Relaxed);
    }

    /// As it is on another host, where nothing is shared.
    #[cfg(feature = "hosts")]
    pub(crate) fn on_host(&self, name: &Arc<str>) -> Self {
        let (host, sends_memory) = (Some(Arc::clone(name)), Arc::default());
        let launch = self.clone();
        Self { host, is_far: true, cgroup: None, shared_memory: 0, sends_memory, ..launch }
    }

    /// How many bytes each worker may share with its parent.
    pub(crate) fn memory_for_results(&self) -> u64 {
        self.shared_memory as u64 / 2
    }

    /// Looks at what is around this process, from which workers are started later.
    pub(crate) fn settle(&mut self, inner_threads: Option<usize>) {
        self.program.settle(inner_threads);
        self.cgroup = MemoryCgroup::own();
    }

    /// The most bytes that this process and its workers may have together.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.cgroup?.limit()
    }

    /// For a worker that is about to be started.
    pub(super) fn oom_watch(&self) -> OomWatch {
        OomWatch::new(self.cgroup)
    }

    /// Of a fork server that several pools share.
    pub(crate) fn of_server(mut self, inner_threads: Option<usize>) -> Self {
        self.start_method = StartMethod::ForkServer;
        self.program.settle(inner_threads);
        self
    }

    fn hooks(&self, stage: HookStage) -> impl Iterator<Item = &Call> {
        self.hooks.iter().filter(move |hook| hook.0 == stage).map(|hook| &hook.1)
    }

    /// The hello, with what comes behind it.
    pub(crate) fn hello(
        &self,
        worker: WorkerId,
        claims: Option<SharedPageRef>,
    ) -> (Hello, Payload) {
        // A worker that is forked has its functions from the server, which ran the preload.
        let is_fresh = self.start_method == StartMethod::Spawn;
        let functions = is_fresh.then(|| Registry::global().names());
        let preload = self.preload.as_ref().filter(|_| is_fresh);
        let after_fork: Vec<_> = self.hooks(HookStage::After).filter(|_| !is_fresh).collect();
        let initializer = self.initializer.as_ref();
        let hello = Hello {
            version: VERSION,
            worker,
            identity: Identity::of_worker(&self.name, worker),
            max_payload: self.max_payload as u64,
            max_memory: self.max_memory_per_child,
            limits: self.program.limits,
            oom_score: self.program.oom_score,
            pass_fds: numbers(&self.program.pass_fds),
            max_tasks: self.leaves_after(),
            functions,
            preload: preload.map(header),
            after_fork: after_fork.iter().map(|call| header(call)).collect(),
            initializer: initializer.map(|call| call.function),
            sandbox: self.sandbox.clone(),
            claims,
            shared_memory: self.memory_for_results(),
        };
        let calls: Vec<_> = preload.into_iter().chain(after_fork).chain(initializer).collect();
        let arguments = match &calls[..] {
            [call] => call.arguments.clone(), // which may be large
            calls => {
                let parts: Vec<_> = calls.iter().map(|call| &call.arguments[..]).collect();
                let mut kept = Kept::default();
                for call in calls {
                    kept.add(call.arguments.kept());
                }
                Payload::from(Bytes::from(parts.concat())).with(kept)
            }
        };
        (hello, arguments)
    }

    pub(crate) fn stop(&self) -> (Stop, Payload) {
        let call = self.exit_hook.as_ref();
        let arguments = call.map(|call| call.arguments.clone()).unwrap_or_default();
        (Stop { exit_hook: call.map(|call| call.function) }, arguments)
    }

    /// What a fork server is told first, with the arguments of what it calls.
    pub(crate) fn server_hello(&self, worker: WorkerId) -> io::Result<BytesMut> {
        let before: Vec<_> = self.hooks(HookStage::Before).collect();
        let after: Vec<_> = self.hooks(HookStage::AfterInParent).collect();
        let headers = |calls: &[&Call]| calls.iter().map(|call| header(call)).collect();
        let hello = ServerHello {
            version: VERSION,
            identity: Identity::of_worker(&self.name, worker),
            functions: Registry::global().names(),
            preload: self.preload.as_ref().map(header),
            before_fork: headers(&before),
            after_fork_in_parent: headers(&after),
            pass_fds: numbers(&self.program.pass_fds),
            oom_score: self.program.oom_score,
        };
        let calls: Vec<_> = self.preload.iter().chain(before).chain(after).collect();
        let length = calls.iter().map(|call| call.arguments.len()).sum();
        let mut message = PREAMBLE.to_vec();
        put_frame(&mut message, Kind::Hello, &hello, length)?;
        for call in calls {
            message.extend_from_slice(&call.arguments[..]);
        }
        Ok(BytesMut::from(&message[..]))
    }

    /// What to say of a process that could not be started.
    pub(crate) fn failed(&self, error: io::Error) -> StartError {
        self.program.failed(error)
    }

    /// What to say of a process that cannot serve.
    pub(crate) fn refused(&self, place: PoolProcess, refusal: Refusal) -> StartError {
        let refusal = match refusal {
            Refusal::NotInitialized if self.program.command.is_some() => Refusal::NoWorker,
            refusal => refusal,
        };
        let call = match &refusal {
            Refusal::Initializer(_) => self.initializer.as_ref(),
            Refusal::Preload(_) => self.preload.as_ref(),
            Refusal::Hook(HookFailure { stage, number, .. }) => {
                self.hooks(*stage).nth(*number as usize)
            }
            _ => None,
        };
        StartError::refused(place, call.map_or("", |call| call.name), refusal)
    }

    /// What to say of a process that has died before it was ready, perhaps without a word.
    pub(crate) fn died(&self, death: WorkerDeath, silent: bool) -> StartError {
        self.failed_output.set(death.stderr_tail());
        let hinted = silent && !death.was_killed() && !death.was_asked_to_end();
        let hint = if hinted { self.program.advice(&death) } else { String::new() };
        StartError::Died { death, hint }
    }

    /// What to log of what the preload has left behind in a fork server.
    pub(crate) fn remark_on_preload(&self, pid: u32, remark: &str) {
        let (pool, preload) = (&self.name, self.preload.as_ref().map_or("", |call| call.name));
        log::warning!(
            "{pool}: the preload `{preload}` has left behind, in the fork server (pid {pid}), \
             {remark}; make it in the initializer, which runs in each worker"
        );
    }

    /// Why nobody knows how a worker has ended, if that is so.
    pub(crate) fn unknown_end(&self, exit: Option<Exit>) -> Option<String> {
        if exit.is_some() {
            return None;
        }
        let reason = match self.start_method {
            StartMethod::ForkServer => "its fork server has died before it",
            StartMethod::Spawn if is_ignored(SIGCHLD) => "this program ignores SIGCHLD",
            StartMethod::Spawn => "other code of this program has waited for it",
        };
        Some(format!(
            "how it ended is not known, as {reason}, and the system does not tell (Linux 6.15 does)"
        ))
    }

    /// What to say of a worker that was forked when its time was over.
    pub(crate) fn forked_too_late(&self, pid: u32) -> StartError {
        let hint = "; until then its fork server was busy with others, or was starting";
        StartError::Timeout {
            place: PoolProcess::Worker(pid),
            limit: self.start_timeout,
            hint: hint.to_owned(),
        }
    }

    /// What to say of a process that takes too long.
    pub(crate) fn timed_out(&self, place: PoolProcess, initializing: bool) -> StartError {
        let limit = self.start_timeout;
        let is_worker = matches!(place, PoolProcess::Worker(_));
        let is_forked = self.start_method == StartMethod::ForkServer;
        let has_hooks = is_worker && is_forked && self.hooks(HookStage::After).next().is_some();
        match (self.initializer.as_ref().filter(|_| is_worker), &self.preload) {
            _ if !initializing => StartError::Timeout { place, limit, hint: self.program.hint() },
            (Some(_), _) if has_hooks => {
                let hint = "; its `after_fork` hooks, or its initializer, did not end";
                StartError::Timeout { place, limit, hint: hint.to_owned() }
            }
            (None, _) if has_hooks => {
                let hint = "; its `after_fork` hooks did not end";
                StartError::Timeout { place, limit, hint: hint.to_owned() }
            }
            (Some(call), _) => StartError::initializer_timed_out(call.name, place, limit),
            (None, Some(call)) => StartError::preload_timed_out(call.name, place, limit),
            (None, None) => StartError::Timeout { place, limit, hint: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_an_end_has_a_reason() {
        let known = Exit { code: Some(3), signal: None };
        for (start_method, reason) in [
            (StartMethod::Spawn, "as other code of this program has waited for it, and the system"),
            (StartMethod::ForkServer, "as its fork server has died before it, and the system"),
        ] {
            let launch = Launch { start_method, ..Launch::default() };
            assert_eq!(launch.unknown_end(Some(known)), None);
            let text = launch.unknown_end(None).unwrap();
            assert!(text.contains(reason) && text.contains("Linux 6.15"), "{text}");
        }
    }
}
