//! The files of control groups, and of what they tell.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Signal;

pub(super) use super::super::super::resources::described;
use super::super::process::{open_process, signal_process};

/// The directory of this process's group in the unified hierarchy, and the one above which no
/// groups are to be seen. That it has is looked at anew, as it may be moved.
pub(super) fn unified_place() -> io::Result<Option<(PathBuf, PathBuf)>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    Ok(place(&groups, &fs::read_to_string("/proc/self/mountinfo")?, true))
}

/// Where the group of a process is, and how far up there are groups to be seen.
pub(super) fn place(groups: &str, mounts: &str, is_unified: bool) -> Option<(PathBuf, PathBuf)> {
    let is_wanted = |names: &str| if is_unified { names.is_empty() } else { has(names, "memory") };
    let path = path(groups, is_wanted)?;
    let (root, top) = mounts.lines().find_map(|line| mount(line, is_unified))?;
    let below = Path::new(path).strip_prefix(root).ok().filter(|path| !path.starts_with(".."));
    // Of a group that is not below what is mounted, that is as near as one gets.
    let below = below.unwrap_or(Path::new(""));
    Some((top.join(below).components().collect(), top)) // no slash at the end
}

/// What stands behind a name, in lines of both.
pub(super) fn named(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|line| line.0 == name).and_then(|line| number(line.1))
}

/// `max` is none.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

pub(super) fn has(names: &str, wanted: &str) -> bool {
    names.split(',').any(|name| name == wanted)
}

/// Where this process is in the hierarchy that has such controllers.
pub(super) fn path(groups: &str, are_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (_number, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        are_wanted(controllers).then_some(path)
    })
}

/// Which group is mounted, and where, if this is the hierarchy.
fn mount(line: &str, is_unified: bool) -> Option<(&str, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let is_wanted = match kind.next()? {
        "cgroup2" => is_unified,
        "cgroup" => !is_unified && has(kind.nth(1)?, "memory"),
        _ => false,
    };
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    is_wanted.then(|| (root, PathBuf::from(point)))
}

pub(super) fn words(group: &Path, file: &str) -> io::Result<Vec<String>> {
    let path = group.join(file);
    let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// `None` if somebody else has it, or the group is gone.
pub(super) fn lock(group: &Path) -> io::Result<Option<File>> {
    let file = match File::open(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => locked.map(|()| group.exists().then_some(file)).map_err(io::Error::from),
    }
}

/// Kills all that is left in a group, and removes it. Blocks until they have gone.
pub(super) fn end(group: &Path) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begin = Instant::now();
    // Also if there is no descriptor to look into it at this moment: there will be one.
    while remove_tree(group).is_err() && begin.elapsed() < PATIENCE {
        // Linux 5.14 has this; before it each is killed by itself.
        if fs::write(group.join("cgroup.kill"), "1").is_err() {
            kill_each(group);
        }
        wait_for_change(group);
    }
}

/// It and the groups in it, those above before those below. Not by calling itself: a task may have
/// made them as deep as it likes.
fn groups(top: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut all, mut next) = (vec![top.to_owned()], 0);
    while let Some(group) = all.get(next) {
        let below: Vec<_> = match fs::read_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            entries => entries?.flatten().collect(),
        };
        let is_group = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        all.extend(below.into_iter().filter(is_group).map(|entry| entry.path()));
        next += 1;
    }
    Ok(all)
}

/// Removes it with the groups in it, if there are no processes.
pub(super) fn remove_tree(group: &Path) -> io::Result<()> {
    match remove(group) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {}
        removed => return removed,
    }
    groups(group)?.iter().rev().try_for_each(|group| remove(group))
}

fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()), // somebody else has
        removed => removed,
    }
}

fn kill_each(top: &Path) {
    for group in groups(top).unwrap_or_default() {
        let members = || fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in members().lines().filter_map(|line| line.parse().ok()) {
            // Whether it is in the group is looked at once more, now that nobody else can get its
            // pid.
            if let Ok(process) = open_process(pid)
                && members().lines().any(|line| line == pid.to_string())
            {
                let _ = signal_process(&process, Signal::KILL);
            }
        }
    }
}

/// Until there is nobody left in it, or for a moment.
fn wait_for_change(group: &Path) {
    const MOMENT: Duration = Duration::from_millis(20);
    const LIMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let is_left = |text: &str| named(text, "populated") == Some(1);
    match File::open(group.join("cgroup.events")) {
        Ok(events) if io::read_to_string(&events).is_ok_and(|text| is_left(&text)) => {
            let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&LIMIT));
        }
        _ => std::thread::sleep(MOMENT),
    }
}

/// With its place.
pub(super) fn at(path: &Path, error: &io::Error) -> io::Error {
    described(error, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_now_is_known_by_its_number() {
        let told = |errno: Errno| at(Path::new("/group"), &errno.into());
        assert_eq!(told(Errno::MFILE).raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        assert_eq!(told(Errno::NOENT).raw_os_error(), None);
        assert!(told(Errno::NOENT).to_string().starts_with("/group: "));
    }
}
