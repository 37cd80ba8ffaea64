//! Which system calls are left to a process in a sandbox. What is not here is refused, so that what
//! a later kernel brings is, too.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Calls by their number, each with what its arguments may be; with nothing if they may be
/// anything.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Memory, time, threads, what is open already, and files, which Landlock is for.
const HARMLESS: &[i64] = calls! {
    SYS_brk SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_msync SYS_mincore SYS_mlock
    SYS_mlock2 SYS_munlock SYS_mlockall SYS_munlockall SYS_membarrier SYS_memfd_create
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect

    SYS_futex SYS_futex_waitv SYS_set_robust_list SYS_set_tid_address SYS_rseq SYS_gettid
    SYS_clone3 SYS_exit SYS_exit_group SYS_sched_yield SYS_sched_getaffinity SYS_sched_getparam
    SYS_sched_getscheduler SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_getcpu

    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_sigaltstack SYS_signalfd4 SYS_restart_syscall

    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_times
    SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_setitimer SYS_getitimer

    SYS_getpid SYS_getppid SYS_getpgid SYS_getsid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid
    SYS_getresuid SYS_getresgid SYS_getgroups SYS_capget SYS_uname SYS_sysinfo SYS_getrusage
    SYS_getpriority SYS_getrandom SYS_umask SYS_getcwd SYS_chdir SYS_fchdir

    SYS_read SYS_readv SYS_pread64 SYS_preadv SYS_preadv2 SYS_write SYS_writev SYS_pwrite64
    SYS_pwritev SYS_pwritev2 SYS_lseek SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_pipe2
    SYS_sendfile SYS_splice SYS_tee SYS_vmsplice SYS_copy_file_range SYS_fsync SYS_fdatasync
    SYS_fallocate SYS_ftruncate SYS_fadvise64 SYS_readahead SYS_flock

    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
    SYS_eventfd2

    SYS_recvfrom SYS_recvmsg SYS_recvmmsg SYS_sendto SYS_sendmsg SYS_sendmmsg SYS_shutdown
    SYS_accept SYS_accept4 SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt

    SYS_openat SYS_openat2 SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_faccessat
    SYS_faccessat2 SYS_readlinkat SYS_getdents64 SYS_mkdirat SYS_unlinkat SYS_renameat2
    SYS_linkat SYS_symlinkat
};

/// Which newer calls have replaced, and are refused where there are none of them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = calls! {
    SYS_getrlimit SYS_renameat SYS_sync_file_range SYS_arch_prctl SYS_time SYS_alarm SYS_pause
    SYS_getpgrp SYS_dup2 SYS_pipe SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait SYS_eventfd
    SYS_signalfd SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_getdents
    SYS_mkdir SYS_rmdir SYS_unlink SYS_rename SYS_link SYS_symlink
};
/// `renameat`, which `libc` does not name there, and the C library calls.
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[38];

/// With [`HARMLESS`] for who may have sockets of the internet.
const NETWORK: &[i64] = calls! { SYS_bind SYS_listen SYS_connect };

/// Of a thread that waits, and then ends its process.
const WATCHING: &[i64] = calls! {
    SYS_ppoll SYS_restart_syscall SYS_rt_sigreturn SYS_rt_sigprocmask SYS_futex SYS_mmap SYS_munmap
    SYS_mprotect SYS_madvise SYS_brk SYS_getpid SYS_getpgid SYS_exit SYS_exit_group
};

#[cfg(target_arch = "x86_64")]
const POLL: &[i64] = calls! { SYS_poll };
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[i64] = &[];

/// All that is left to a process.
pub(super) fn allowed(network: bool) -> Result<Rules, BackendError> {
    let mut rules = unconditional([HARMLESS, OLDER, if network { NETWORK } else { &[] }]);
    to_itself(&mut rules)?;
    // Processes are made by the same call as threads.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    let thread = word(libc::CLONE_THREAD);
    allow(&mut rules, libc::SYS_clone, &[&[(0, MaskedEq(word(namespaces) | thread), thread)]])?;
    // Whom the system signals when something happens to a file may be anybody.
    let owners = [libc::F_SETOWN, F_SETSIG, F_SETOWN_EX].map(|command| (1, Ne, word(command)));
    allow(&mut rules, libc::SYS_fcntl, &[&owners])?;
    let requests = [TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP, FIOASYNC];
    allow(&mut rules, libc::SYS_ioctl, &[&requests.map(|request| (1, Ne, request))])?;
    // Those without a connection could be used to send to any socket that has a name.
    let pair = (1, MaskedEq(TYPES), word(libc::SOCK_STREAM));
    allow(&mut rules, libc::SYS_socketpair, &[&[(0, Eq, word(libc::AF_UNIX)), pair]])?;
    if network {
        let internet = [libc::AF_INET, libc::AF_INET6].map(|domain| [(0, Eq, word(domain))]);
        allow(&mut rules, libc::SYS_socket, &internet.each_ref().map(|rule| &rule[..]))?;
    }
    let options = OPTIONS.map(|option| [(0, Eq, option)]);
    allow(&mut rules, libc::SYS_prctl, &options.each_ref().map(|rule| &rule[..]))?;
    Ok(rules)
}

/// What could be done to any process of the same user may be done to this one.
fn to_itself(rules: &mut Rules) -> Result<(), BackendError> {
    let own = u64::from(std::process::id());
    for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        allow(rules, call, &[&[(0, Eq, own)]])?;
    }
    // Where zero is this process; or its group, which is its own, as it cannot leave that.
    for call in [libc::SYS_kill, libc::SYS_prlimit64, libc::SYS_sched_setaffinity] {
        allow(rules, call, &[&[(0, Eq, 0)], &[(0, Eq, own)]])?;
    }
    Ok(())
}

pub(super) fn of_watching() -> Result<Rules, BackendError> {
    let mut rules = unconditional([WATCHING, POLL, &[]]);
    let own = u64::from(std::process::id());
    allow(&mut rules, libc::SYS_kill, &[&[(0, Eq, 0)], &[(0, Eq, own)]])?;
    Ok(rules)
}

pub(super) fn of_new_threads() -> Rules {
    unconditional([calls! { SYS_clone3 }, &[], &[]])
}

fn unconditional(lists: [&[i64]; 3]) -> Rules {
    lists.concat().into_iter().map(|call| (call, Vec::new())).collect()
}

/// The call is allowed if all conditions of one of the rules hold: an argument, by its position.
fn allow(
    rules: &mut Rules,
    call: i64,
    any: &[&[(u8, SeccompCmpOp, u64)]],
) -> Result<(), BackendError> {
    let condition = |(position, operator, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*position, SeccompCmpArgLen::Dword, operator.clone(), *value)
    };
    let rule = |all: &&[(u8, SeccompCmpOp, u64)]| {
        SeccompRule::new(all.iter().map(condition).collect::<Result<_, _>>()?)
    };
    rules.insert(call, any.iter().map(rule).collect::<Result<_, _>>()?);
    Ok(())
}

/// As the kernel gets it.
fn word(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

/// Of a socket's kind, without its flags.
const TYPES: u64 = 0xf;
// From `asm-generic/fcntl.h`, `asm-generic/ioctls.h` and `asm-generic/sockios.h`.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const TIOCSTI: u64 = 0x5412;
const FIOASYNC: u64 = 0x5452;
const TIOCLINUX: u64 = 0x541c;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
/// Names of threads and of memory, and where the C library's facts about the processor are.
const OPTIONS: [u64; 4] = [15, 16, 0x5356_4d41, 0x4155_5856];
