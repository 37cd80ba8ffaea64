//! What only Linux has.

mod calls;
mod cgroup;
mod cpu_timer;
mod huge_pages;
mod lifeline;
mod mapping;
mod memory_file;
mod oom;
pub(super) mod pidfd;
mod process;
mod program;
#[cfg(feature = "sandbox")]
mod sandbox;
mod sealed_file;
mod survey;
mod system_v;
mod wiped_page;

pub(crate) use self::calls::{
    OWN_SIGNALS, RECEIVE, SEND, barrier, fill_randomly, give_up_terminal, is_subreaper,
    keeping_error, own_stack, read_now, real_time_signals, set_pipe_size, take_part_in_barriers,
    takes_part_in_barriers,
};
pub(crate) use self::cgroup::{MemoryCgroup, OwnCgroup};
pub(crate) use self::cpu_timer::CpuTimer;
pub(crate) use self::huge_pages::{prefer_huge_pages, use_huge_pages};
pub(crate) use self::lifeline::Lifeline;
pub(crate) use self::mapping::{Mapping, wait_for_change, wake_all};
pub(crate) use self::memory_file::{MemoryFile, give_up_segments};
pub(crate) use self::oom::raise_oom_score;
pub(crate) use self::pidfd::{is_group_left, signal_group, status_after_reaping};
pub(crate) use self::process::{
    MEASURES_ITSELF, MemoryGauge, count_threads, is_accessible, is_unreaped, name_own_process,
    open_child, open_process, resident_memory, signal_process,
};
pub(crate) use self::program::{carrier, own_command};
#[cfg(feature = "sandbox")]
pub(crate) use self::sandbox::{enter_sandbox, only_watch};
pub(crate) use self::sealed_file::is_memory;
pub(crate) use self::survey::{has_loaded, held, inherited_thread_name, other_threads};
pub(crate) use self::wiped_page::WipedPage;
