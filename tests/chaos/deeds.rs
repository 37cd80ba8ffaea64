//! What tasks do: all that can be expected of a task, and what nobody expects.

#![allow(unsafe_code, reason = "what breaks a process is rarely safe")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procpool::SharedSlice;
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::record::note_begin;

/// A result of this size is larger than any pool here accepts.
pub(crate) const MAX_PAYLOAD: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Return,
    Sleep(u64),
    Spin(u64),
    /// Reports its progress, and ends early if it is asked to.
    Look(u64),
    /// Emits so many numbers, and waits for who takes them.
    Emit(u64),
    Print,
    /// Prints more than a pipe holds, by all ways there are.
    PrintMuch,
    Panic,
    /// Its result is larger than the pool accepts.
    TooLarge,
    Leak,
    /// Leaves a child behind.
    LeaveChild,
    /// Leaves a copy of its worker behind, which has all descriptors of it.
    LeaveFork,
    Exit(i32),
    ExitAtOnce(i32),
    Abort,
    Kill,
    Segfault,
    OverflowStack,
    /// Allocates until a limit of its own is reached.
    Exhaust,
    Hang,
    IgnoreTermAndHang,
    /// Stops its worker, which nobody continues.
    Stop,
    CloseStandard,
    Close(i32),
    CloseAll,
    /// Writes what is no frame to where frames go.
    Lie,
}

use Deed::{
    Abort, Close, CloseAll, CloseStandard, Emit, Exhaust, Exit, ExitAtOnce, Hang,
    IgnoreTermAndHang, Kill, Leak, LeaveChild, LeaveFork, Lie, Look, OverflowStack, Panic, Print,
    PrintMuch, Return, Segfault, Sleep, Spin, Stop, TooLarge,
};

impl Deed {
    /// Mostly harmless.
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..=44 => Return,
            45..=47 => Emit(random.below(60)),
            48..=50 => Sleep(random.below(20)),
            51..=54 => Spin(random.below(4000)),
            55..=58 => Look(random.below(20)),
            59..=64 => *random.choose(&[Print, Print, PrintMuch]),
            65..=70 => Panic,
            71 => TooLarge,
            72..=74 => Leak,
            75..=78 => *random.choose(&[LeaveChild, LeaveChild, LeaveFork]),
            79..=81 => Exit(*random.choose(&[0, 3])),
            82 => ExitAtOnce(*random.choose(&[0, 4])),
            83 => Abort,
            84..=86 => Kill,
            87 => Segfault,
            88 => OverflowStack,
            89 => Exhaust,
            90 | 91 => Hang,
            92 => IgnoreTermAndHang,
            93 | 94 => Stop,
            95 => CloseStandard,
            96 | 97 => Close(i32::try_from(random.below(24)).unwrap()),
            98 => CloseAll,
            _ => Lie,
        }
    }

    /// It may end the worker it runs in.
    pub(crate) fn is_deadly(self) -> bool {
        let ends = [Abort, Kill, Segfault, OverflowStack, Exhaust];
        ends.contains(&self) || matches!(self, Exit(_) | ExitAtOnce(_)) || self.is_damaging()
    }

    /// Its worker may fail later, under a task that has done nothing.
    pub(crate) fn is_damaging(self) -> bool {
        matches!(self, CloseStandard | Close(_) | CloseAll | Lie)
    }

    /// Without a timeout it may never end, and that would be nobody else's fault.
    pub(crate) fn needs_timeout(self) -> bool {
        self.is_damaging() || matches!(self, Hang | IgnoreTermAndHang | Stop)
    }

    pub(crate) fn leaves_processes(self) -> bool {
        matches!(self, LeaveChild | LeaveFork)
    }

    fn perform(self, number: u32) {
        match self {
            Return | TooLarge => {}
            Sleep(millis) => std::thread::sleep(Duration::from_millis(millis)),
            Spin(micros) => spin(Duration::from_micros(micros)),
            Look(millis) => look(Duration::from_millis(millis)),
            Emit(count) => emit(count),
            Print => println!("task {number} prints"),
            PrintMuch => print_much(),
            Panic => panic!("task {number} panics"),
            Leak => drop(std::hint::black_box(vec![7_u8; 2 << 20].leak())),
            LeaveChild => leave_child(),
            LeaveFork => leave_fork(),
            Exit(code) => std::process::exit(code),
            ExitAtOnce(code) => exit_at_once(code),
            Abort => std::process::abort(),
            Kill => kill_process(getpid(), Signal::KILL).unwrap(),
            Segfault => write_to_nowhere(),
            OverflowStack => assert_ne!(recurse(0), 1),
            Exhaust => exhaust(),
            Hang => hang(),
            IgnoreTermAndHang => {
                ignore_term();
                hang();
            }
            Stop => kill_process(getpid(), Signal::STOP).unwrap(),
            CloseStandard => (0..3).for_each(close),
            Close(fd) => close(fd),
            CloseAll => (0..64).for_each(close),
            Lie => lie(),
        }
    }
}

