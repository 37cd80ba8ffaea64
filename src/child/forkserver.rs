//! The fork server: a process with one thread that forks the workers of a pool.
//!
//! It runs the preload once. What that has built is in the memory of each worker from its start,
//! and takes memory only once, as long as nobody writes to it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use super::call::cut_failure;
use super::hooks::ServerHooks;
use super::last_words;
use super::leftovers::{Leftovers, threads_at_start, threads_left};
use super::original::alone;
use super::panic::record_panics;
use super::prepare::preload;
use super::request::serve_on;
use super::stream::FrameReader;
use super::worker;
use crate::base::ParentLink;
use crate::base::log::print;
use crate::function::{Function, Registry, TestWorker};
use crate::sys::descriptor::{
    Descriptor, RawDescriptor, close_inherited, open_descriptors, wait_for_input,
};
use crate::sys::fork::{
    Fork, Lifeline, OtherThread, SingleThreaded, flush_output, keep_exits, kill_group, reap_child,
    use_huge_pages,
};
use crate::sys::pipe::WorkerPipes;
use crate::sys::process::{kill_own_group, open_parent};
use crate::sys::socket::{receive_with_descriptors, take_control_socket};
use crate::wire::fork::{Answer, MOST_TEXT, Request, SIZE};
use crate::wire::frame::{PREAMBLE, VERSION, put_frame, split_header};
use crate::wire::hello::{ServerHello, WorkerHello, peek_version};
use crate::wire::message::{HookFailure, HookStage, InitFailure, Kind, Ready};

/// Serves the pool and ends the process.
pub(crate) fn run() -> ! {
    match meet_parent().and_then(start) {
        Ok(Some(server)) => server.run(),
        Ok(None) => std::process::exit(0),
        Err(error) => {
            print(format_args!("a fork server, which a pool has to start, has no parent: {error}"));
            std::process::exit(1)
        }
    }
}

/// Waits for a pool to begin to talk. From then on this process ends with the pool's.
fn meet_parent() -> io::Result<(Connection, io::Result<Lifeline>)> {
    let socket = take_control_socket()?;
    let (_, mut fds) = receive_with_descriptors(&socket, &mut [0])?;
    let reader = fds.pop().ok_or(io::ErrorKind::UnexpectedEof)?;
    let own = Lifeline::hold(&reader);
    Ok((Connection { socket: Arc::new(socket), lifeline: Arc::new(reader.into()) }, own))
}

/// What connects this process to the pool.
struct Connection {
    /// There is one reference to it while workers are forked, so that it is closed in each of them.
    socket: Arc<File>,
    /// By which workers will end with the pool's process.
    lifeline: Arc<File>,
}

/// Shakes hands and runs the preload. `None` if this process cannot serve the pool, and has said
/// why.
fn start((connection, line): (Connection, io::Result<Lifeline>)) -> io::Result<Option<Server>> {
    let socket = Arc::clone(&connection.socket);
    let mut reader = FrameReader::new(Arc::clone(&socket))?;
    let mut incoming = reader.read()?;
    let (_, body) = incoming.parse()?;
    if peek_version(body)? != VERSION {
        return refuse(&socket, Vec::new());
    }
    let (hello, args) = split_header::<ServerHello>(body)?;
    let mut left = 0..args.len();
    let preload_call = hello.preload.map(|call| (call.function, call.take_arguments(&mut left)));
    let hooks = ServerHooks::new(&hello, args, left);
    let args = args.len();
    let functions = match Registry::global().resolve(&hello.functions) {
        Ok(functions) => functions,
        Err(differences) => return refuse(&socket, differences),
    };
    greet(&socket, Vec::new())?;
    let input = Arc::clone(&connection.lifeline);
    let parent = hello.identity.parent_pid().and_then(open_parent);
    serve_on(&hello.identity);
    hello.identity.adopt(ParentLink { input, is_silent: true });
    record_panics(last_words::tell);
    close_inherited(&hello.pass_fds);
    hello.oom_score.apply();
    let before = open_descriptors();
    let prepared = single_threaded_at_start().and_then(|()| {
        let line = line.map_err(|error| untied(&error))?;
        if let Some((function, part)) = preload_call {
            let args = incoming.payload_part(args, part);
            alone(|| preload(&functions, function, args))?;
        }
        let (proof, remarks) = ready_to_fork(&before)?;
        Ok((line, proof, remarks))
    });
    match prepared {
        Ok((line, proof, remarks)) => {
            send(&socket, Kind::Ready, &Ready { segments: false, remarks })?;
            // From now on it sees the end by its socket, and has to live to see to its workers.
            line.only_wake()?;
            drop((reader, socket));
            let workers = Vec::new();
            Ok(Some(Server { connection, parent, functions, hooks, proof, workers, line }))
        }
        Err(failure) => {
            send(&socket, Kind::PreloadFailed, &cut_failure(failure, MOST_TEXT))?;
            Ok(None)
        }
    }
}

