//! The system calls of a worker after its initializer: the list that SECURITY.md has, and filters
//! that are made of it.

#![allow(dead_code, reason = "each program uses its own part of this")]

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
use serde::{Deserialize, Serialize};

/// Some calls that a worker makes for one purpose.
pub(crate) struct Group {
    purpose: &'static str,
    calls: &'static [Call],
    /// What happens where they are refused with an error.
    refused: &'static str,
}

struct Call {
    name: &'static str,
    number: i64,
    is_older: bool,
}

/// What only some processors have, where others have what came later.
#[cfg(target_arch = "x86_64")]
use libc as older;
#[cfg(not(target_arch = "x86_64"))]
#[allow(non_upper_case_globals, reason = "they are called so elsewhere")]
mod older {
    const NONE: i64 = -1;
    pub(super) const SYS_poll: i64 = NONE;
    pub(super) const SYS_open: i64 = NONE;
    pub(super) const SYS_readlink: i64 = NONE;
    pub(super) const SYS_epoll_wait: i64 = NONE;
}

macro_rules! calls {
    ($($name:ident = $place:ident::$number:ident,)*) => {
        &[$(Call {
            name: stringify!($name),
            number: $place::$number,
            is_older: matches!(stringify!($place).as_bytes(), b"older"),
        }),*]
    };
}

/// Without the first group there is no worker. Of the others each may be refused.
const GROUPS: &[Group] = &[
    Group {
        purpose: "tasks, their CPU time, `HashMap`, and the end",
        calls: calls! {
            read = libc::SYS_read,
            write = libc::SYS_write,
            writev = libc::SYS_writev,
            preadv2 = libc::SYS_preadv2,
            close = libc::SYS_close,
            ppoll = libc::SYS_ppoll,
            poll = older::SYS_poll,
            futex = libc::SYS_futex,
            mmap = libc::SYS_mmap,
            munmap = libc::SYS_munmap,
            mremap = libc::SYS_mremap,
            mprotect = libc::SYS_mprotect,
            madvise = libc::SYS_madvise,
            brk = libc::SYS_brk,
            sched_yield = libc::SYS_sched_yield,
            clock_gettime = libc::SYS_clock_gettime,
            timer_settime = libc::SYS_timer_settime,
            getrandom = libc::SYS_getrandom,
            restart_syscall = libc::SYS_restart_syscall,
            rt_sigreturn = libc::SYS_rt_sigreturn,
            rt_sigaction = libc::SYS_rt_sigaction,
            sigaltstack = libc::SYS_sigaltstack,
            getpid = libc::SYS_getpid,
            exit = libc::SYS_exit,
            exit_group = libc::SYS_exit_group,
        },
        refused: "no task runs, or a worker does not end",
    },
    Group {
        purpose: "all that comes from a service by a socket: if it is not dumpable, or in a PID namespace with another `/proc`, or the worker is in a sandbox or another user's",
        calls: calls! {
            recvmsg = libc::SYS_recvmsg,
            sendmsg = libc::SYS_sendmsg,
        },
        refused: "no task runs where there is such a socket; elsewhere they are not made",
    },
    Group {
        purpose: "telling whose output it is that is printed",
        calls: calls! {
            ioctl = libc::SYS_ioctl,
        },
        refused: "lines have no task, and the error of a task quotes nothing that it has printed",
    },
    Group {
        purpose: "large results, and slices, in memory that it shares",
        calls: calls! {
            memfd_create = libc::SYS_memfd_create,
            ftruncate = libc::SYS_ftruncate,
            fallocate = libc::SYS_fallocate,
            fcntl = libc::SYS_fcntl,
            fstat = libc::SYS_fstat,
            statx = libc::SYS_statx,
            prlimit64 = libc::SYS_prlimit64,
            pwrite64 = libc::SYS_pwrite64,
        },
        refused: "results go through the pipe; a `SharedSlice` cannot be made, and says so",
    },
    Group {
        purpose: "large arguments, and slices, in memory that the service shares",
        calls: calls! {
            openat = libc::SYS_openat,
            open = older::SYS_open,
            fstatfs = libc::SYS_fstatfs,
        },
        refused: "arguments go through the pipe; a `SharedSlice` fails its task, and says so",
    },
    Group {
        purpose: "large values, with a service to which `memfd_create` is refused",
        calls: calls! {
            shmget = libc::SYS_shmget,
            shmctl = libc::SYS_shmctl,
            shmat = libc::SYS_shmat,
        },
        refused: "they go through the pipe; with other services they are not made",
    },
    Group {
        purpose: "reports of progress while the task is silent",
        calls: calls! {
            clone3 = libc::SYS_clone3,
            set_robust_list = libc::SYS_set_robust_list,
            rseq = libc::SYS_rseq,
            prctl = libc::SYS_prctl,
            sched_getaffinity = libc::SYS_sched_getaffinity,
            rt_sigprocmask = libc::SYS_rt_sigprocmask,
        },
        refused: "a report that comes too soon after another one is sent by the next one, or with the reply",
    },
    Group {
        purpose: "names in the backtrace of a panic",
        calls: calls! {
            gettid = libc::SYS_gettid,
            getcwd = libc::SYS_getcwd,
            lseek = libc::SYS_lseek,
            readlinkat = libc::SYS_readlinkat,
            readlink = older::SYS_readlink,
        },
        refused: "there are none",
    },
    Group {
        purpose: "`max_memory_per_child`",
        calls: calls! {
            pread64 = libc::SYS_pread64,
        },
        refused: "there is no limit",
    },
    Group {
        purpose: "the first `async` function, unless the initializer is one",
        calls: calls! {
            epoll_create1 = libc::SYS_epoll_create1,
            epoll_ctl = libc::SYS_epoll_ctl,
            epoll_pwait = libc::SYS_epoll_pwait,
            epoll_wait = older::SYS_epoll_wait,
            eventfd2 = libc::SYS_eventfd2,
            socketpair = libc::SYS_socketpair,
        },
        refused: "it fails",
    },
    Group {
        purpose: "signals to itself, and at the end of the service to its group",
        calls: calls! {
            getpgid = libc::SYS_getpgid,
            kill = libc::SYS_kill,
            tgkill = libc::SYS_tgkill,
        },
        refused: "what a task has started may outlive the service, if that has no `ForkServer`",
    },
];