fn exit_at_once(code: i32) {
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(code) }
}

fn write_to_nowhere() {
    // SAFETY: none: the fault is the purpose. Nothing is ever mapped at this address.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

fn ignore_term() {
    // SAFETY: to ignore a signal has no preconditions.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn look(time: Duration) {
    let (current, began) = (procpool::current(), Instant::now());
    let mut count = 0;
    while !current.is_cancelled() && began.elapsed() < time {
        count += 1;
        current.progress(count, 0, "");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Counts on from nothing at each attempt.
fn emit(count: u64) {
    for n in 0..count {
        // An error says that it is to end.
        if procpool::current().emit(n).is_err() {
            return;
        }
    }
}

fn print_much() {
    let line = "a long line ".repeat(1000);
    for _ in 0..8 {
        println!("{line}");
        eprintln!("{line}");
        // SAFETY: the bytes are there, and whatever becomes of them is no memory error.
        unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    }
}

fn leave_child() {
    let mut sleep = Command::new("sleep");
    let spawned = sleep.arg("1000").stdin(Stdio::null()).spawn();
    drop(spawned); // or the worker has no descriptor, or no memory, to spare: then there is none
}

fn leave_fork() {
    // SAFETY: the copy does nothing but wait for signals.
    unsafe {
        if libc::fork() == 0 {
            loop {
                libc::pause();
            }
        }
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(frame[7] + 1) + std::hint::black_box(frame)[9]
}

fn exhaust() {
    let limit = Some(64 << 20);
    setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit }).unwrap();
    loop {
        std::hint::black_box(vec![1_u8; 8 << 20].leak());
    }
}

fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn close(fd: i32) {
    // SAFETY: this breaks whoever owns the descriptor, which is what the test is about.
    unsafe { libc::close(fd) };
}

fn lie() {
    let file = std::fs::OpenOptions::new().write(true).open(crate::common::frame_pipe());
    let _ = file.and_then(|mut pipe| pipe.write_all(b"\x09\0\0\0\x03no frame, but of some length"));
}

// ----- the function -----

/// Where it records that it has begun, its number, what it does, and what it sends back.
pub(crate) type Args = (String, u32, Deed, Padding);
/// Its number, which attempt it was, and what it was sent.
pub(crate) type Echo = (u32, u32, Padding);

pub(crate) fn act(path: String, number: u32, deed: Deed, padding: Padding) -> Echo {
    let attempt = procpool::current().attempt();
    note_begin(&path, number, attempt);
    deed.perform(number);
    let padding = match deed {
        TooLarge => Padding::Own(vec![7; MAX_PAYLOAD + 1]),
        _ => padding.returned(number),
    };
    (number, attempt, padding)
}

/// The same for the items of maps, whose arguments and results have names on the way.
pub(crate) fn act_with_names(path: String, number: u32, deed: Deed, padding: Padding) -> Echo {
    act(path, number, deed, padding)
}

/// What a task is sent: now and then too much for a pipe, so that it goes through shared memory, or
/// memory of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Padding {
    Own(Vec<u8>),
    Shared(SharedSlice<u8>),
}

impl Padding {
    pub(crate) fn of(number: u32) -> Self {
        let bytes = bytes_of(number);
        if is_shared(number) {
            return Self::Shared(SharedSlice::copy_from_slice(&bytes).unwrap());
        }
        Self::Own(bytes)
    }

    pub(crate) fn is_of(&self, number: u32) -> bool {
        match self {
            Self::Own(bytes) => !is_shared(number) && *bytes == bytes_of(number),
            Self::Shared(bytes) => is_shared(number) && **bytes == *bytes_of(number),
        }
    }

    /// Half of what is shared comes back as memory that the worker has made.
    fn returned(self, number: u32) -> Self {
        match self {
            Self::Shared(bytes) if number % 128 < 64 => {
                Self::Shared(SharedSlice::copy_from_slice(&bytes).unwrap())
            }
            padding => padding,
        }
    }
}

/// Whether it names memory that its sender has.
pub(crate) fn is_shared(number: u32) -> bool {
    matches!(number % 64, 11 | 31 | 50)
}

fn bytes_of(number: u32) -> Vec<u8> {
    let length = match number % 64 {
        7 => 130 << 10,
        11 => 500_000,
        23 => 300_000,
        42 => 2_000_000,
        43 => 60_000,
        _ => number % 50,
    };
    vec![number.to_le_bytes()[0]; length as usize]
}

/// Called in the workers when they start, and when they leave.
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

procpool::register!(act, own_pid);
procpool::register!(act_with_names => named);
