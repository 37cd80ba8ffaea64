//! Threads of this crate's own.

use std::io;
use std::thread::Builder;

/// Starts a thread with this name, and this many bytes of stack if that is said. What it would run
/// is dropped if it cannot be started.
pub(crate) fn start_thread(
    name: &str,
    stack: Option<usize>,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    start(name, stack, Box::new(run))
}

/// Not generic, as all that std has for one type of thread is a thousand lines for the compiler.
fn start(name: &str, stack: Option<usize>, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let mut thread = Builder::new().name(name.to_owned());
    if let Some(size) = stack {
        thread = thread.stack_size(size);
    }
    thread.spawn(run).map(drop)
}
