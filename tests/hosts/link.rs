//! The network between this machine and a host: a pair of virtual interfaces, one of which is in the
//! host's namespace. What is sent can be lost, in silence, or be late.
//!
//! `tc netem` would do both, but many kernels are built without. Here, packets get lost because each
//! side addresses them to an interface that is not there; and they are late because they
//! come through this process, which keeps them for a while:
//!
//! ```text
//! here │ pp7 ── near ── macvtap ─▶ relay ─▶ macvtap ── far ── eth0 │ there (all but pp7)
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::tools::{Scratch, find, run, run_anyhow};

const HERE: &str = "02:00:00:00:00:01";
const THERE: &str = "02:00:00:00:00:02";
const NOWHERE: &str = "02:00:00:00:00:03";

/// How many networks of four addresses 198.18.0.0/15 has, which is for such tests.
const NETWORKS: u16 = 1 << 15;

pub(crate) struct Link {
    /// Chooses the addresses and names the interface here, so each is taken once on a machine.
    number: u16,
    /// Keeps the other namespace even when nobody is left in it.
    namespace: File,
    relay: Option<Relay>,
}

impl Link {
    /// To the namespace of this process. With a delay, packets of each direction are so late.
    pub(crate) fn new(process: u32, delay: Option<Duration>) -> Self {
        let namespace = File::open(format!("/proc/{process}/ns/net")).unwrap();
        let peer = if delay.is_some() { "near" } else { "eth0" };
        let number = claim(process, peer);
        let mut link = Self { number, namespace, relay: None };
        if delay.is_some() {
            link.there(&relay_lines());
        }
        let (near, far) = (link.interface(), link.address());
        link.here(&format!("addr add {}/30 dev {near}\nlink set {near} up\n", link.network(1)));
        link.there(&format!("link set lo up\naddr add {far}/30 dev eth0\nlink set eth0 up\n"));
        link.pass_packets();
        link.relay = delay.map(|delay| Relay::new(process, delay));
        link
    }

    /// The host's.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.network(2)
    }

    /// The name of the interface here.
    pub(crate) fn interface(&self) -> String {
        format!("pp{}", self.number)
    }

    /// From now on everything is lost, in both directions, and nobody is told.
    pub(crate) fn drop_packets(&self) {
        self.send_to(NOWHERE, NOWHERE);
    }

    pub(crate) fn pass_packets(&self) {
        self.send_to(HERE, THERE);
    }

    /// From now on packets are so late. Those that are on the way are not overtaken.
    pub(crate) fn delay(&self, delay: Duration) {
        self.relay.as_ref().expect("it began with a delay").delay(delay);
    }

    /// Neither side asks where the other one is.
    fn send_to(&self, here: &str, there: &str) {
        let neighbor = |address, place, interface: &str| {
            format!("neigh replace {address} lladdr {place} dev {interface} nud permanent\n")
        };
        self.here(&neighbor(self.network(2), there, &self.interface()));
        self.there(&neighbor(self.network(1), here, "eth0"));
    }

    fn network(&self, host: u32) -> Ipv4Addr {
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        (first + 4 * u32::from(self.number) + host).into()
    }

    #[expect(clippy::unused_self, reason = "as `there`")]
    fn here(&self, lines: &str) {
        run(&mut ip_batch(Command::new(find("ip").unwrap())), lines);
    }

    fn there(&self, lines: &str) {
        use std::os::fd::AsRawFd;
        let fd = self.namespace.as_raw_fd();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/fd/{fd}", std::process::id()));
        command.arg(find("ip").unwrap());
        run(&mut ip_batch(command), lines);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relay = None; // it would keep the namespace
        let ip = find("ip").unwrap();
        let mut delete = Command::new(ip);
        run_anyhow(delete.args(["link", "delete", &self.interface()]), "");
    }
}

fn ip_batch(mut command: Command) -> Command {
    command.args(["-batch", "-"]);
    command
}

