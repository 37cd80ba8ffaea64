//! Interpreters load what is built here. Where one is missing a test says so and passes.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A library, which cargo has built beside this test.
fn library(name: &str) -> PathBuf {
    let name = format!("lib{name}{}", std::env::consts::DLL_SUFFIX);
    std::env::current_exe().unwrap().with_file_name(name)
}

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A directory of a test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("procpool-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs an interpreter, which is given a minute. `None` if it is not there.
fn interpreter(program: &str) -> Option<Command> {
    if let Err(error) = Command::new(program).arg("--version").output() {
        println!("skipped: {program} cannot be run: {error}");
        return None;
    }
    let mut command = Command::new("timeout");
    command.args(["60", program]);
    Some(command)
}

/// What a program prints, which ends well.
fn text(output: &Output) -> String {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

/// Runs a script that can import the modules `crunch` and `tasks`.
fn crunch(name: &str, script: &str) -> Option<String> {
    let directory = Directory::new(name);
    symlink(library("crunch"), directory.0.join("crunch.abi3.so")).unwrap();
    let path = std::env::join_paths([directory.0.clone(), package("tests")]).unwrap();
    let script = format!("import os, crunch, tasks\n{script}");
    let mut python = interpreter("python3")?;
    python.args(["-c", &script]).env("PYTHONPATH", path);
    python.env("DIRECTORY", &directory.0).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(text(&python.output().unwrap()))
}

#[test]
fn a_module_calls_python_functions_in_workers() {
    let script = r#"
for preload in None, ["tasks"]:
    pool = crunch.Pool(2, preload=preload)
    print([future.result() for future in [pool.submit(tasks.square, n) for n in range(5)]])
    for task in (tasks.divide, 1, 0), (tasks.leave, 3):
        try:
            pool.submit(*task).result()
        except RuntimeError as error:
            print(str(error).splitlines()[-1])
    pool.shutdown()
"#;
    let Some(printed) = crunch("calls", script) else { return };
    let lines: Vec<_> = printed.lines().collect();
    for lines in [&lines[..3], &lines[3..]] {
        assert_eq!(lines[0], "[0, 1, 4, 9, 16]", "{printed}");
        assert_eq!(lines[1], "ZeroDivisionError: division by zero", "{printed}");
        assert!(lines[2].contains("\"leave\" (`crunch::call`) failed: worker"), "{printed}");
        assert!(lines[2].ends_with("exited unexpectedly with code 3"), "{printed}");
    }
    assert_eq!(lines.len(), 6, "{printed}");
}

#[test]
fn what_python_does_at_a_fork_is_done() {
    let script = r#"
pool = crunch.Pool(3, preload=["tasks"])
first = {}
while len(first) < 3:
    for pid, number in [future.result() for future in [pool.submit(tasks.draw) for _ in range(9)]]:
        first.setdefault(pid, number)
print(len(set(first.values())))
"#;
    let Some(printed) = crunch("forks", script) else { return };
    assert_eq!(printed, "3\n");
}

#[test]
fn what_a_worker_prints_is_in_the_output_and_its_end_is_pythons() {
    let script = r#"
path = os.environ["DIRECTORY"] + "/end"
pool = crunch.Pool(1)
pool.submit(tasks.say, "from a worker").result()
pool.submit(tasks.write_at_exit, path).result()
pool.shutdown()
print(open(path).read())
"#;
    let Some(printed) = crunch("end", script) else { return };
    assert_eq!(printed, "from a worker\nthe end\n");
}

#[test]
fn other_threads_of_python_run_in_an_idle_worker() {
    let script = r#"
path = os.environ["DIRECTORY"] + "/idle"
pool = crunch.Pool(1)
pool.submit(tasks.write_when_idle, path).result()
import time
while not os.path.exists(path) or not open(path).read():
    time.sleep(0.001)
print(open(path).read())
"#;
    let Some(printed) = crunch("idle", script) else { return };
    assert_eq!(printed, "idle\n");
}

#[test]
fn a_copy_of_the_program_has_pools_of_its_own() {
    let script = r"
pool = crunch.Pool(1)
print(pool.submit(tasks.square, 2).result(), flush=True)
child = os.fork()
if child == 0:
    print(crunch.Pool(1).submit(tasks.square, 3).result(), flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1], pool.submit(tasks.square, 4).result())
";
    let Some(printed) = crunch("copy", script) else { return };
    assert_eq!(printed, "4\n9\n0 16\n");
}

#[test]
fn a_library_is_loaded_by_ctypes() {
    let script = r#"
import factors
try:
    factors.smallest(9)
except RuntimeError as error:
    print(error)
factors.start()
print(factors.smallest(62710561))
try:
    factors.smallest(1)
except RuntimeError as error:
    print("1 has no factors" in str(error))
factors.stop()
"#;
    let Some(mut python) = interpreter("python3") else { return };
    python.args(["-c", script]).env("FACTORS_LIBRARY", library("factors"));
    python.env("PYTHONPATH", package("ctypes")).env("PYTHONDONTWRITEBYTECODE", "1");
    assert_eq!(text(&python.output().unwrap()), "there is no pool\n7919\nTrue\n");
}

fn node(name: &str, script: &str) -> Option<Output> {
    let directory = Directory::new(name);
    let addon = directory.0.join("hasher.node");
    std::fs::copy(library("hasher"), &addon).unwrap(); // it looks behind a link, for the ending
    let mut node = interpreter("node")?;
    node.args([OsStr::new("-e"), script.as_ref()]).env("HASHER_ADDON", addon);
    Some(node.env("HASHER", package("node/index.js")).output().unwrap())
}

#[test]
fn an_addon_of_node_keeps_promises_while_its_loop_turns() {
    let script = r#"
const hasher = require(process.env.HASHER);
let turns = 0;
const timer = setInterval(() => turns++, 1);
hasher.start().then(async () => {
  console.log(await Promise.all(["a", "b"].map((text) => hasher.hashed(text, 1000000))));
  await hasher.stop();
  clearInterval(timer);
  console.log(turns > 1);
});
"#;
    let Some(output) = node("promises", script) else { return };
    let printed = text(&output);
    let hashes: Vec<_> = printed.split('\'').filter(|part| part.len() == 16).collect();
    assert!(hashes.len() == 2 && hashes[0] != hashes[1], "{printed}");
    assert!(printed.ends_with("true\n"), "{printed}");
}

#[test]
fn an_addon_that_names_no_program_is_told_which_one_was_started() {
    let script = r"
require(process.env.HASHER_ADDON).start().catch((error) => console.log(error.message));
";
    let Some(output) = node("nobody", script) else { return };
    let printed = text(&output);
    assert!(printed.contains("procpool is in the library `"), "{printed}");
    assert!(printed.contains("hasher"), "{printed}");
    let line = ".worker_command([\"";
    assert!(printed.contains(line) && printed.contains("node\", \"worker script\"])"), "{printed}");
    assert!(!printed.contains("`main`"), "{printed}");
}
