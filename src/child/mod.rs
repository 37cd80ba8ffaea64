//! The worker's side: what happens in the child process.
//!
//! A worker is blocking std code, and so is a [`Process`](crate::Process). It reads a frame, runs
//! the function, writes the reply, and only then looks at the next frame; so the first task without
//! a reply is the only one that can be running. A second thread waits for the parent to go; a third
//! sends what tasks report of their progress, from the first report on.

mod call;
mod chunk;
mod context;
mod credit;
mod emit;
mod extras;
mod forkserver;
mod hooks;
mod input;
mod last_words;
mod leftovers;
mod limits;
mod original;
mod output;
mod panic;
mod prepare;
mod process;
mod progress;
mod request;
pub mod reseed;
mod sandbox;
mod source;
mod stream;
mod worker;

pub use self::context::{Current, StateError, current, preloaded, state, try_current};
pub use self::emit::EmitError;
pub use self::extras::ContextError;
pub(crate) use self::forkserver::run as run_fork_server;
pub(crate) use self::process::run as run_process;
pub(crate) use self::worker::{end_without_thread, run as run_worker};