/// Makes the pair of interfaces; the name of the one here is free, or becomes somebody else's
/// meanwhile, in which case the next one is tried.
fn claim(process: u32, peer: &str) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % u32::from(NETWORKS)).unwrap();
    for _ in 0..100 {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % NETWORKS;
        let ends = format!("pp{number} address {HERE} type veth peer name {peer} address {THERE}");
        let add = format!("link add {ends} netns {process}");
        let mut command = Command::new(find("ip").unwrap());
        let output = run_anyhow(command.args(add.split(' ')), "");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return number;
        }
        assert!(said.contains("File exists"), "{add}: {said}");
    }
    panic!("no name is free");
}

// ----- packets that are late -----

/// What is in the host's namespace, beside the `near` end of the pair that reaches here.
fn relay_lines() -> String {
    let ends = ["near", "far"].map(|end| {
        format!(
            "link add link {end} name {end}tap type macvtap mode passthru\n\
             link set {end} up\nlink set {end}tap up\n"
        )
    });
    format!("link add far type veth peer name eth0 address {THERE}\n{}", ends.concat())
}

/// A thread that reads frames at either end, and writes them at the other one when they are due.
struct Relay {
    /// In microseconds.
    delay: Arc<AtomicU64>,
    /// Dropped first, so that the thread ends.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn new(process: u32, delay: Duration) -> Self {
        let ends = ["near", "far"].map(|end| open_tap(process, end));
        let (stopped, stop) = io::pipe().unwrap();
        let microseconds = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&microseconds);
        let thread = std::thread::spawn(move || carry(&ends, &stopped, &shared));
        let relay = Self { delay: microseconds, stop: Some(stop), thread: Some(thread) };
        relay.delay(delay);
        relay
    }

    fn delay(&self, delay: Duration) {
        self.delay.store(delay.as_micros().try_into().unwrap(), Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the relay has panicked");
    }
}

/// The character device by which the frames of an interface are read and written. Its number stands
/// in the host's own `/run/sys`.
fn open_tap(process: u32, end: &str) -> File {
    let interface = format!("/proc/{process}/root/run/sys/class/net/{end}tap");
    let index = std::fs::read_to_string(format!("{interface}/ifindex")).unwrap();
    let device = format!("{interface}/tap{}/dev", index.trim_end());
    let number = std::fs::read_to_string(device).unwrap();
    let (major, minor) = number.trim_end().split_once(':').unwrap();
    let scratch = Scratch::new();
    let node = scratch.file("tap");
    run(Command::new("mknod").args([&node, "c", major, minor]), "");
    File::options().read(true).write(true).open(Path::new(&node)).unwrap()
}

type Late = VecDeque<(Instant, Box<[u8]>)>;

fn carry(ends: &[File; 2], stopped: &PipeReader, delay: &AtomicU64) {
    let mut late: [Late; 2] = Default::default(); // read at one end, for the other
    let mut frame = vec![0; 1 << 17];
    loop {
        let next = late.iter().filter_map(|frames| Some(frames.front()?.0)).min();
        let ready = readable(ends, stopped, next);
        if ready[2] {
            return;
        }
        for (end, frames) in late.iter_mut().enumerate() {
            if ready[end] {
                let length = (&ends[end]).read(&mut frame).unwrap_or(0); // the interface goes away
                let due = Instant::now() + Duration::from_micros(delay.load(Ordering::Relaxed));
                let due = frames.back().map_or(due, |(last, _)| due.max(*last));
                frames.push_back((due, frame[..length].into()));
            }
            while frames.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                let (_, frame) = frames.pop_front().unwrap();
                let _ = (&ends[1 - end]).write(&frame); // as a network, it may lose something
            }
        }
    }
}

/// Waits until something can be read from one of these, or until a time.
fn readable(ends: &[File; 2], stopped: &PipeReader, until: Option<Instant>) -> [bool; 3] {
    let mut polled = [
        PollFd::new(&ends[0], PollFlags::IN),
        PollFd::new(&ends[1], PollFlags::IN),
        PollFd::new(stopped, PollFlags::IN),
    ];
    let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
    let rest = rest.map(|rest| Timespec::try_from(rest).unwrap());
    match poll(&mut polled, rest.as_ref()) {
        Ok(_) => polled.map(|polled| !polled.revents().is_empty()),
        Err(error) => panic!("{error}"),
    }
}