fn greet(socket: &File, differences: Vec<String>) -> io::Result<()> {
    let answer = WorkerHello { version: VERSION, no_page: Some(0), differences };
    let mut message = PREAMBLE.to_vec();
    put_frame(&mut message, Kind::WorkerHello, &answer, 0)?;
    { socket }.write_all(&message)
}

fn refuse(socket: &File, differences: Vec<String>) -> io::Result<Option<Server>> {
    greet(socket, differences)?;
    Ok(None)
}

fn send(mut socket: &File, kind: Kind, header: &impl serde::Serialize) -> io::Result<()> {
    let mut message = Vec::new();
    put_frame(&mut message, kind, header, 0)?;
    socket.write_all(&message)
}

/// A test harness runs the test that turns into the server on a thread of its own, for which its
/// main thread waits.
fn most_threads() -> usize {
    if TestWorker::name().is_some() { 2 } else { 1 }
}

fn single_threaded_at_start() -> Result<(), InitFailure> {
    match SingleThreaded::prove(most_threads()) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(others)) => Err(InitFailure::CannotFork(threads_at_start(&others))),
        Err(error) => Err(unknown_threads(&error)),
    }
}

/// After the preload, which may have left something behind that is to be told.
fn ready_to_fork(before: &[RawDescriptor]) -> Result<(SingleThreaded, Vec<String>), InitFailure> {
    flush_output();
    use_huge_pages();
    keep_exits();
    let Leftovers { refusal, remarks } = Leftovers::look(before);
    if let Some(text) = refusal {
        return Err(InitFailure::CannotFork(text));
    }
    match SingleThreaded::prove(most_threads()) {
        Ok(Ok(proof)) => Ok((proof, remarks)),
        Ok(Err(others)) => Err(InitFailure::CannotFork(threads_left(&unexpected(others)))),
        Err(error) => Err(unknown_threads(&error)),
    }
}

/// Without the one that a test harness has in any case.
fn unexpected(mut others: Vec<OtherThread>) -> Vec<OtherThread> {
    others.retain(|thread| !thread.is_first || most_threads() == 1);
    others
}

/// After hooks, which might have started some.
fn single_threaded_again() -> Result<SingleThreaded, NotForked> {
    flush_output();
    match SingleThreaded::prove(most_threads()) {
        Ok(Ok(proof)) => Ok(proof),
        Ok(Err(others)) => {
            let text = format!("its hooks have left threads behind ({})", unexpected(others).len());
            let failure = InitFailure::CannotFork(text);
            Err(NotForked::Hook(HookFailure::new(HookStage::Before, 0, failure)))
        }
        Err(error) => Err(NotForked::System(error)),
    }
}

fn untied(error: &io::Error) -> InitFailure {
    InitFailure::CannotFork(format!("it cannot be tied to the pool's process: {error}"))
}

fn unknown_threads(error: &io::Error) -> InitFailure {
    let hint = if error.kind() == io::ErrorKind::NotFound { "; is `/proc` mounted?" } else { "" };
    InitFailure::CannotFork(format!("its threads cannot be counted: {error}{hint}"))
}

struct Server {
    connection: Connection,
    /// Tells of the end of the pool's process also if a forked copy of that keeps the socket open.
    parent: Option<Descriptor>,
    functions: Vec<&'static Function>,
    hooks: ServerHooks,
    proof: SingleThreaded,
    /// Those that were not reaped, so that these pids are theirs.
    workers: Vec<u32>,
    /// Lets it go on when the pool's process has ended, should it be stopped.
    line: Lifeline,
}

