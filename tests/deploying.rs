//! The commands of the chapter on deploying do what it says.
//!
//! A binary of its own: it is no worker, and starts a program, `tests/fixtures/deployed.rs`, in
//! ways that take root. Elsewhere, and where a command is missing, it says what it skips.

#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fixture;

const CHAPTER: &str = include_str!("../docs/guide/deploying.md");

/// The program of the chapter, where other users may run it and where no file system is mounted
/// over it.
struct Service(PathBuf);

impl Service {
    fn new() -> Self {
        let directory = format!("/var/tmp/procpool-deployed-{}", std::process::id());
        std::fs::create_dir_all(&directory).unwrap();
        // By a child: one that another test starts meanwhile would have the file open for writing.
        let mut copying = Command::new("cp");
        copying.arg(fixture("deployed")).arg(format!("{directory}/service"));
        assert!(copying.status().unwrap().success());
        Self(directory.into())
    }

    /// What a shell in which it can be found prints.
    fn run(&self, command: &str) -> String {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", command]).env("PATH", path).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Each command, and what it prints.
fn commands() -> Vec<(&'static str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    let mut is_inside = false;
    for line in CHAPTER.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => is_inside = line == "```console",
            Some(command) if is_inside => commands.push((command, String::new())),
            None if is_inside => commands.last_mut().unwrap().1.extend([line, "\n"]),
            _ => {}
        }
    }
    commands
}

/// Why a command cannot be run here.
fn obstacle(command: &str) -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    let needs_root = ["unshare --mount", "unshare --pid", "unshare --net", "setpriv --reuid"];
    if !is_root && needs_root.iter().any(|words| command.contains(words)) {
        return Some("it takes root".to_owned());
    }
    if command.contains("systemd-run") && !Path::new("/run/systemd/system").exists() {
        return Some("systemd does not run".to_owned());
    }
    let programs = ["unshare", "setpriv", "strace", "systemd-analyze", "systemd-run", "prlimit"];
    let is_missing = |program: &&str| {
        let found = Command::new("sh").arg("-c").arg(format!("command -v {program}")).output();
        command.contains(*program) && !found.unwrap().status.success()
    };
    programs.iter().find(|program| is_missing(program)).map(|missing| format!("no {missing}"))
}

#[test]
fn the_commands_of_the_chapter_do_what_it_says() {
    let service = Service::new();
    let commands = commands();
    assert!(commands.len() > 10);
    for (command, expected) in commands {
        if let Some(obstacle) = obstacle(command) {
            eprintln!("skipped: {command}: {obstacle}");
            continue;
        }
        assert_eq!(service.run(command), expected, "{command}");
    }
}
