//! What Unix gives.

pub(super) mod barrier;
pub(super) mod child;
pub(super) mod cpu_timer;
pub(super) mod descriptor;
pub(super) mod fork;
pub(super) mod lifeline;
pub(super) mod pipe;
pub(super) mod process;
pub(super) mod resources;
pub(super) mod sentinel;
pub(super) mod socket;
