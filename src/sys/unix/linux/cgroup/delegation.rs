//! Where this process may make control groups: in the part of the unified hierarchy that was
//! delegated to it, by systemd, by a container, or by whoever has made a directory for that.
//!
//! A group with processes hands no controller on to groups in it. So a service that is in the very
//! group that was delegated moves one down, with all others in that, and is beside its workers:
//!
//! ```text
//! thumbs.service            thumbs.service
//!   (the service)     ─▶      service           (the service)
//!                             procpool-71-1     (a worker, and what that has started)
//!                             procpool-71-2
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use rustix::fs::getxattr;
use rustix::io::Errno;

use super::files::{at, described, has, lock, path, remove_tree, unified_place, words};

/// What groups are called that this crate makes for others than the service.
pub(super) const PREFIX: &str = "procpool-";
/// Where the service moves.
const SERVICE: &str = "service";

/// Where groups with these files are made, which is made ready for that. Without a directory it is
/// what was delegated to this process.
pub(super) fn home<'a>(
    given: Option<&Path>,
    files: impl Iterator<Item = &'a str>,
) -> io::Result<PathBuf> {
    /// By the directory that was given, if one was.
    static HOMES: Mutex<Vec<(Option<PathBuf>, Home)>> = Mutex::new(Vec::new());

    let wanted: Vec<_> = files.filter_map(controller).map(str::to_owned).collect();
    let mut homes = HOMES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = homes.iter().position(|(known, _)| known.as_deref() == given);
    let place = known.unwrap_or(homes.len());
    if known.is_none() {
        let directory = given.map_or_else(delegated, |given| Ok(given.to_owned()))?;
        homes.push((given.map(Path::to_owned), Home { directory, ..Home::default() }));
    }
    let home = &mut homes[place].1;
    home.enable(wanted)?;
    home.sweep();
    Ok(home.directory.clone())
}

#[derive(Default)]
struct Home {
    directory: PathBuf,
    /// Processes can be put into groups in it.
    is_ready: bool,
    /// That groups in it have.
    controllers: Vec<String>,
    /// What services have left behind that were killed is removed.
    is_swept: bool,
}

impl Home {
    fn enable(&mut self, wanted: Vec<String>) -> io::Result<()> {
        if !self.is_ready || wanted.iter().any(|name| !self.controllers.contains(name)) {
            enable(&self.directory, &wanted)?;
            self.controllers.extend(wanted);
            self.is_ready = true;
        }
        Ok(())
    }

    /// Whoever is left in such a group is dying, and gone when the next one is started; unless it
    /// is meant to outlive its service.
    fn sweep(&mut self) {
        self.is_swept = self.is_swept || sweep(&self.directory).is_ok();
    }
}

/// To which a file belongs; none of those that each group has.
fn controller(file: &str) -> Option<&str> {
    let (controller, _) = file.split_once('.')?;
    (controller != "cgroup").then_some(controller)
}

