//! Keeps workers busy until they are let through.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

/// A pipe; each byte lets one task through.
pub(crate) struct Gate {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Gate {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer })
    }

    /// What [`pass`] takes.
    pub(crate) fn address(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.reader.as_raw_fd())
    }

    pub(crate) fn open(&mut self, tasks: usize) -> io::Result<()> {
        self.writer.write_all(&vec![1; tasks])
    }
}

/// A task that reports when it is there, and then waits until it is let through.
#[allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]
pub(crate) fn pass(gate: String) {
    let mut gate = File::open(gate).expect("the pool's process keeps it");
    procpool::current().progress(1, 1, "there");
    gate.read_exact(&mut [0]).expect("a byte");
}

procpool::register!(pass);
