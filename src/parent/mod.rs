//! A child as its parent sees it.

mod advice;
pub(crate) mod birth;
mod cgroup;
mod handshake;
mod inbox;
mod launch;
pub(crate) mod link;
pub(crate) mod message;
mod oom;
mod outlet;
mod output;
mod program;
mod sink;
mod source;
mod surroundings;
mod unshared;

pub use self::cgroup::Cgroup;
pub(crate) use self::handshake::{Handshake, Heard, misplaced};
pub(crate) use self::inbox::keep_payload;
pub(crate) use self::launch::Launch;
pub use self::launch::StartMethod;
pub(crate) use self::outlet::Outlet;
pub(crate) use self::output::FailedOutput;
pub use self::output::{OutputLine, WorkerOutput};
pub(crate) use self::program::{
    Descriptor, Program, inner_threads, program_limits, program_settings, start_child,
};
