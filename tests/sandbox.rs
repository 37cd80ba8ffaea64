//! What tasks cannot do in the sandbox that the crate has, and what they can. A binary of its own,
//! as it needs a feature.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use procpool::{
    Builder, Process, ProcessPoolExecutor, ProcessStdio, ResourceLimits, Sandbox, Settings,
    SharedSlice, StartMethod, current, state,
};
use rustix::process::{
    Pid, Resource, Signal, getrlimit, kill_process, prlimit, setpgid, test_kill_process,
};
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use tokio::io::{AsyncBufReadExt, BufReader};

use common::{in_time, process_gone, wait_until};

procpool::test_support!();

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

// ----- what is tried -----

/// A place with a file that may be read, a directory that may be written to, and a file that may
/// not be touched; and sockets.
struct Places {
    root: PathBuf,
    tcp: TcpListener,
    udp: UdpSocket,
    _stream: UnixListener,
    _datagrams: UnixDatagram,
}

impl Places {
    fn new(name: &str) -> Self {
        let name = format!("procpool-sandbox-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("written")).unwrap();
        fs::create_dir_all(root.join("shown")).unwrap();
        for file in ["shown/file", "hidden"] {
            fs::write(root.join(file), "contents").unwrap();
        }
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            _stream: UnixListener::bind(root.join("stream")).unwrap(),
            _datagrams: UnixDatagram::bind(root.join("datagrams")).unwrap(),
            root,
        }
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox::new().read(self.root.join("shown")).write(self.root.join("written"))
    }

