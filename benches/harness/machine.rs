//! Where and when it was measured.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Machine {
    cpu: String,
    cpus: usize,
    system: String,
    /// Year, month and day in UTC.
    date: String,
    /// Threads that wanted a CPU in the minute before the run: others than those of the benchmark.
    load: f64,
    /// Of this crate, the compiler, and the peers.
    versions: Vec<String>,
}

impl Machine {
    pub(super) fn new(load: f64, peers: Vec<String>) -> Self {
        let mut versions = vec![format!("procpool {}", env!("CARGO_PKG_VERSION"))];
        versions.extend(compiler());
        versions.extend(peers);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu_model().unwrap_or_else(|| "an unknown CPU".to_owned()),
            cpus: thread::available_parallelism().map_or(0, usize::from),
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
            date: today(),
            load,
            versions,
        }
    }

    /// Whether others wanted much of the CPUs, so that times, and what they decide, cannot be
    /// trusted.
    #[expect(clippy::cast_precision_loss, reason = "there are not that many CPUs")]
    pub(super) fn is_busy(&self) -> bool {
        self.load > 0.25 * self.cpus as f64
    }

    pub(super) fn describe(&self) -> String {
        let Self { cpu, cpus, system, date, load, versions } = self;
        let versions = versions.join(", ");
        format!("{cpu}, {cpus} CPUs, {system}, {date}, load before the run {load}; {versions}")
    }
}

/// The load average of the last minute; 0 where the system does not tell.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The date of a day since 1970, by the Gregorian calendar: years begin in March here, so that the
/// day that some of them have more is their last one, and they repeat after 400.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first_of_month = (153 * month + 2) / 5;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day - first_of_month + 1)
}
