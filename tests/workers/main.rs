//! How workers come to be, what they may do and take, and how they end.

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "../filter/mod.rs"]
mod filter;
#[path = "../journal/mod.rs"]
mod journal;

mod carried;
mod copies;
mod emit;
mod exit_hook;
mod filtered;
mod fork_hooks;
mod fork_server_shared;
mod forkserver;
mod forkserver_death;
mod hostile;
mod initializer;
mod inner_threads;
mod limits;
mod map_forged;
mod memory;
mod oom;
mod orphans;
mod output;
mod parent_end;
mod preload;
mod recycling;
mod sandboxes;
mod strangers;
mod stuck;
mod task_limits;
mod task_output;
mod window;
mod worker_death;

procpool::test_support!();
