//! Programs that the system knows by another name: that of the loader, the emulator or the tool by
//! which they run. Where such a thing is missing, a test says so and passes.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::common::{ProgramCopy, fixture, in_time};

/// The loader of this program, which is not linked with everything it needs.
fn loader() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let files = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    let is_loader = |file: &&str| {
        Path::new(file).file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld"))
    };
    files.map(Path::new).map(|file| file.to_str().unwrap()).find(is_loader).map(Into::into)
}

async fn run(words: &[&OsStr]) -> Output {
    let mut command = Command::new(words[0]);
    in_time(command.args(&words[1..]).kill_on_drop(true).output()).await.unwrap()
}

/// What the program prints if all is well, but for its first line, which is returned.
fn said(output: &Output) -> String {
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (first, rest) = stdout.split_once('\n').unwrap_or_default();
    assert_eq!(rest, "doubled: 42\nturned: true\nmapped: 999000\nprocess: 8\n", "{stdout}{stderr}");
    assert!(output.status.success(), "{stderr}");
    first.to_owned()
}

#[tokio::test]
async fn a_program_of_the_loader_has_workers_by_the_loader_and_its_options() {
    let Some(loader) = loader() else {
        println!("skipped: this program has no loader");
        return;
    };
    // What may not be executed itself needs the loader.
    let program = ProgramCopy::new(&fixture("carried"), "carried");
    let copy = &program.0;
    fs::set_permissions(copy, fs::Permissions::from_mode(0o644)).unwrap();
    for method in ["spawned", "forked"] {
        let words = [loader.as_os_str(), "--library-path".as_ref(), "/nowhere".as_ref()];
        let words = [&words[..], &[copy.as_os_str(), method.as_ref()]].concat();
        let worker = said(&run(&words).await);
        let wanted = format!("--library-path /nowhere {} --procpool-", copy.display());
        assert!(worker.contains(&wanted), "{worker}");
    }
}

/// Runs the program by a tool.
async fn by(tool: &str, options: &[&str], methods: &[&str]) -> Option<Vec<Output>> {
    if Command::new(tool).arg("--version").output().await.is_err() {
        println!("skipped: there is no {tool} here");
        return None;
    }
    let program = fixture("carried");
    let mut outputs = Vec::new();
    for method in methods {
        let options = options.iter().map(OsStr::new);
        let words = [OsStr::new(tool)].into_iter().chain(options);
        let words: Vec<_> = words.chain([program.as_os_str(), OsStr::new(method)]).collect();
        outputs.push(run(&words).await);
    }
    Some(outputs)
}

#[tokio::test]
async fn valgrind_finds_no_error_in_a_program_with_pools() {
    let Some(outputs) = by("valgrind", &["--error-exitcode=9"], &["spawned"]).await else { return };
    for output in outputs {
        said(&output);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("ERROR SUMMARY: 0 errors"), "{stderr}");
    }
}

#[tokio::test]
async fn a_fork_server_works_under_valgrind_or_says_why_not() {
    let Some(outputs) = by("valgrind", &["--error-exitcode=9"], &["forked"]).await else { return };
    let stderr = String::from_utf8_lossy(&outputs[0].stderr);
    if stderr.contains("`pidfd_open`") {
        assert!(stderr.contains("use `StartMethod::Spawn`"), "{stderr}");
    } else {
        said(&outputs[0]);
    }
    assert!(stderr.contains("ERROR SUMMARY: 0 errors"), "{stderr}");
}

#[tokio::test]
async fn an_emulator_runs_a_program_with_pools() {
    let tool = format!("qemu-{}", std::env::consts::ARCH);
    let Some(outputs) = by(&tool, &[], &["spawned", "forked"]).await else { return };
    for output in outputs {
        said(&output);
    }
}