impl Server {
    /// Answers until the pool has gone.
    fn run(mut self) -> ! {
        loop {
            match self.step() {
                Ok(ServerStep::Served) => {}
                Ok(ServerStep::Worker(pipes)) => {
                    let Self { connection, parent, functions, line, .. } = self;
                    drop((connection.socket, parent, line));
                    worker::run_forked(pipes, &connection.lifeline, functions)
                }
                Err(_) => self.end(),
            }
        }
    }

    /// Workers see for themselves that the pool has gone, unless a task has closed their lifeline.
    fn end(self) -> ! {
        self.workers.into_iter().for_each(kill_group);
        kill_own_group()
    }

    fn step(&mut self) -> io::Result<ServerStep> {
        let (request, fds) = self.receive()?;
        let answered = match request {
            Request::Fork => match WorkerPipes::try_from(fds).map(|pipes| (self.fork(), pipes)) {
                Ok((Ok(Fork::Child), pipes)) => return Ok(ServerStep::Worker(pipes)),
                Ok((Ok(Fork::Parent { child: pid }), _)) => Ok(Answer::Forked { pid }),
                Ok((Err(NotForked::Hook(failure)), _)) => return self.tell(&failure),
                Ok((Err(NotForked::System(error)), _)) | Err(error) => Err(error),
            },
            Request::Reap { pid } => {
                let status = reap_child(pid);
                self.workers.retain(|worker| *worker != pid);
                status.map(|status| Answer::Reaped { status })
            }
        };
        let answer = answered.unwrap_or_else(|error| Answer::Failed {
            errno: error.raw_os_error().unwrap_or_default(),
        });
        { &*self.connection.socket }.write_all(&answer.to_bytes())?;
        Ok(ServerStep::Served)
    }

    /// Which hook has failed, so that there is no worker.
    fn tell(&self, failure: &HookFailure) -> io::Result<ServerStep> {
        let mut frame = Vec::new();
        put_frame(&mut frame, Kind::HookFailed, failure, 0)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let answer = Answer::HookFailed { length }.to_bytes();
        { &*self.connection.socket }.write_all(&[&answer[..], &frame].concat())?;
        Ok(ServerStep::Served)
    }

    /// With the hooks around it. Those for the parent also follow a fork that has failed: what was
    /// taken before it is to be given back.
    fn fork(&mut self) -> Result<Fork, NotForked> {
        let before = self.hooks.run_before(&self.functions).map_err(NotForked::Hook);
        let forked = before.and_then(|()| {
            if !self.hooks.is_empty() {
                self.proof = single_threaded_again()?;
            }
            self.proof.fork().map_err(NotForked::System)
        });
        if matches!(forked, Ok(Fork::Child)) {
            return forked;
        }
        let after = self.hooks.run_after(&self.functions).map_err(NotForked::Hook);
        match (forked, after) {
            (Ok(Fork::Parent { child }), Err(failure)) => {
                kill_group(child);
                let _ = reap_child(child); // it has just been killed
                Err(failure)
            }
            (Ok(Fork::Parent { child }), Ok(())) => {
                self.workers.push(child);
                Ok(Fork::Parent { child })
            }
            (forked, _) => forked,
        }
    }

    fn receive(&self) -> io::Result<(Request, Vec<Descriptor>)> {
        let (mut bytes, mut length, mut fds) = ([0; SIZE], 0, Vec::new());
        while length < SIZE {
            let socket = &*self.connection.socket;
            if !wait_for_input(socket, self.parent.as_ref()) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (received, more) = receive_with_descriptors(socket, &mut bytes[length..])?;
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += received;
            fds.extend(more);
        }
        Ok((Request::from_bytes(bytes)?, fds))
    }
}

/// Why there is no worker.
enum NotForked {
    System(io::Error),
    Hook(HookFailure),
}

enum ServerStep {
    Served,
    /// This process is a new worker, with these pipes.
    Worker(WorkerPipes),
}
