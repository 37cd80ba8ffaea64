//! What the control group of this process says of memory: in the unified hierarchy, or, where that
//! has no memory, in the older one.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::files::{has, named, number, path, place};

/// The group that this process is in, in the hierarchy that has memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryCgroup {
    directory: PathBuf,
    /// How far up there are groups to be seen.
    top: PathBuf,
    is_unified: bool,
}

impl MemoryCgroup {
    /// `None` if there is none, or it cannot be seen. It is looked for once: a list of all mounts
    /// is long, and a service seldom moves. Where it moves one down, to have groups for its workers
    /// beside it, either place does: those workers have counts of their own.
    pub(crate) fn own() -> Option<&'static Self> {
        static OWN: OnceLock<Option<MemoryCgroup>> = OnceLock::new();
        let look = || {
            let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
            Self::find(&groups, &fs::read_to_string("/proc/self/mountinfo").ok()?)
        };
        OWN.get_or_init(look).as_ref()
    }

    /// From what the kernel says of the groups of a process, and of what is mounted where.
    fn find(groups: &str, mounts: &str) -> Option<Self> {
        let is_unified = path(groups, |names| has(names, "memory")).is_none();
        let (directory, top) = place(groups, mounts, is_unified)?;
        Some(Self { directory, top, is_unified })
    }

    /// The most bytes that this group, and those that it is in, may have.
    pub(crate) fn limit(&self) -> Option<u64> {
        let file = if self.is_unified { "memory.max" } else { "memory.limit_in_bytes" };
        let groups = self.directory.ancestors().take_while(|group| group.starts_with(&self.top));
        let limits = groups.filter_map(|group| number(&fs::read_to_string(group.join(file)).ok()?));
        limits.min()
    }

    /// How many processes the kernel has killed in it for want of memory; in the unified hierarchy
    /// those in groups of its own count, too.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        let file = if self.is_unified { "memory.events" } else { "memory.oom_control" };
        named(&fs::read_to_string(self.directory.join(file)).ok()?, "oom_kill")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const OLDER: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        35 31 0:32 /docker/a1 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    fn found(groups: &str, mounts: &str) -> Option<(String, bool)> {
        let group = MemoryCgroup::find(groups, mounts)?;
        Some((group.directory.to_str()?.to_owned(), group.is_unified))
    }

    #[test]
    fn the_own_group_is_found_in_the_hierarchy_that_has_memory() {
        let at = |path: &str, is_unified| Some((path.to_owned(), is_unified));
        let service = found("0::/system.slice/a:b.service\n", UNIFIED);
        assert_eq!(service, at("/sys/fs/cgroup/system.slice/a:b.service", true));
        assert_eq!(found("0::/\n", UNIFIED), at("/sys/fs/cgroup", true));
        // Another namespace's, and one that was moved out of what is seen.
        assert_eq!(found("0::/../other\n", UNIFIED), at("/sys/fs/cgroup", true));
        let groups = "5:devices:/\n4:cpu,memory:/docker/a1/b\n0::/\n";
        assert_eq!(found(groups, OLDER), at("/sys/fs/cgroup/memory/b", false));
        let groups = "4:memory:/docker/a2\n0::/\n";
        assert_eq!(found(groups, OLDER), at("/sys/fs/cgroup/memory", false));
        assert_eq!(found("4:memory:/\n", UNIFIED), None);
        assert_eq!(found("", UNIFIED), None);
    }

    #[test]
    fn counts_are_found_by_their_whole_name() {
        let events = "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n";
        assert_eq!(named(events, "oom_kill"), Some(4));
        assert_eq!(named("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }

    #[test]
    fn the_strictest_limit_counts() {
        let top = std::env::temp_dir().join(format!("procpool-cgroup-{}", std::process::id()));
        let directory = top.join("a/b");
        fs::create_dir_all(&directory).unwrap();
        let group = MemoryCgroup { directory, top: top.clone(), is_unified: true };
        assert_eq!(group.limit(), None);
        let limit = |group: &str, text: &str| {
            fs::write(top.join(group).join("memory.max"), text).unwrap();
        };
        limit("a/b", "max\n");
        assert_eq!(group.limit(), None);
        limit("a", "1000\n");
        assert_eq!(group.limit(), Some(1000));
        limit("a/b", "2000\n");
        assert_eq!(group.limit(), Some(1000));
        limit("a/b", "500\n");
        assert_eq!(group.limit(), Some(500));
        fs::remove_dir_all(top).unwrap();
    }
}
