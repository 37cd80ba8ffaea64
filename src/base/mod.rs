//! Words for everybody.

mod clock;
mod delays;
mod id;
mod identity;
mod limits;
pub(crate) mod log;
pub(crate) mod maps;
mod oom;
pub(crate) mod sync;
pub(crate) mod timer;

pub(crate) use self::clock::{Clock, Sleep, nanos};
pub(crate) use self::delays::Delays;
pub(crate) use self::id::HostId;
pub use self::id::{TaskId, WorkerId};
pub use self::identity::{AuthKey, CurrentProcess, current_process};
pub(crate) use self::identity::{Identity, Parent, ParentLink};
pub(crate) use self::limits::Exceeded;
pub use self::limits::ResourceLimits;
pub(crate) use self::oom::OomScore;
