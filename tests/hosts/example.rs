//! The example does what it says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::sshd::Sshd;
use crate::tools::Scratch;

/// Its path, built from the sources as they are now, with the features that these tests have.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--example=hosts", "--features", "hosts"]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        build.args(profile.ends_with("release").then_some("--release"));
        for (feature, is_there) in [
            ("tracing", cfg!(feature = "tracing")),
            ("sandbox", cfg!(feature = "sandbox")),
            ("fastrand2", cfg!(feature = "fastrand2")),
            ("rand09", cfg!(feature = "rand09")),
            ("rand010", cfg!(feature = "rand010")),
        ] {
            build.args(is_there.then_some(["--features", feature]).into_iter().flatten());
        }
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join("examples/hosts")
    })
}

/// Runs it where `ssh` is a script of this line.
fn run(ssh: &str, args: &[&str]) -> Output {
    let scratch = Scratch::new();
    let script = scratch.path().join("ssh");
    fs::write(&script, format!("#!/bin/sh\n{ssh}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let before = std::env::var("PATH").unwrap();
    let path = format!("{}:{before}", scratch.path().display());
    Command::new(example()).args(args).env("PATH", path).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap()
}

/// How many numbers were factored on each host.
fn numbers(text: &str) -> Vec<(&str, u64)> {
    let (_, table) = text.split_once("  host\n").expect(text);
    let rows =
        table.lines().filter_map(|line| match *line.split_whitespace().collect::<Vec<_>>() {
            [_, numbers, _, host] => Some((host, numbers.parse().expect(text))),
            _ => None,
        });
    rows.collect()
}

const NO_SSH: &str = "echo there is none >&2; exit 255";

#[test]
fn the_example_loses_a_host_and_no_number() {
    let output = run(NO_SSH, &["--count", "4", "--lose"]);
    let text = stdout(&output);
    assert!(text.contains("(there is none)\n") && text.contains("an agent is killed\n"), "{text}");
    assert!(text.contains("child is lost: ") && text.contains("ended by signal 9\n"), "{text}");
    assert!(text.contains("\n4 numbers above 1000000000000001, 0 of them prime\n"), "{text}");
    let numbers = numbers(text);
    assert_eq!(numbers.iter().map(|(_, count)| count).sum::<u64>(), 4, "{text}");
    assert!(numbers.iter().all(|(host, _)| ["child", "local"].contains(host)), "{text}");
}

#[test]
fn the_example_gets_to_hosts_by_itself() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let ssh = format!("exec /usr/bin/ssh -F {} \"$@\"", sshd.config().display());
    let output = run(&ssh, &["--count", "4", "node1:1"]);
    let text = stdout(&output);
    assert_eq!(numbers(text), [("node1", 4)], "{text}");
}

#[test]
fn the_example_says_who_cannot_be_reached() {
    let output = run(NO_SSH, &["node1:1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("the host \"node1\" cannot be reached: ") && text.contains("there is none")
    );
}

#[test]
fn the_example_explains_wrong_arguments() {
    for wrong in [&["-1"][..], &["node1:many"], &["node1:0"], &["--count"], &["--lose", "node1"]] {
        let output = run(NO_SSH, wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stderr.starts_with(b"usage: hosts ["), "{output:?}");
    }
}
