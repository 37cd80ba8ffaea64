//! Descriptors of memory that have come over a socket, where the system does not let one process
//! open what another one has.

use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::fstat;

use super::descriptor::Descriptor;

/// As many as a process usually may have open. If a child sends more the oldest are not wanted.
const MOST: usize = 1024;

/// What has come, and was not wanted yet.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// With the inodes, by which they are told from each other.
    waiting: Mutex<Vec<(u64, Descriptor)>>,
    /// Several frames may name one that has come once, and the parent may send as many as it wants.
    is_kept: bool,
}

impl Arrivals {
    /// Of a process that sends each as often as it names it.
    pub(crate) const fn new() -> Self {
        Self { waiting: Mutex::new(Vec::new()), is_kept: false }
    }

    /// From the parent of this process. They are there until they are [cleared](Self::clear).
    pub(crate) fn from_parent() -> &'static Self {
        static FROM_PARENT: Arrivals = Arrivals { waiting: Mutex::new(Vec::new()), is_kept: true };
        &FROM_PARENT
    }

    pub(crate) fn add(&self, descriptors: Vec<Descriptor>) {
        let with_inode = |fd: Descriptor| Some((fstat(&fd).ok()?.st_ino, fd));
        let mut arrived: Vec<_> = descriptors.into_iter().filter_map(with_inode).collect();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.append(&mut arrived);
        if !self.is_kept {
            let surplus = waiting.len().saturating_sub(MOST);
            waiting.drain(..surplus);
        }
    }

    /// The one of that inode, if it has come.
    pub(crate) fn find(&self, inode: u64) -> Option<Descriptor> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.iter().position(|(other, _)| *other == inode)?;
        if self.is_kept {
            return waiting[place].1.try_clone().ok();
        }
        Some(waiting.remove(place).1)
    }

    /// The one of that inode is open already. What nobody looks for would be kept.
    pub(crate) fn pass_over(&self, inode: u64) {
        if !self.is_kept {
            drop(self.find(inode));
        }
    }

    /// Closes those that nobody will want: all frames that came with them are over.
    pub(crate) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::resources::{Resource, soft_limit};
    use super::*;

    fn file() -> (Descriptor, u64) {
        let file = Descriptor::from(File::open("/dev/null").unwrap());
        let inode = fstat(&file).unwrap().st_ino;
        (file, inode)
    }

    #[test]
    fn what_has_come_is_found_as_often_as_it_came_or_until_it_is_cleared() {
        let (mut arrivals, (first, inode)) = (Arrivals::new(), file());
        arrivals.add(vec![first, file().0]);
        assert!(arrivals.find(inode + 1).is_none());
        assert!(arrivals.find(inode).is_some());
        arrivals.pass_over(inode);
        assert!(arrivals.find(inode).is_none());
        arrivals.is_kept = true;
        arrivals.add(vec![file().0]);
        arrivals.pass_over(inode);
        assert!(arrivals.find(inode).is_some() && arrivals.find(inode).is_some());
        arrivals.clear();
        assert!(arrivals.find(inode).is_none());
    }

    #[test]
    fn no_more_are_kept_of_a_child_than_are_wanted() {
        let may_be_open = soft_limit(Resource::Nofile).unwrap_or(u64::MAX);
        if may_be_open < 2 * MOST as u64 {
            return println!("skipped: no more than {may_be_open} descriptors may be open");
        }
        let mut arrivals = Arrivals::new();
        let add = |arrivals: &Arrivals| {
            (0..=MOST / 16).for_each(|_| arrivals.add((0..16).map(|_| file().0).collect()));
            arrivals.waiting.lock().unwrap().len()
        };
        assert_eq!(add(&arrivals), MOST);
        arrivals.clear();
        arrivals.is_kept = true;
        assert_eq!(add(&arrivals), MOST + 16);
    }
}