    fn args(&self, what: &str) -> (String, PathBuf, u16, u16) {
        let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
        (what.into(), self.root.clone(), port(self.tcp.local_addr()), port(self.udp.local_addr()))
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// What a task is refused in any case.
const REFUSED: [&str; 20] = [
    "read a file",
    "write a file",
    "read a directory",
    "make a file",
    "write to a file that may be read",
    "remove a file that may be read",
    "change permissions",
    "read the memory of the service",
    "read the environment of the service",
    "connect to a unix socket",
    "send to a unix socket",
    "have datagrams",
    "start a program",
    "signal the service",
    "ask for the service",
    "leave its group",
    "limit the service",
    "lock the service's CPUs",
    "listen at a unix socket",
    "read what the system shows of itself",
];

/// And these unless it may have the network.
const NETWORK: [&str; 4] = ["connect by TCP", "listen by TCP", "listen by UDP", "send by UDP"];

fn attempt(what: String, root: PathBuf, tcp: u16, udp: u16) -> Result<(), String> {
    let parent = Pid::from_raw(parent_id().cast_signed()).unwrap();
    let path = |name: &str| root.join(name);
    let done: std::io::Result<()> = match what.as_str() {
        "read a file" => fs::read(path("hidden")).map(drop),
        "write a file" => OpenOptions::new().append(true).open(path("hidden")).map(drop),
        "read a directory" => fs::read_dir(&root).map(drop),
        "make a file" => File::create(path("new")).map(drop),
        "write to a file that may be read" => File::create(path("shown/file")).map(drop),
        "remove a file that may be read" => fs::remove_file(path("shown/file")),
        "change permissions" => {
            let mode = fs::metadata(path("hidden")).unwrap().permissions();
            fs::set_permissions(path("hidden"), mode)
        }
        "read the memory of the service" => open_proc(parent, "mem"),
        "read the environment of the service" => open_proc(parent, "environ"),
        "connect to a unix socket" => UnixStream::connect(path("stream")).map(drop),
        "listen at a unix socket" => UnixListener::bind(path("written/socket")).map(drop),
        "send to a unix socket" => {
            UnixDatagram::unbound().and_then(|socket| socket.connect(path("datagrams")))
        }
        "have datagrams" => UnixDatagram::pair().map(drop),
        "start a program" => std::process::Command::new("/bin/true").status().map(drop),
        "signal the service" => kill_process(parent, Signal::CONT).map_err(Into::into),
        "ask for the service" => test_kill_process(parent).map_err(Into::into),
        "leave its group" => setpgid(None, None).map_err(Into::into),
        "limit the service" => {
            let limit = getrlimit(Resource::Core);
            prlimit(Some(parent), Resource::Core, limit).map(drop).map_err(Into::into)
        }
        "lock the service's CPUs" => {
            let own = sched_getaffinity(None).unwrap();
            sched_setaffinity(Some(parent), &own).map_err(Into::into)
        }
        "read what the system shows of itself" => File::open("/proc/self/status").map(drop),
        "connect by TCP" => TcpStream::connect(("127.0.0.1", tcp)).map(drop),
        "listen by TCP" => TcpListener::bind("127.0.0.1:0").map(drop),
        "listen by UDP" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "send by UDP" => UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(b"hello", ("127.0.0.1", udp)).map(drop)),
        other => panic!("{other}"),
    };
    done.map_err(|error| error.to_string())
}

fn open_proc(process: Pid, name: &str) -> std::io::Result<()> {
    let path = format!("/proc/{}/{name}", process.as_raw_pid());
    File::open(path).map(drop)
}

fn is_refusal(text: &str) -> bool {
    text.contains("Operation not permitted") || text.contains("Permission denied")
}

/// System calls by which the refused could be had in a roundabout way, with the arguments that
/// matter. The service's pid stands in for [`PARENT`].
const ROUNDABOUT: &[(&str, i64, [i64; 3])] = &[
    ("F_SETOWN", libc::SYS_fcntl, [0, libc::F_SETOWN as i64, PARENT]),
    ("F_SETSIG", libc::SYS_fcntl, [0, 10, 9]),
    ("F_SETOWN_EX", libc::SYS_fcntl, [0, 15, 0]),
    ("FIOSETOWN", libc::SYS_ioctl, [0, 0x8901, 0]),
    ("TIOCSTI", libc::SYS_ioctl, [0, 0x5412, 0]),
    ("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE as i64, PARENT, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [PARENT, 0, 0]),
    ("tgkill", libc::SYS_tgkill, [PARENT, PARENT, 0]),
    ("tkill", libc::SYS_tkill, [PARENT, 0, 0]),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [PARENT, 0, 0]),
    ("kill all", libc::SYS_kill, [-1, 0, 0]),
    ("kill its group", libc::SYS_kill, [-PARENT, 0, 0]),
    ("pidfd_open", libc::SYS_pidfd_open, [PARENT, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [0, 0, 0]),
    ("clone", libc::SYS_clone, [libc::SIGCHLD as i64, 0, 0]),
    ("clone of memory", libc::SYS_clone, [(libc::CLONE_VM | libc::CLONE_VFORK) as i64, 0, 0]),
    ("execve", libc::SYS_execve, [0, 0, 0]),
    ("execveat", libc::SYS_execveat, [0, 0, 0]),
    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as i64, 0, 0]),
    ("setns", libc::SYS_setns, [0, 0, 0]),
    ("setsid", libc::SYS_setsid, [0, 0, 0]),
    ("mount", libc::SYS_mount, [0, 0, 0]),
    ("chroot", libc::SYS_chroot, [0, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
    ("bpf", libc::SYS_bpf, [0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, 0, 0]),
    ("shmget", libc::SYS_shmget, [0, 4096, 0o600]),
    ("personality", libc::SYS_personality, [-1, 0, 0]),
    ("PR_SET_DUMPABLE", libc::SYS_prctl, [libc::PR_SET_DUMPABLE as i64, 1, 0]),
    ("a netlink socket", libc::SYS_socket, [libc::AF_NETLINK as i64, libc::SOCK_RAW as i64, 0]),
    ("what nobody has heard of", 1000, [0, 0, 0]),
];

/// Less than no pid.
const PARENT: i64 = 1 << 40;

/// The errors, in that order.
#[allow(unsafe_code, reason = "no safe function makes these calls")]
fn call_roundabout() -> Vec<Option<i32>> {
    let parent = i64::from(parent_id());
    let call = |&(_, number, args): &(&str, i64, [i64; 3])| {
        let [a, b, c] = args.map(|argument| match argument {
            PARENT => parent,
            -1_099_511_627_776 => -parent,
            other => other,
        });
        // SAFETY: no call is given memory, and none of them is to be made at all.
        let result = unsafe { libc::syscall(number, a, b, c, 0, 0, 0) };
        (result == -1).then(|| std::io::Error::last_os_error().raw_os_error()).flatten()
    };
    ROUNDABOUT.iter().map(call).collect()
}

// ----- what goes on -----

fn turn(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn allocate(bytes: usize) -> usize {
    std::hint::black_box(Vec::<u8>::with_capacity(bytes)).capacity()
}

fn square(n: u64) -> u64 {
    n * n
}

fn fail() {
    panic!("no such luck");
}

/// Files where they may be, threads, memory, time, chance.
fn do_what_is_allowed(root: PathBuf) -> String {
    let (shown, written) = (root.join("shown/file"), root.join("written"));
    fs::create_dir(written.join("below")).unwrap();
    fs::write(written.join("below/first"), "text").unwrap();
    fs::rename(written.join("below/first"), written.join("second")).unwrap();
    assert_eq!(fs::read_to_string(written.join("second")).unwrap(), "text");
    fs::remove_dir(written.join("below")).unwrap();
    fs::remove_file(written.join("second")).unwrap();
    assert_eq!(fs::read_dir(root.join("shown")).unwrap().count(), 1);
    let thread = std::thread::spawn(|| HashMap::from([(1, vec![7; 1 << 20])]).len());
    assert_eq!(thread.join().unwrap(), 1);
    std::thread::sleep(Duration::from_millis(1));
    current().progress(1, 1, "done");
    fs::read_to_string(shown).unwrap()
}

async fn nap() -> u64 {
    tokio::task::spawn(tokio::time::sleep(Duration::from_millis(1))).await.unwrap();
    7
}

/// An initializer.
fn open(path: PathBuf) -> File {
    OpenOptions::new().read(true).append(true).open(path).unwrap()
}

fn write_to_what_is_open() {
    let mut file: &File = state().unwrap();
    file.write_all(b", and more").unwrap();
}

fn sum(slice: SharedSlice<u64>) -> u64 {
    slice.iter().sum()
}

fn numbers() -> SharedSlice<u64> {
    SharedSlice::copy_from_slice(&[7; 100]).unwrap()
}

fn start_a_thread() {
    let started = std::sync::Arc::new(std::sync::Barrier::new(2));
    let other = std::sync::Arc::clone(&started);
    std::thread::spawn(move || {
        other.wait();
        loop {
            std::thread::park();
        }
    });
    started.wait();
}

/// As on a system that has no Landlock.
fn forget_landlock() {
    let missing = SeccompAction::Errno(rustix::io::Errno::NOSYS.raw_os_error().cast_unsigned());
    let calls: BTreeMap<i64, Vec<_>> = (444..=446).map(|call| (call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, missing, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    apply_filter(&program).unwrap();
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// As a service: tells of a worker that is busy and of one that is not, and waits.
async fn serve(is_forked: bool) {
    let mut pools = Vec::new();
    for _ in 0..2 {
        let pool = builder(METHODS[usize::from(is_forked)], Sandbox::new()).build().unwrap();
        pool.run(square, 7).await.unwrap();
        println!("{}", pool.workers()[0].pid);
        pools.push(pool);
    }
    let spinning = pools[0].submit(spin, ()).await.unwrap();
    spinning.started().await;
    println!("ready");
    std::future::pending::<()>().await;
}

fn last_words() -> Result<(), String> {
    fs::read("/etc/passwd").map(drop).map_err(|error| error.to_string())
}

procpool::register!(
    attempt,
    spin,
    serve,
    call_roundabout,
    allocate,
    turn,
    square,
    fail,
    do_what_is_allowed,
    nap,
    open,
    write_to_what_is_open,
    sum,
    numbers,
    start_a_thread,
    forget_landlock,
    last_words
);

fn builder(method: StartMethod, sandbox: Sandbox) -> Builder {
    let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    builder.sandbox(sandbox).grace_period(Duration::from_millis(200))
}

/// False, after it has said why, on a system that has too little for a sandbox.
fn has_sandboxes() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V3));
    let is_there = ruleset.and_then(Ruleset::create).is_ok();
    if !is_there {
        eprintln!("skipped: this system has no Landlock, or that of a Linux before 6.2");
    }
    is_there
}

#[tokio::test]
async fn tasks_reach_nothing_of_the_machine() {
    if !has_sandboxes() {
        return;
    }
    let places = Places::new("refused");
    for method in METHODS {
        let pool = builder(method, places.sandbox()).build().unwrap();
        for what in REFUSED.iter().chain(&NETWORK) {
            let tried = in_time(pool.run(attempt, places.args(what))).await.unwrap();
            let text = tried.expect_err(what);
            assert!(is_refusal(&text), "{what}: {text}");
        }
        let pool = builder(method, places.sandbox().network()).build().unwrap();
        for what in REFUSED {
            let tried = in_time(pool.run(attempt, places.args(what))).await.unwrap();
            assert!(tried.is_err_and(|text| is_refusal(&text)), "{what}");
        }
        for what in NETWORK {
            in_time(pool.run(attempt, places.args(what))).await.unwrap().expect(what);
        }
    }
}

#[tokio::test]
async fn there_is_no_way_round() {
    if !has_sandboxes() {
        return;
    }
    for method in METHODS {
        for sandbox in [Sandbox::new(), Sandbox::new().network().read("/").write("/")] {
            let pool = builder(method, sandbox).build().unwrap();
            let errors = in_time(pool.run(call_roundabout, ())).await.unwrap();
            for ((name, ..), error) in ROUNDABOUT.iter().zip(errors) {
                assert_eq!(error, Some(libc::EPERM), "{name}");
            }
        }
    }
}

/// Otherwise `tasks_reach_nothing_of_the_machine` would show nothing.
#[tokio::test]
async fn without_a_sandbox_tasks_reach_all_of_that() {
    let places = Places::new("reached");
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    for what in REFUSED.iter().chain(&NETWORK) {
        let tried = in_time(pool.run(attempt, places.args(what))).await.unwrap();
        assert!(tried.is_ok(), "{what}: {tried:?}");
        let _ = fs::write(places.root.join("shown/file"), "contents");
    }
}

#[tokio::test]
async fn tasks_go_on_and_reach_what_is_allowed() {
    if !has_sandboxes() {
        return;
    }
    for method in METHODS {
        let places = Places::new("allowed");
        let builder =
            builder(method, places.sandbox()).initializer(open, places.root.join("hidden"));
        let pool = builder.exit_hook(last_words, ()).build().unwrap();
        assert_eq!(in_time(pool.run(square, 7)).await.unwrap(), 49);
        let worker = pool.workers()[0].pid;
        for length in [200 << 10, 1 << 20, 1 << 20, 16 << 20, 16 << 20] {
            let turned = in_time(pool.run(turn, vec![7; length])).await.unwrap();
            assert_eq!(turned.len(), length);
        }
        let squares = pool.map(square, 0..10_000).map(Result::unwrap);
        assert_eq!(in_time(squares.collect::<Vec<_>>()).await[9_999], 9_999 * 9_999);
        let error = in_time(pool.run(fail, ())).await.unwrap_err().to_string();
        assert!(error.contains("no such luck") && error.contains("sandbox.rs"), "{error}");
        let task = pool.submit(do_what_is_allowed, places.root.clone()).await.unwrap();
        let reports: Vec<_> = in_time(task.progress().collect()).await;
        assert_eq!((in_time(task).await.unwrap().as_str(), reports.len()), ("contents", 1));
        assert_eq!(in_time(pool.run(nap, ())).await.unwrap(), 7);
        in_time(pool.run(write_to_what_is_open, ())).await.unwrap();
        assert_eq!(fs::read_to_string(places.root.join("hidden")).unwrap(), "contents, and more");
        assert_eq!(in_time(pool.run(numbers, ())).await.unwrap().len(), 100);
        let slice = SharedSlice::copy_from_slice(&[1_u64; 100]).unwrap();
        match in_time(pool.run(sum, slice)).await {
            Ok(sum) => assert_eq!(sum, 100),
            Err(error) => assert!(is_refusal(&error.to_string()), "{error}"),
        }
        assert_eq!(pool.workers()[0].pid, worker, "it has survived all that");
        let report = in_time(pool.shutdown()).await;
        let exits = report.exit_results::<Result<(), String>>().unwrap();
        let told = exits[0].result.as_ref().unwrap();
        assert!(is_refusal(told.as_ref().unwrap_err()), "{told:?}");
        wait_until("the worker is gone", || process_gone(worker)).await;
    }
}

#[tokio::test]
async fn one_task_has_limits_of_its_own() {
    if !has_sandboxes() {
        return;
    }
    let limits = ResourceLimits::new().memory(64 << 20).cpu_time(Duration::from_millis(60));
    let limits = limits.address_space(1 << 30).file_size(1000).core_size(0);
    for method in METHODS {
        // A backtrace would come after the last words of a worker that cannot allocate.
        let builder = builder(method, Sandbox::new()).env("RUST_BACKTRACE", "0").max_workers(1);
        let pool = builder.build().unwrap();
        let allocate = |bytes| in_time(pool.task(allocate, bytes).limits(limits).run());
        assert_eq!(allocate(1 << 20).await.unwrap(), 1 << 20);
        let error = allocate(128 << 20).await.unwrap_err();
        assert!(error.to_string().contains("the task's own memory limit"), "{error}");
        assert_eq!(in_time(pool.run(turn, vec![7; 1 << 20])).await.unwrap().len(), 1 << 20);
        let error = in_time(pool.task(spin, ()).limits(limits).run()).await.unwrap_err();
        assert!(error.to_string().contains("the task's own CPU time limit"), "{error}");
    }
}

#[tokio::test]
async fn workers_in_a_sandbox_end_with_the_service() {
    if !has_sandboxes() {
        return;
    }
    for is_forked in [false, true] {
        let builder = Process::builder(serve, is_forked);
        let service = builder.stdout(ProcessStdio::Piped).build();
        in_time(service.start()).await.unwrap();
        let mut lines = BufReader::new(service.take_stdout().unwrap()).lines();
        let mut workers: Vec<u32> = Vec::new();
        // What a test harness prints comes between.
        while let Some(line) = in_time(lines.next_line()).await.unwrap()
            && line != "ready"
        {
            workers.extend(line.parse::<u32>());
        }
        assert_eq!(workers.len(), 2);
        service.kill().unwrap();
        wait_until("the workers are gone", || workers.iter().all(|pid| process_gone(*pid))).await;
    }
}

#[tokio::test]
async fn a_refusal_can_end_the_worker() {
    if !has_sandboxes() {
        return;
    }
    let places = Places::new("killed");
    for method in METHODS {
        let pool = builder(method, places.sandbox().kill_on_refusal()).build().unwrap();
        for what in ["connect by TCP", "start a program", "signal the service"] {
            let error = in_time(pool.run(attempt, places.args(what))).await.unwrap_err();
            let death = error.worker_death().expect(what);
            assert_eq!(death.signal(), Some(31), "{what}: {error}");
            assert!(error.to_string().contains("(SIGSYS); a seccomp filter"), "{error}");
        }
        let told = in_time(pool.run(attempt, places.args("read a file"))).await.unwrap();
        assert!(is_refusal(&told.unwrap_err()));
        assert_eq!(in_time(pool.run(nap, ())).await.unwrap(), 7);
        assert_eq!(
            in_time(pool.run(do_what_is_allowed, places.root.clone())).await.unwrap(),
            "contents"
        );
    }
}

async fn assert_breaks(builder: Builder, reasons: &[&str]) {
    let pool = builder.build().unwrap();
    let error = in_time(pool.run(square, 7)).await.unwrap_err();
    let text = error.broken().expect("the pool is broken").to_string();
    let all = [&["cannot enter its sandbox: "], reasons].concat();
    assert!(all.iter().all(|reason| text.contains(reason)), "{text}");
}

#[tokio::test]
async fn a_pool_whose_workers_cannot_have_their_sandbox_says_why() {
    if !has_sandboxes() {
        return;
    }
    for method in METHODS {
        let missing = Sandbox::new().read("/nowhere/at/all");
        assert_breaks(builder(method, missing), &["`/nowhere/at/all`", "No such file"]).await;
        let with_thread = builder(method, Sandbox::new()).initializer(start_a_thread, ());
        let reasons = ["1 threads that have been started before", "best_effort"];
        assert_breaks(with_thread, &reasons).await;
        let without = builder(method, Sandbox::new()).initializer(forget_landlock, ());
        assert_breaks(without, &["no Landlock", "best_effort"]).await;
    }
}

#[tokio::test]
async fn a_sandbox_does_with_what_there_is_if_it_may() {
    let places = Places::new("effort");
    for method in METHODS {
        let sandbox = places.sandbox().best_effort();
        let pool =
            builder(method, sandbox.clone()).initializer(forget_landlock, ()).build().unwrap();
        let tried = in_time(pool.run(attempt, places.args("connect by TCP"))).await.unwrap();
        assert!(is_refusal(&tried.unwrap_err()), "the filter is there");
        let pool = builder(method, sandbox).initializer(start_a_thread, ()).build().unwrap();
        let tried = in_time(pool.run(attempt, places.args("start a program"))).await.unwrap();
        assert!(is_refusal(&tried.unwrap_err()), "all of it is there, for the thread of tasks");
    }
}

// ----- from a file -----

#[test]
fn a_sandbox_is_read_as_it_is_written_and_as_people_write_it() {
    let text = r#"{ "read": ["/usr/share", "data"], "write": ["/tmp"], "network": "true",
                    "kill_on_refusal": true, "best_effort": false }"#;
    let sandbox: Sandbox = serde_json::from_str(text).unwrap();
    let same = Sandbox::new().read("/usr/share").read("data").write("/tmp");
    assert_eq!(sandbox, same.network().kill_on_refusal());
    let again = serde_json::to_string(&sandbox).unwrap();
    assert_eq!(serde_json::from_str::<Sandbox>(&again).unwrap(), sandbox);
    assert_eq!(serde_json::from_str::<Sandbox>("{}").unwrap(), Sandbox::new());

    let settings: Settings = serde_json::from_str(&format!(r#"{{ "sandbox": {text} }}"#)).unwrap();
    assert_eq!(settings.sandbox.as_ref(), Some(&sandbox));
    let (as_settings, as_call) =
        (ProcessPoolExecutor::builder().settings(settings), ProcessPoolExecutor::builder());
    assert_eq!(format!("{as_settings:?}"), format!("{:?}", as_call.sandbox(sandbox)));

    let wrong = serde_json::from_str::<Settings>(r#"{ "sandbox": { "netwrk": true } }"#);
    let error = wrong.unwrap_err().to_string();
    assert!(
        error.starts_with("sandbox: netwrk: no such setting; there are read, write"),
        "{error}"
    );
}
