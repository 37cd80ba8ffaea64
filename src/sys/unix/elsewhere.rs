//! What other Unix systems have in place of what is Linux's own: most often nothing.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::{Range, RangeInclusive};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::time::Duration;

use rustix::process::Signal;

use super::arrivals::Arrivals;
use super::descriptor::{Descriptor, RawDescriptor};
#[cfg(feature = "sandbox")]
use super::sandbox::SandboxRules;
use super::survey::{HeldOpen, OtherThread};
use crate::sys::carrier::Carrier;

/// Functions that say that there is no such thing.
macro_rules! missing {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        pub(crate) fn $name($(_: $argument),*) -> io::Result<$result> {
            Err(io::ErrorKind::Unsupported.into())
        }
    )*};
}

#[cfg(feature = "sandbox")]
pub(crate) fn enter_sandbox(_: &SandboxRules) -> Result<(), String> {
    Err("this system has none that procpool knows".to_owned())
}

#[cfg(feature = "sandbox")]
pub(crate) fn only_watch(rules: &SandboxRules) -> Result<(), String> {
    enter_sandbox(rules)
}

/// Methods that nobody calls, as there are no values to call them on.
macro_rules! unreached {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        pub(crate) fn $name(&self $(, _: $argument)*) -> $result {
            match *self {}
        }
    )*};
}

missing! {
    open_process(u32) -> Descriptor;
    open_child(u32, u32) -> Descriptor;
    signal_process(&Descriptor, Signal) -> ();
    signal_group(&Descriptor, Signal) -> ();
    is_group_left(&Descriptor) -> bool;
    status_after_reaping(&Descriptor) -> Option<i32>;
    other_threads() -> Vec<OtherThread>;
    count_threads() -> usize;
    raise_oom_score(i16) -> ();
    held(&[RawDescriptor]) -> Vec<HeldOpen>;
}

pub(crate) fn carrier() -> Option<&'static Carrier> {
    None
}

/// This process's own program, as a child that has the same name.
pub(crate) fn own_command() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    Ok(command)
}

pub(crate) fn fill_randomly(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

/// What they have beside those that all have is not asked for.
pub(crate) const OWN_SIGNALS: &[(i32, &str)] = &[];

pub(crate) fn real_time_signals() -> RangeInclusive<i32> {
    RangeInclusive::new(1, 0)
}

/// Not all of them can do something when they send or receive.
pub(crate) const SEND: i32 = 0;
pub(crate) const RECEIVE: i32 = 0;

pub(crate) fn read_now(_: impl AsFd, _: &mut [u8]) -> Option<usize> {
    None
}

pub(crate) fn inherited_thread_name() -> Option<String> {
    None
}

pub(crate) fn name_own_process(_: &str) {}

pub(crate) fn has_loaded(_: &str) -> bool {
    false
}

pub(crate) fn give_up_segments() {}

pub(crate) fn is_memory(_: &Descriptor) -> bool {
    false
}

pub(crate) fn is_accessible() -> bool {
    true
}

pub(crate) fn is_subreaper() -> bool {
    false
}

pub(crate) fn is_unreaped(_: &Descriptor) -> bool {
    false
}

pub(crate) fn give_up_terminal() {}

pub(crate) fn keeping_error(run: impl FnOnce()) {
    run();
}

pub(crate) fn own_stack() -> Option<(usize, usize)> {
    None
}

pub(crate) fn resident_memory(_: u32) -> Option<u64> {
    None
}

pub(crate) fn takes_part_in_barriers() -> bool {
    false
}

pub(crate) fn barrier() -> bool {
    false
}

pub(crate) fn take_part_in_barriers() {}

pub(crate) fn set_pipe_size(_: impl AsFd, _: usize) {}

pub(crate) fn prefer_huge_pages<T>(_: &mut [MaybeUninit<T>]) {}

pub(crate) fn use_huge_pages() {}

#[derive(Debug)]
pub(crate) enum CpuTimer {}

impl CpuTimer {
    missing! { new() -> Self; }
    unreached! {
        set(Duration) -> io::Result<()>;
        stop() -> io::Result<()>;
    }
}

#[derive(Debug)]
pub(crate) enum Lifeline {}

impl Lifeline {
    missing! { hold(impl AsFd) -> Self; }
    unreached! { only_wake() -> io::Result<()>; }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum WipedPage {}

impl WipedPage {
    missing! { create() -> Self; }

    pub(crate) fn mark(self) -> &'static AtomicU8 {
        match self {}
    }

    pub(crate) fn is_wiped(self) -> bool {
        match self {}
    }
}

#[derive(Clone, Debug)]
pub(crate) enum MemoryCgroup {}

impl MemoryCgroup {
    pub(crate) fn own() -> Option<&'static Self> {
        None
    }

    unreached! {
        limit() -> Option<u64>;
        oom_kills() -> Option<u64>;
    }
}

#[derive(Debug)]
pub(crate) enum OwnCgroup {}

impl OwnCgroup {
    pub(crate) fn create<'a>(
        _parent: Option<&Path>,
        _values: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> io::Result<Self> {
        let text = "this system has no control groups";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    unreached! {
        start_in(&mut Command) -> io::Result<()>;
        add(u32) -> io::Result<()>;
        was_oom() -> Option<bool>;
    }

    pub(crate) fn removed() -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

pub(crate) const MEASURES_ITSELF: bool = false;

#[derive(Debug)]
pub(crate) enum MemoryGauge {}

impl MemoryGauge {
    missing! { of_this_process() -> Self; }
    unreached! {
        resident() -> io::Result<u64>;
        resident_without(u64) -> io::Result<u64>;
        mapped() -> io::Result<(u64, u64)>;
    }
}

#[derive(Debug)]
pub(crate) enum MemoryFile {}

impl MemoryFile {
    missing! {
        sparse(usize) -> Self;
        filled(usize) -> Self;
        open(u32, RawDescriptor, (usize, u64), &Arrivals) -> Self;
    }
    unreached! {
        number() -> RawDescriptor;
        descriptor() -> io::Result<Descriptor>;
        inode() -> io::Result<u64>;
        write_at(usize, &[u8]) -> io::Result<()>;
        give_memory_back(usize) -> ();
        try_lock() -> io::Result<bool>;
        try_lock_shared() -> io::Result<bool>;
        unlock() -> io::Result<bool>;
        sign() -> io::Result<()>;
        signer() -> Option<u32>;
    }

    pub(crate) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Mapping<const WORDS: usize> {}

impl<const WORDS: usize> Mapping<WORDS> {
    unreached! {
        words() -> &[AtomicU64; WORDS];
        start() -> *mut u8;
        populate(Range<usize>) -> ();
    }
}

/// Not reached, as such numbers are in mappings; nor is what wakes those who wait.
pub(crate) fn wait_for_change(_: &AtomicU32, _: u32, limit: Option<Duration>) {
    std::thread::sleep(limit.unwrap_or(Duration::MAX));
}

pub(crate) fn wake_all(_: &AtomicU32) {}
