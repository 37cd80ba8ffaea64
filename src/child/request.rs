//! Requests to end that do not come from the pool: SIGTERM for all of a container, of a unit, or of
//! the machine. A worker finishes its task first, and leaves as the pool then tells it to.

use std::sync::OnceLock;

use super::progress::Reporter;
use crate::base::Identity;
use crate::sys::signal::outlive_strangers;

static REPORTER: OnceLock<&'static Reporter> = OnceLock::new();

/// From now on the pool is told of such a request, in place of an end. Who is neither the pool's
/// child nor its server's may be in a namespace of its own, from where the pool cannot be seen.
pub(super) fn finish_first(identity: &Identity, is_child: bool, reporter: &'static Reporter) {
    REPORTER.get_or_init(|| reporter);
    outlive_strangers(identity.parent_pid().filter(|_| is_child), Some(tell));
}

fn tell() {
    if let Some(reporter) = REPORTER.get() {
        reporter.ask_to_end();
    }
}

/// A fork server has nothing to finish, and is needed as long as there are tasks: it goes with its
/// pool, or if it is asked twice.
pub(super) fn serve_on(identity: &Identity) {
    outlive_strangers(identity.parent_pid(), None);
}
