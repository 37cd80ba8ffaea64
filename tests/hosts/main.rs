//! What a pool promises whose workers are on several hosts, each with a real `sshd` in namespaces
//! of its own, or nodes of a real Slurm.
//!
//! That takes root and programs: what lacks is said, and its tests are skipped, unless
//! `PROCPOOL_TEST_HOSTS` (`sshd`, `slurm`, or both) says that it must be there.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // helpers are not seen as tests
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

#[path = "../common/mod.rs"]
mod common;

mod ahead;
mod command;
mod container;
mod echo;
mod example;
mod far;
mod link;
mod slurm;
mod ssh;
mod sshd;
mod tools;

mod losses;
mod once;
mod promises;
mod service;
mod slurm_jobs;
mod slurm_powers;
mod slurm_promises;
mod sshd_powers;

procpool::test_support!();
