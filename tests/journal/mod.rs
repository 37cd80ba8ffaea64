//! A file in which tasks note that they ran: each note is one atomic append, so it is whole however
//! the worker ends.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed when it is dropped.
pub(crate) struct Journal(PathBuf);

impl Journal {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("procpool-journal-{pid}-{number}"));
        std::fs::write(&path, "").unwrap();
        Self(path)
    }

    /// What [`note`] is called with.
    pub(crate) fn path(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The numbers that were noted, in that order.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.lines().iter().map(|line| line.parse().unwrap()).collect()
    }

    /// Numbers that were noted as four bytes each, the lowest first.
    pub(crate) fn words(&self) -> Vec<u32> {
        let bytes = std::fs::read(&self.0).unwrap();
        let (words, []) = bytes.as_chunks() else { panic!("half a note") };
        words.iter().copied().map(u32::from_le_bytes).collect()
    }

    /// How often each number was noted.
    pub(crate) fn counts(&self) -> BTreeMap<u32, u32> {
        let mut counts = BTreeMap::new();
        for number in self.numbers() {
            *counts.entry(number).or_default() += 1;
        }
        counts
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A task that notes a number and returns it.
pub(crate) fn note(path: String, number: u32) -> u32 {
    note_line(&path, &number.to_string());
    number
}

pub(crate) fn note_line(path: &str, line: &str) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

procpool::register!(note);

/// Has two children, one behind the other, and notes their pids.
pub(crate) fn hold_with_children(path: String, port: u16) {
    let script = "sleep 1000 & echo $!; wait";
    let mut shell = std::process::Command::new("sh")
        .args(["-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = shell.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    note_line(&path, line.trim());
    note_line(&path, &shell.id().to_string());
    crate::common::hold(port);
    shell.wait().unwrap();
}
