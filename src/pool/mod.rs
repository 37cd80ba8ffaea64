//! The engine of one pool.

pub(crate) mod size;

pub(crate) use self::size::allowed_workers;
pub(crate) use crate::scheduler::{Force, OnWorkerDeath};
