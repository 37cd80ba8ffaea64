//! The engine of one pool.

mod size;

pub(crate) use self::size::{allowed_workers, cpus, default_workers};
