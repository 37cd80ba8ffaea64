//! Descriptors of memory that have come over a socket, where the system does not let one process
//! open what another one has.

use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::fstat;

use super::descriptor::{Descriptor, close_elsewhere};
use super::kernel::is_memory;

/// More than any frames name that are read at a time. Then the oldest are not wanted any more.
const MOST: usize = 256;

/// What has come, and was not wanted yet.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// With the inodes, by which they are told from each other.
    waiting: Mutex<Vec<(u64, Descriptor)>>,
    /// Several frames may name one that has come once.
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

    /// False if something came that is no memory. To look closer at that, or to close it, may take
    /// as long as who has sent it wants.
    pub(crate) fn add(&self, descriptors: Vec<Descriptor>) -> bool {
        let (memory, strange): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_memory);
        let is_honest = strange.is_empty();
        if !is_honest {
            close_elsewhere(strange);
        }
        let with_inode = |fd: Descriptor| Some((fstat(&fd).ok()?.st_ino, fd));
        let mut arrived: Vec<_> = memory.into_iter().filter_map(with_inode).collect();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.append(&mut arrived);
        let surplus = waiting.len().saturating_sub(MOST);
        waiting.drain(..surplus);
        is_honest
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

    /// Closes those that nobody will want: all frames that came with them are over.
    pub(crate) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;

    use super::super::kernel::MemoryFile;
    use super::*;

    fn file() -> (Descriptor, u64) {
        let file = MemoryFile::sparse(4096).unwrap();
        (file.descriptor().unwrap(), file.inode().unwrap())
    }

    #[test]
    fn what_has_come_is_found_as_often_as_it_came_or_until_it_is_cleared() {
        let (mut arrivals, (file, inode)) = (Arrivals::new(), file());
        let copy = || file.try_clone().unwrap();
        assert!(arrivals.add(vec![copy(), copy()]));
        assert!(arrivals.find(inode + 1).is_none());
        assert!(arrivals.find(inode).is_some() && arrivals.find(inode).is_some());
        assert!(arrivals.find(inode).is_none());
        arrivals.is_kept = true;
        arrivals.add(vec![copy()]);
        assert!(arrivals.find(inode).is_some() && arrivals.find(inode).is_some());
        arrivals.clear();
        assert!(arrivals.find(inode).is_none());
    }

    #[test]
    fn no_more_are_kept_than_are_wanted() {
        let (arrivals, (file, _)) = (Arrivals::new(), file());
        arrivals.add((0..MOST + 5).map(|_| file.try_clone().unwrap()).collect());
        assert_eq!(arrivals.waiting.lock().unwrap().len(), MOST);
    }

    #[test]
    fn what_is_no_memory_is_not_kept() {
        let (arrivals, (memory, _)) = (Arrivals::new(), file());
        let other = Descriptor::from(File::open("/dev/null").unwrap());
        assert!(!arrivals.add(vec![other, memory]));
        assert_eq!(arrivals.waiting.lock().unwrap().len(), 1);
    }
}