/// The group that was delegated to this process: the one that it is in, or the next above that
/// says so, or in which it is a worker itself.
fn delegated() -> io::Result<PathBuf> {
    let place = unified_place()?;
    let (own, top) = place.ok_or_else(|| {
        let text = "this system has no unified hierarchy of control groups (cgroup v2) mounted";
        io::Error::new(io::ErrorKind::Unsupported, text)
    })?;
    let mut groups = own.ancestors().take_while(|group| group.starts_with(&top));
    if let Some(group) = groups.find(|group| is_marked(group) || is_of_worker(group)) {
        return Ok(group.to_owned());
    }
    match unit(&own) {
        Some(unit) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{unit}` is not delegated: give it `Delegate=yes`"),
        )),
        // Somebody has moved there before.
        None if file_name(&own) == Some(SERVICE) => {
            let above = own.parent().filter(|above| above.starts_with(&top));
            Ok(above.unwrap_or(&own).to_owned())
        }
        None => Ok(own),
    }
}

/// Whether systemd says that what is in it is the unit's own matter.
fn is_marked(group: &Path) -> bool {
    let mut value = [0; 1];
    let says = |name| getxattr(group, name, &mut value).is_ok_and(|_| value == *b"1");
    ["user.delegate", "trusted.delegate"].into_iter().any(says)
}

/// By its whole name: others may have units whose names begin like that.
fn is_of_worker(group: &Path) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let numbers = file_name(group).and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
    numbers.is_some_and(|(pid, number)| is_number(pid) && is_number(number))
}

/// The name of a group that is systemd's as long as it has not delegated it.
fn unit(group: &Path) -> Option<&str> {
    const KINDS: [&str; 3] = [".service", ".scope", ".slice"];
    file_name(group).filter(|name| KINDS.iter().any(|kind| name.ends_with(kind)))
}

fn file_name(group: &Path) -> Option<&str> {
    group.file_name()?.to_str()
}

/// Has the groups in it have these controllers. Those that count for threads, as `cpu`, could also
/// be handed on by a group that has processes; but no process could be put beside these then.
fn enable(home: &Path, wanted: &[String]) -> io::Result<()> {
    const CONTROL: &str = "cgroup.subtree_control";
    /// Others may be started in it while it is emptied, and threads that are ending are not moved.
    const TRIES: u32 = 200;
    const PAUSE: Duration = Duration::from_millis(1);

    let to_be_had = words(home, "cgroup.controllers")?;
    if let Some(missing) = wanted.iter().find(|name| !to_be_had.contains(name)) {
        return Err(unavailable(home, missing, &to_be_had));
    }
    let enabled = words(home, CONTROL)?;
    let lacking = wanted.iter().filter(|name| !enabled.contains(name));
    let lacking: Vec<_> = lacking.map(|name| format!("+{name}")).collect();
    if wanted.is_empty() && enabled.is_empty() {
        return Ok(());
    }
    for _ in 0..TRIES {
        if !is_root(home) {
            empty(home)?;
        }
        match fs::write(home.join(CONTROL), lacking.join(" ")) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {
                std::thread::sleep(PAUSE);
            }
            written => return written.map_err(|error| at(&home.join(CONTROL), &error)),
        }
    }
    let text = format!("new processes come to {} all the time", home.display());
    Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

/// The one on top of all, which may have both. Only that has no type.
fn is_root(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

fn unavailable(home: &Path, missing: &str, to_be_had: &[String]) -> io::Error {
    let older = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let hint = if path(&older, |names| has(names, missing)).is_some() {
        "on this system it belongs to the older hierarchy (cgroup v1)"
    } else {
        "have it delegated, by `Delegate=yes` for a unit of systemd"
    };
    let text = format!(
        "the controller `{missing}` is not to be had in {}, only `{}`: {hint}",
        home.display(),
        to_be_had.join(" ")
    );
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Moves all of its processes one down. They are in what was delegated, and under all the limits
/// that they were under.
fn empty(home: &Path) -> io::Result<()> {
    let members = words(home, "cgroup.procs")?;
    if members.is_empty() {
        return Ok(());
    }
    let below = home.join(SERVICE);
    match fs::create_dir(&below) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at(&below, &error));
        }
        _ => {}
    }
    for pid in members {
        match fs::write(below.join("cgroup.procs"), &pid) {
            // It has ended.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
            written => written.map_err(|error| {
                let (home, below) = (home.display(), below.display());
                let text =
                    format!("process {pid} is in {home}, not to be moved to {below}: {error}");
                described(&error, text)
            })?,
        }
    }
    Ok(())
}

/// Removes groups that nobody owns any more; an error says that one has processes.
fn sweep(home: &Path) -> io::Result<()> {
    let groups = fs::read_dir(home)?.flatten().map(|entry| entry.path());
    let swept = groups.filter(|path| is_of_worker(path)).map(|group| {
        // Locked as long as somebody lives who has made it.
        lock(&group)?.map_or(Ok(()), |_lock| remove_tree(&group))
    });
    swept.fold(Ok(()), io::Result::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_their_controllers() {
        let files = ["memory.max", "memory.oom.group", "cgroup.max.depth", "io.weight", "odd"];
        let controllers: Vec<_> = files.into_iter().filter_map(controller).collect();
        assert_eq!(controllers, ["memory", "memory", "io"]);
    }

    #[test]
    fn groups_of_systemd_and_of_workers_are_known_by_their_names() {
        let names = ["/a/thumbs.service", "/a/session-3.scope", "/a/thumbs.service/main"];
        let units: Vec<_> = names.iter().map(|name| unit(Path::new(name))).collect();
        assert_eq!(units, [Some("thumbs.service"), Some("session-3.scope"), None]);
        let are = ["/a/procpool-1-2", "/a", "/a/procpool-web.slice", "/a/procpool-1"];
        let are = are.map(|name| is_of_worker(Path::new(name)));
        assert_eq!(are, [true, false, false, false]);
    }
}
