//! The control group of a child, which ends with it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, write};
use tokio::sync::watch;

use super::delegation::{PREFIX, home};
use super::files::{at, described, end, lock, named};
use crate::sys::thread::start_thread;

/// Those that are being removed hold a receiver.
static REMOVALS: LazyLock<watch::Sender<()>> = LazyLock::new(watch::Sender::default);

/// A control group for one child and what that starts. Whoever is left in it when this is dropped
/// is killed; then the group is removed, by a thread of its own.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    directory: PathBuf,
    /// So it is not swept away as one that nobody owns, until it is removed.
    lock: Option<File>,
}

impl OwnCgroup {
    /// With values in its files. Without a directory it is made in what was delegated to this
    /// process. May block for some milliseconds, as it waits for the whole system's groups.
    pub(crate) fn create<'a>(
        parent: Option<&Path>,
        values: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> io::Result<Self> {
        let home = home(parent, values.clone().map(|(file, _)| file))?;
        let (directory, lock) = make_directory(&home)?;
        let group = Self { directory, lock: Some(lock) };
        for (file, value) in values {
            let path = group.directory.join(file);
            fs::write(&path, value).map_err(|error| {
                let place = path.display();
                described(&error, format!("`{value}` cannot be written to {place}: {error}"))
            })?;
        }
        Ok(group)
    }

    /// The program is in it from its beginning.
    pub(crate) fn start_in(&self, command: &mut Command) -> io::Result<()> {
        const ITSELF: &[u8] = b"0";
        let members = self.members()?;
        let join = move || write(&members, ITSELF).map(drop).map_err(io::Error::from);
        // SAFETY: all that runs between the fork and the exec is a system call, which takes no
        // lock of this process and no memory.
        #[expect(unsafe_code, reason = "runs in a copy of this process")]
        unsafe {
            command.pre_exec(join)
        };
        Ok(())
    }

    /// A process that runs is in it from now on. If it has ended meanwhile, that is seen elsewhere.
    pub(crate) fn add(&self, pid: u32) -> io::Result<()> {
        match write(&self.members()?, pid.to_string().as_bytes()) {
            Ok(_) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(at(&self.directory, &error.into())),
        }
    }

    fn members(&self) -> io::Result<File> {
        let path = self.directory.join("cgroup.procs");
        OpenOptions::new().write(true).open(&path).map_err(|error| at(&path, &error))
    }

    /// Whether the kernel has killed somebody in it for want of memory; `None` if nobody counts.
    pub(crate) fn was_oom(&self) -> Option<bool> {
        let events = fs::read_to_string(self.directory.join("memory.events")).ok()?;
        Some(named(&events, "oom_kill")? > 0)
    }

    /// Waits until all groups are removed that nobody needs any more.
    pub(crate) async fn removed() {
        REMOVALS.closed().await;
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        const STACK: usize = 64 << 10;
        let (directory, token) = (std::mem::take(&mut self.directory), REMOVALS.subscribe());
        let (kill, lock) = (directory.join("cgroup.kill"), self.lock.take());
        let ending = start_thread("procpool-cgroup", Some(STACK), move || {
            end(&directory);
            drop((lock, token));
        });
        if ending.is_err() {
            let _ = fs::write(kill, "1"); // it stays, empty, until the next service comes here
        }
    }
}

/// With a lock on it.
fn make_directory(home: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = home.join(format!("{PREFIX}{}-{number}", std::process::id()));
        let made = fs::create_dir(&directory).and_then(|()| {
            lock(&directory)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        });
        match made {
            Ok(lock) => return Ok((directory, lock)),
            // It is of another namespace, or of somebody who has had this pid; or it was swept away
            // before it had a lock.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) && home.exists() => {}
            Err(error) => return Err(at(&directory, &error)),
        }
    }
}
