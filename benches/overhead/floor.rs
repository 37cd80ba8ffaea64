//! What the machine allows: bare children of this binary, and what they do.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

const ECHO: &str = "bench-child-echo";
const ONE_BYTE: &str = "bench-child-one-byte";
/// Bytes that go each way in a round trip.
const PING: usize = 64;

/// Does what a child is to do, and says whether this is one.
pub(crate) fn is_child() -> io::Result<bool> {
    match std::env::args().nth(1).as_deref() {
        Some(ECHO) => echo_pings()?,
        Some(ONE_BYTE) => io::stdout().write_all(&[1])?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A child that sends back what it reads, by blocking calls.
pub(crate) struct Echo {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Echo {
    pub(crate) fn new() -> io::Result<Self> {
        let mut child = itself(ECHO)?.stdin(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ping(&mut self) -> io::Result<()> {
        self.send()?;
        self.receive()
    }

    pub(crate) fn send(&mut self) -> io::Result<()> {
        self.stdin.write_all(&[0; PING])
    }

    pub(crate) fn receive(&mut self) -> io::Result<()> {
        self.stdout.read_exact(&mut [0; PING])
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill(); // or it has gone
        let _ = self.child.wait();
    }
}

/// The child of [`Echo`].
fn echo_pings() -> io::Result<()> {
    // The standard handles would add a buffer and a lock.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = [0; PING];
    while input.read_exact(&mut buffer).is_ok() {
        output.write_all(&buffer)?;
    }
    Ok(())
}

/// Seconds until each of so many children that are started at once has written a byte; by two
/// threads, as starting one keeps a thread until the child's program is there.
pub(crate) fn bare_spawns(children: usize) -> f64 {
    let start = Instant::now();
    let spawn = |count| {
        let mut children: Vec<Child> = (0..count).map(|_| one_byte().expect("a child")).collect();
        for child in &mut children {
            let stdout = child.stdout.as_mut().expect("a pipe");
            stdout.read_exact(&mut [0]).expect("a byte");
        }
        children
    };
    let mut started = thread::scope(|scope| {
        let half = scope.spawn(|| spawn(children / 2));
        let mut started = spawn(children - children / 2);
        started.extend(half.join().expect("no panic"));
        started
    });
    let took = start.elapsed().as_secs_f64();
    for child in &mut started {
        child.wait().expect("a child");
    }
    took
}

/// Seconds until a child's first byte.
pub(crate) fn bare_spawn() -> f64 {
    let start = Instant::now();
    let mut child = one_byte().expect("a child");
    let stdout = child.stdout.as_mut().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a byte");
    let took = start.elapsed().as_secs_f64();
    child.wait().expect("a child");
    took
}

fn one_byte() -> io::Result<Child> {
    itself(ONE_BYTE)?.stdin(Stdio::null()).spawn()
}

fn itself(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).stdout(Stdio::piped());
    Ok(command)
}
