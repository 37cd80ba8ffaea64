//! The operating system: the one place that knows platforms, and the only one with `unsafe`.
//!
//! Everything above sees the same names whatever is below.

mod barrier;
mod child;
#[cfg(test)]
mod counting;
mod cpu_timer;
mod fork;
mod inherited;
mod large;
mod lifeline;
mod memory;
mod numbers;
mod peer;
mod pipe;
mod plain;
mod random;
mod resources;
mod segment;
mod socket;
mod stack;

pub(crate) use self::barrier::{barrier, take_part_in_barriers, takes_part_in_barriers};
pub(crate) use self::child::{
    ChildProcess, ExitWatch, Reaper, kill_own_group, open_parent, open_process, own_executable,
    require_io_driver, signal, signal_name, watch_readable,
};
#[cfg(test)]
pub(crate) use self::counting::memory_for;
pub(crate) use self::cpu_timer::CpuTimer;
pub(crate) use self::fork::{
    Fork, SingleThreaded, exit_forked, flush_output, has_event_poll, keep_exits, kill_group,
    reap_child, use_huge_pages,
};
pub(crate) use self::inherited::close_inherited;
pub(crate) use self::large::{reserve, trim, try_reserve, vec_for};
pub(crate) use self::lifeline::{Lifeline, lifeline};
pub(crate) use self::memory::{SharedPage, SharedPageRef};
pub(crate) use self::numbers::{
    Number, Timeless, as_numbers, collect_numbers, convert, number_bytes, peek, type_id,
};
pub(crate) use self::peer::Peer;
pub(crate) use self::pipe::{
    FramePipes, ParentPipes, PipeWidth, WorkerPipes, has_hung_up, is_readable,
    own_standard_streams, read_available, read_behind, read_now, set_standard_streams,
    take_control_socket, take_frame_pipes, wait_for_hangup, wait_for_input, worker_pipes,
    write_to_stdin,
};
pub use self::plain::Plain;
pub(crate) use self::plain::{as_bytes, as_plain, as_plain_mut};
pub(crate) use self::random::random_bytes;
pub(crate) use self::resources::{
    MemoryGauge, Resource, is_address_space_limited, is_shortage, limit_resource, resident_memory,
};
pub(crate) use self::segment::{Lock, Segment, SegmentRef};
pub(crate) use self::socket::{control_socket, receive_with_fds, send_with_fds};
pub(crate) use self::stack::{stack_left, stack_pointer};
