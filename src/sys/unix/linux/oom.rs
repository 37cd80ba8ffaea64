//! Whom Linux takes when memory is short.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::sync::atomic::{AtomicI32, Ordering};

/// What this process has, if it has looked at it. Copies that are forked have the same.
static SCORE: AtomicI32 = AtomicI32::new(UNKNOWN);
const UNKNOWN: i32 = i32::MIN;

/// Gives this process an `oom_score_adj` of so much at least. No right is needed for more.
pub(crate) fn raise_oom_score(least: i16) -> io::Result<()> {
    let least = i32::from(least);
    if SCORE.load(Ordering::Relaxed) >= least {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).write(true).open("/proc/self/oom_score_adj")?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let score: i32 = text.trim().parse().map_err(io::Error::other)?;
    if score < least {
        file.rewind()?;
        file.write_all(least.to_string().as_bytes())?;
    }
    SCORE.store(score.max(least), Ordering::Relaxed);
    Ok(())
}
