//! Control groups for tests, where they may be made.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io};

/// A control group of its own, which goes with all that runs in it.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// One whose processes have so much memory; else why not, to be printed.
    pub(crate) fn with_memory(megabytes: u64) -> Result<Self, String> {
        Self::new("memory", ["memory.max", "memory.limit_in_bytes"], megabytes << 20)
    }

    /// One that may have so many processes and threads; else why not, to be printed.
    pub(crate) fn with_processes(most: u64) -> Result<Self, String> {
        Self::new("pids", ["pids.max", "pids.max"], most)
    }

    /// The names of the limit are those of today, and of the first version.
    fn new(controller: &str, limits: [&str; 2], most: u64) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (root, limit) =
            root(controller, limits).map_err(|error| format!("skipped: {error}"))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("procpool-test-{}-{number}", std::process::id()));
        let skipped = |error: io::Error| format!("skipped: {}: {error}", path.display());
        fs::create_dir(&path).map_err(skipped)?;
        let group = Self(path.clone());
        fs::write(path.join(limit), most.to_string()).map_err(skipped)?;
        Ok(group)
    }

    /// A command that runs in it from its beginning.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        command.args(["-c", script]).arg(&self.0).arg(program);
        command
    }

    /// What it printed, of a program that must end well.
    pub(crate) fn run(&self, program: &Path, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(program).args(args).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{args:?} ended with {status}; it printed:\n{stdout}\n{stderr}");
        stdout.into_owned()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of those that have just ended a moment later.
        for _ in 0..500 {
            let processes = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
            for pid in processes.lines().filter_map(|line| line.parse().ok()) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where groups with a limit are made, and what that limit is called there.
fn root<'a>(controller: &str, limits: [&'a str; 2]) -> Result<(PathBuf, &'a str), String> {
    let unified = PathBuf::from("/sys/fs/cgroup");
    let controllers = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|name| name == controller) {
        let enabled = fs::write(unified.join("cgroup.subtree_control"), format!("+{controller}"));
        let enabled = enabled.map_err(|error| format!("{} cannot be set: {error}", limits[0]));
        return enabled.map(|()| (unified, limits[0]));
    }
    let old = unified.join(controller);
    if old.join("cgroup.procs").exists() {
        return Ok((old, limits[1]));
    }
    Err(format!("there are no control groups for {controller}"))
}