/// What a filter says to a call that is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Kill,
    Refuse,
}

/// How much of the list a filter allows. What else is in it is refused with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Extent {
    All,
    Needed,
}

/// Whether this system has filters of this kind.
pub(crate) fn is_there() -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    status.is_ok_and(|status| status.contains("\nSeccomp:"))
}

/// From now on these calls fail so, in this process and all that it starts. Those that were refused
/// before stay so.
pub(crate) fn refuse(calls: &[i64], error: i32) {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(error.unsigned_abs());
    let target = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, target).unwrap();
    apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// An initializer: from here on this process makes those calls only, in all of its threads.
pub(crate) fn filter(answer: Answer, extent: Extent) -> Result<(), String> {
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let other = if answer == Answer::Kill { SeccompAction::KillProcess } else { refusal.clone() };
    let mut program = program(GROUPS, SeccompAction::Allow, other)?;
    if extent == Extent::Needed {
        // Before all else, in place of what would allow them.
        let mut refusing = self::program(&GROUPS[1..], refusal, SeccompAction::Allow)?;
        let last = refusing.pop().map(|last| last.k);
        assert_eq!(last, Some(libc::SECCOMP_RET_ALLOW), "the answer to all that is not listed");
        refusing.append(&mut program);
        program = refusing;
    }
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn program(
    groups: &[Group],
    listed: SeccompAction,
    other: SeccompAction,
) -> Result<BpfProgram, String> {
    let calls = groups.iter().flat_map(|group| group.calls.iter());
    let numbers = calls.map(|call| call.number).filter(|number| *number >= 0);
    let rules: BTreeMap<i64, Vec<_>> = numbers.map(|number| (number, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| format!("{error:?}"))?;
    let filter = SeccompFilter::new(rules, other, listed, architecture);
    filter.and_then(TryInto::try_into).map_err(|error| error.to_string())
}

/// The list as SECURITY.md has it.
pub(crate) fn table() -> String {
    let head = "| for | system calls | where they are refused |\n|---|---|---|\n";
    let row = |Group { purpose, calls, refused }: &Group| {
        let name = |Call { name, is_older, .. }: &Call| {
            if *is_older { format!("(`{name}`)") } else { format!("`{name}`") }
        };
        let names: Vec<_> = calls.iter().map(name).collect();
        format!("| {purpose} | {} | {refused} |\n", names.join(", "))
    };
    [head.to_owned()].into_iter().chain(GROUPS.iter().map(row)).collect()
}
