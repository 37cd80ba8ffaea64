//! Workers on other machines: a service and the agents on its hosts.
//!
//! ```text
//! service                                       host
//! supervisor ── link ── stream ┐                ┌ stream ── pump ── worker
//!               link ── stream ┤  connection    ├ stream ── pump ── worker
//!             HostStart ───────┴═ ssh, srun, … ═┴── agent (starts and ends them)
//! ```

mod agent;
mod allocation;
mod build;
mod connection;
mod far;
#[cfg(test)]
mod fuzz;
mod greeting;
mod launcher;
mod lease;
mod mux;
mod node_list;
mod own_copy;
mod pump;
mod slurm;
mod spec;
mod ssh;
mod start;
mod window;

pub(crate) use self::agent::run as run_agent;
pub(crate) use self::own_copy::FarProgram;
pub use self::spec::Host;
pub(crate) use self::spec::Reach;
pub(crate) use self::start::HostStart;
