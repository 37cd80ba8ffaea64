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
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::container::Container;
use crate::tools::{find, run, run_anyhow};

const HERE: &str = "02:00:00:00:00:01";
const THERE: &str = "02:00:00:00:00:02";
const NOWHERE: &str = "02:00:00:00:00:03";
const PORT: &str = "02:00:00:00:00:04";

/// How many networks of sixteen addresses 198.18.0.0/15 has, which is for such tests.
const NETWORKS: u16 = 1 << 13;

/// What is between this machine and a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// A pair of interfaces.
    Direct,
    /// Packets of each direction are so late.
    Late(Duration),
    /// A bridge in the container, to which [others](Link::add) can be added.
    Bridge,
}

pub(crate) struct Link {
    /// Chooses the addresses and names the interface here, so each is taken once on a machine.
    number: u16,
    wiring: Wiring,
    /// That of the container.
    network: File,
    relay: Option<Relay>,
}

impl Link {
    pub(crate) fn new(container: &Container, wiring: Wiring) -> Self {
        let init = container.init();
        let (peer, extra) = match wiring {
            Wiring::Direct => ("eth0", String::new()),
            Wiring::Late(_) => ("near", relay_lines()),
            Wiring::Bridge => ("port1", bridge_lines()),
        };
        let network = container.network().try_clone().unwrap();
        let mut link = Self { number: claim(init, peer), wiring, network, relay: None };
        link.there(&(extra + &link.interface_lines(2)));
        let near = link.interface();
        link.here(&format!("addr add {}/28 dev {near}\nlink set {near} up\n", link.host(1)));
        if wiring != Wiring::Bridge {
            link.pass_packets(); // ports of a bridge do from the beginning
        }
        if let Wiring::Late(delay) = wiring {
            link.relay = Some(Relay::new(container, delay));
        }
        link
    }

    /// The container's.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.host(2)
    }

    /// The name of the interface here.
    pub(crate) fn interface(&self) -> String {
        format!("pp{}", self.number)
    }

    /// From now on everything is lost, in both directions, and nobody is told.
    pub(crate) fn drop_packets(&self) {
        self.pass(false);
    }

    pub(crate) fn pass_packets(&self) {
        self.pass(true);
    }

    fn pass(&self, passes: bool) {
        if self.wiring == Wiring::Bridge {
            return self.pass_at(1, passes);
        }
        let (here, there) = if passes { (HERE, THERE) } else { (NOWHERE, NOWHERE) };
        let neighbor = |host, place, interface: &str| {
            let address = self.host(host);
            format!("neigh replace {address} lladdr {place} dev {interface} nud permanent\n")
        };
        self.here(&neighbor(2, there, &self.interface())); // neither asks where the other one is
        self.there(&neighbor(1, here, "eth0"));
    }

    /// From now on packets are so late. Those that are on the way are not overtaken.
    pub(crate) fn delay(&self, delay: Duration) {
        self.relay.as_ref().expect("it began with a delay").delay(delay);
    }

    // ----- the bridge -----

    /// Adds a container to the bridge, at a port which nobody else has. Ports begin with 2.
    pub(crate) fn add(&self, container: &Container, port: u32) -> Ipv4Addr {
        let ends = format!("port{port} type veth peer name eth0 netns {}", container.init());
        let attach = format!("link set port{port} master eth0\nlink set port{port} up\n");
        self.there(&format!("link add {ends}\n{attach}"));
        run_in(container.network(), "ip", &self.interface_lines(port + 1));
        self.host(port + 1)
    }

    /// Whether what comes from or goes to this port is lost. The first is that of this machine.
    pub(crate) fn pass_at(&self, port: u32, passes: bool) {
        let state = if passes { 3 } else { 0 }; // forwarding, or disabled
        // By `ip link` it would be enabled again at once, by its own notification.
        let line = format!("link set dev port{port} state {state}\n");
        run_in(&self.network, "bridge", &line);
    }

    /// This machine is the first one, the container the second.
    fn host(&self, host: u32) -> Ipv4Addr {
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        (first + 16 * u32::from(self.number) + host).into()
    }

    /// Brings up the interface of a container.
    fn interface_lines(&self, host: u32) -> String {
        let address = self.host(host);
        format!("link set lo up\naddr add {address}/28 dev eth0\nlink set eth0 up\n")
    }

    #[expect(clippy::unused_self, reason = "as `there`")]
    fn here(&self, lines: &str) {
        run(Command::new(find("ip").unwrap()).args(["-batch", "-"]), lines);
    }

    fn there(&self, lines: &str) {
        run_in(&self.network, "ip", lines);
    }
}

/// Runs lines of `ip` or `bridge` in a network.
fn run_in(network: &File, program: &str, lines: &str) {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/fd/{}", std::process::id(), network.as_raw_fd()));
    run(command.arg(find(program).unwrap()).args(["-batch", "-"]), lines);
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relay = None; // it would keep the network
        let mut delete = Command::new(find("ip").unwrap());
        run_anyhow(delete.args(["link", "delete", &self.interface()]), "");
    }
}

/// Makes the pair of interfaces; the name of the one here is free, or becomes somebody else's
/// meanwhile, in which case the next one is tried.
fn claim(init: u32, peer: &str) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % u32::from(NETWORKS)).unwrap();
    for _ in 0..100 {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % NETWORKS;
        let ends = format!("pp{number} address {HERE} type veth peer name {peer} address {THERE}");
        let add = format!("link add {ends} netns {init}");
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

/// The bridge is the interface of its container.
fn bridge_lines() -> String {
    format!(
        "link set port1 address {PORT}\nlink add eth0 address {THERE} type bridge\n\
         link set port1 master eth0\nlink set port1 up\n"
    )
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
    fn new(container: &Container, delay: Duration) -> Self {
        let ends = ["near", "far"].map(|end| open_tap(container, end));
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
fn open_tap(container: &Container, end: &str) -> File {
    let interface = container.root().join("run/sys/class/net").join(format!("{end}tap"));
    let index = std::fs::read_to_string(interface.join("ifindex")).unwrap();
    let device = interface.join(format!("tap{}/dev", index.trim_end()));
    let number = std::fs::read_to_string(device).unwrap();
    let (major, minor) = number.trim_end().split_once(':').unwrap();
    let node = container.root().join("run").join(format!("{end}tap")); // `/tmp` may have no devices
    run(Command::new("mknod").arg(&node).args(["c", major, minor]), "");
    File::options().read(true).write(true).open(node).unwrap()
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
    match rustix::io::retry_on_intr(|| poll(&mut polled, rest.as_ref())) {
        Ok(_) => polled.map(|polled| !polled.revents().is_empty()),
        Err(error) => panic!("{error}"),
    }
}
