//! What is left to this process because its parent has died: so it is with the first process of a
//! namespace, as that of a container, and with a subreaper.
//!
//! Of these only the members of groups that were killed here are reaped, as all others are the
//! program's. Who is killed dies when it gets to it, and comes to this process when all of its
//! parents have died that come before; so what is left of a group is looked at again, by a thread
//! that ends with the last one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};

use super::descriptor::Descriptor;
use super::kernel::{is_group_left, is_subreaper};
use crate::sys::thread::start_thread;

/// How long somebody of a group is waited for who is not a child of this process.
const PATIENCE: Duration = Duration::from_secs(10);

static GROUPS: Mutex<Groups> = Mutex::new(Groups { killed: Vec::new(), has_thread: false });
static NEWS: Condvar = Condvar::new();

struct Groups {
    /// Those of which somebody may be left.
    killed: Vec<KilledGroup>,
    has_thread: bool,
}

struct KilledGroup {
    id: Pid,
    /// Tells it from a later one with the same id.
    leader: Option<Arc<Descriptor>>,
    since: Instant,
}

/// Reaps what is left of a group that was killed, now and later, as far as it comes to this
/// process. Its leader has been reaped, or is to be reaped with the others.
pub(super) fn reap_group(id: Pid, leader: Option<&Arc<Descriptor>>) {
    if !is_left_with_orphans() {
        return;
    }
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    groups.killed.push(KilledGroup { id, leader: leader.cloned(), since: Instant::now() });
    // With those for which there was no thread.
    groups.reap();
    if groups.killed.is_empty() {
        return;
    }
    if groups.has_thread {
        NEWS.notify_one();
    } else {
        // Without one they wait for the next group.
        groups.has_thread = start_thread("procpool-orphans", None, keep_reaping).is_ok();
    }
}

/// Whether processes whose parents have died may become children of this one.
fn is_left_with_orphans() -> bool {
    getpid() == Pid::INIT || is_subreaper()
}

fn keep_reaping() {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = SHORTEST;
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    while !groups.killed.is_empty() {
        let waited = NEWS.wait_timeout(groups, pause).unwrap_or_else(PoisonError::into_inner);
        groups = waited.0;
        pause = if waited.1.timed_out() { (2 * pause).min(LONGEST) } else { SHORTEST };
        groups.reap();
    }
    groups.has_thread = false;
}

impl Groups {
    fn reap(&mut self) {
        self.killed.retain(KilledGroup::is_left_after_reaping);
    }
}

impl KilledGroup {
    /// Whether somebody may be left of it. Nothing here blocks.
    fn is_left_after_reaping(&self) -> bool {
        if self.is_known_to_be_over() {
            return false; // its id may be that of another one by now
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        loop {
            match waitid(WaitId::Pgid(Some(self.id)), options) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true, // it is dying
                // Others may have parents that die a moment later.
                Err(_) => return !self.is_known_to_be_over() && self.since.elapsed() < PATIENCE,
            }
        }
    }

    /// Where the system does not tell, so it is after a moment in which nobody can get its id.
    fn is_known_to_be_over(&self) -> bool {
        const MOMENT: Duration = Duration::from_millis(200);
        let is_left = self.leader.as_ref().map(|leader| is_group_left(leader));
        match is_left {
            Some(Ok(is_left)) => !is_left,
            Some(Err(_)) | None => self.since.elapsed() > MOMENT,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use rustix::process::{Signal, kill_process_group};

    use super::super::kernel::open_process;
    use super::super::kernel::pidfd::{is_linux_since, refusal};
    use super::super::process::new_group;
    use super::*;

    #[expect(clippy::zombie_processes, reason = "the test is to reap it")]
    fn group(since: Instant) -> KilledGroup {
        let mut command = Command::new("sleep");
        new_group(command.arg("1000"));
        let child = command.spawn().unwrap();
        let leader = open_process(child.id()).unwrap();
        KilledGroup { id: Pid::from_child(&child), leader: Some(Arc::new(leader)), since }
    }

    fn kill(group: &KilledGroup) {
        kill_process_group(group.id, Signal::KILL).unwrap();
    }

    /// Whether somebody of it is a child of this process.
    fn has_child(group: &KilledGroup) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pgid(Some(group.id)), options).is_ok()
    }

    #[test]
    fn a_group_is_reaped_when_it_is_dead() {
        if !is_linux_since(6, 9) {
            return;
        }
        let group = group(Instant::now());
        assert!(group.is_left_after_reaping());
        kill(&group);
        while group.is_left_after_reaping() {
            std::thread::yield_now();
        }
        assert!(!has_child(&group) && group.is_known_to_be_over());
    }

    #[test]
    fn where_the_system_does_not_tell_groups_apart_it_is_reaped_only_for_a_moment() {
        refusal::during(|| {
            let long_ago = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            let mut group = group(long_ago);
            kill(&group);
            assert!(!group.is_left_after_reaping() && has_child(&group));
            group.since = Instant::now();
            while group.is_left_after_reaping() {
                std::thread::yield_now();
            }
            assert!(!has_child(&group));
        });
    }
}
