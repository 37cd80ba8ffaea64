//! Programs that are run, a directory to run them in, and what is said where they are not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::LIMIT;

/// Whether all programs are there, and this user may do what it takes. If not, it is said why the
/// test is skipped; if `PROCPOOL_TEST_HOSTS` has the name, it fails.
#[track_caller]
pub(crate) fn can_have(name: &str, programs: &[&str], trial: &[&str]) -> bool {
    let Some(obstacle) = obstacle(programs, trial) else {
        return true;
    };
    let required = std::env::var("PROCPOOL_TEST_HOSTS").unwrap_or_default();
    let is_required = required.split_whitespace().any(|required| required == name);
    assert!(!is_required, "no {name}: {obstacle}");
    eprintln!("skipped: no {name}: {obstacle}");
    false
}

fn obstacle(programs: &[&str], trial: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    if let Some(missing) = programs.iter().find(|program| find(program).is_none()) {
        return Some(format!("there is no program {missing}"));
    }
    let tried = Command::new(trial[0]).args(&trial[1..]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr).trim_end().to_owned();
    (!tried.status.success()).then(|| format!("{trial:?} is not possible: {said}"))
}

/// Where a program is. Daemons are not in every user's `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|program| program.is_file())
}

/// Runs a command that must end well, with this as its input.
#[track_caller]
pub(crate) fn run(command: &mut Command, input: &str) -> String {
    let Output { status, stdout, stderr } = run_anyhow(command, input);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{input}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Runs a command that ends as it may.
pub(crate) fn run_anyhow(command: &mut Command, input: &str) -> Output {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it need not read that
    child.wait_with_output().unwrap()
}

/// For conditions of which no event tells; `common` has the same for what is asynchronous.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A directory that is removed when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("procpool-hosts-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path); // of a process that had this id, and was killed
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside, as text.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // or the test has done so
    }
}
