//! A child as its parent sees it.

pub(crate) mod birth;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod launch;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod outlet;
pub(crate) mod output;
pub(crate) mod program;

pub(crate) use self::handshake::{Handshake, Heard, misplaced};
pub(crate) use self::inbox::{keep_payload, read_more};
pub(crate) use self::launch::{Call, Launch};
#[cfg(test)]
pub(crate) use self::message::Orders;
pub(crate) use self::message::{
    Ended, ExitReply, Listener, Message, Order, Progress, Reply, Report, Why,
};
pub(crate) use self::outlet::Outlet;
pub use self::output::{OutputLine, WorkerOutput};
pub(crate) use self::program::{Environment, Program, start_child};
