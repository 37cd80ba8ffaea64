//! Other pools, each in a process of its own that does what it is asked for. None of them has to be
//! there.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::harness::{Aim, Case};

/// Whoever says nothing for so many seconds has failed.
const LONGEST: i64 = 60;

pub(crate) const FUTURES: &str = "concurrent.futures";
const POOL: &str = "multiprocessing.Pool";
const OF_NODE: [&str; 4] = ["jest-worker", "workerpool", "tinypool", "piscina"];
const PROCSPAWN: &str = "procspawn";

/// All of them; each is started when it is first needed.
pub(crate) struct Peers {
    all: Vec<Rc<Peer>>,
}

impl Peers {
    /// `build` has those built that are not there yet, if that is all they need.
    pub(crate) fn new(build: bool) -> Self {
        let names = [FUTURES, POOL].into_iter().chain(OF_NODE).chain([PROCSPAWN]);
        let peer = |name| Rc::new(Peer { name, build, state: RefCell::new(State::Waiting) });
        Self { all: names.map(peer).collect() }
    }

    /// Those that can do all that a pool can.
    pub(crate) fn all(&self) -> &[Rc<Peer>] {
        &self.all
    }

    /// The two of Python: the only ones that send many items together.
    pub(crate) fn of_python(&self) -> &[Rc<Peer>] {
        &self.all[..2]
    }

    pub(crate) fn versions(&self) -> Vec<String> {
        let versions = self.all.iter().filter_map(|peer| match &*peer.state.borrow() {
            State::Running(running) => Some(running.version.clone()),
            State::Waiting | State::Absent(_) => None,
        });
        let mut versions: Vec<String> = versions.collect();
        versions.dedup();
        versions
    }
}

/// Adds each of them to a case.
pub(crate) fn against(case: Case, peers: &[Rc<Peer>], aims: &[(&str, Aim)]) -> Case {
    peers.iter().fold(case, |case, peer| {
        let aims = aims.iter().filter(|(name, _)| *name == peer.name).map(|(_, aim)| *aim);
        let absent = peer.clone();
        case.peer(peer.name, move || absent.absence(), &aims.collect::<Vec<_>>())
    })
}

/// What each of them takes for a request; see `benches/peers/peers.py`.
pub(crate) fn ask(peers: &[Rc<Peer>], request: &str, count: usize) -> Vec<Vec<f64>> {
    peers.iter().map(|peer| peer.ask(request, count)).collect()
}

pub(crate) struct Peer {
    name: &'static str,
    build: bool,
    state: RefCell<State>,
}

enum State {
    Waiting,
    Running(Running),
    /// Why.
    Absent(String),
}

struct Running {
    child: Child,
    /// There until it is to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    version: String,
}

impl Peer {
    /// Nothing if it is absent, or has failed.
    pub(crate) fn ask(&self, request: &str, count: usize) -> Vec<f64> {
        let mut state = self.state.borrow_mut();
        if matches!(*state, State::Waiting) {
            *state = self.start().map_or_else(State::Absent, State::Running);
        }
        let State::Running(running) = &mut *state else { return Vec::new() };
        running.ask(&format!("{request} {count}")).unwrap_or_else(|error| {
            eprintln!("{} has failed: {request} {count}: {error}", self.name);
            *state = State::Absent("failed".to_owned());
            Vec::new()
        })
    }

    fn absence(&self) -> String {
        match &*self.state.borrow() {
            State::Absent(why) => why.clone(),
            State::Waiting | State::Running(_) => "does not do this".to_owned(),
        }
    }

    fn start(&self) -> Result<Running, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut command = match self.name {
            FUTURES | POOL => {
                let mut python = Command::new("python3");
                python.arg(folder.join("peers.py")).env("PYTHONDONTWRITEBYTECODE", "1");
                python
            }
            PROCSPAWN => Command::new(self.procspawn(&folder.join("procspawn"))?),
            name if folder.join("node_modules").join(name).exists() => {
                let mut node = Command::new("node");
                node.arg(folder.join("peers.mjs"));
                node
            }
            _ => return Err("not installed".to_owned()),
        };
        let started = command.arg(self.name).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Running::new(started.map_err(|_| "not installed".to_owned())?)
    }

    fn procspawn(&self, folder: &Path) -> Result<PathBuf, String> {
        let target = folder.join("target");
        if self.build {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
            cargo.args(["build", "--release", "--locked", "--target-dir"]).arg(&target);
            let status = cargo.current_dir(folder).status().map_err(|error| error.to_string())?;
            if !status.success() {
                return Err("cannot be built".to_owned());
            }
        }
        let program = target.join("release/procspawn-peer");
        if program.exists() { Ok(program) } else { Err("not built, see --peers".to_owned()) }
    }
}

impl Running {
    fn new(mut child: Child) -> Result<Self, String> {
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut running = Self { child, stdin, stdout, version: String::new() };
        let line = running.line().map_err(|_| "does not start".to_owned())?;
        let version = line.strip_prefix("ready ").ok_or("does not start")?;
        version.clone_into(&mut running.version);
        Ok(running)
    }

    fn ask(&mut self, request: &str) -> io::Result<Vec<f64>> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(stdin, "{request}")?;
        let answer = self.line()?;
        let numbers: Result<Vec<f64>, _> = answer.split_whitespace().map(str::parse).collect();
        numbers.map_err(io::Error::other)
    }

    fn line(&mut self) -> io::Result<String> {
        let limit = Timespec { tv_sec: LONGEST, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(self.stdout.get_ref(), PollFlags::IN)], Some(&limit))?;
        let mut line = String::new();
        if ready == 0 || self.stdout.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin = None;
        // If it were killed before it has ended its workers, those of some pools would stay.
        let _ = self.line(); // the end of the stream, or it takes too long
        let _ = self.child.kill(); // or it has gone
        let _ = self.child.wait();
    }
}
