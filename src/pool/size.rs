//! How many workers a pool may have.

use crate::error::build::BuildFailure;

/// What Windows can wait for at once (`MAXIMUM_WAIT_OBJECTS`), less what a pool needs for itself;
/// Python has the same limit.
const MAX_WINDOWS_WORKERS: usize = 61;

/// The platform is an argument so that each one's rule is tested everywhere.
pub(crate) fn allowed_workers(count: usize, windows: bool) -> Result<usize, BuildFailure> {
    match count {
        0 => Err(BuildFailure::NoWorkers),
        _ if windows && count > MAX_WINDOWS_WORKERS => {
            Err(BuildFailure::TooManyWorkers { most: MAX_WINDOWS_WORKERS })
        }
        _ => Ok(count),
    }
}

pub(crate) fn default_workers(windows: bool) -> usize {
    if windows { cpus().min(MAX_WINDOWS_WORKERS) } else { cpus() }
}

/// So many CPUs this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_at_least_one_worker_and_at_most_what_the_platform_can_wait_for() {
        for windows in [false, true] {
            let error = allowed_workers(0, windows).unwrap_err();
            assert_eq!(error.to_string(), "max_workers must be at least 1");
            assert_eq!(allowed_workers(1, windows).unwrap(), 1);
            assert_eq!(allowed_workers(61, windows).unwrap(), 61);
        }
        assert_eq!(allowed_workers(62, false).unwrap(), 62);
        let error = allowed_workers(62, true).unwrap_err();
        assert_eq!(error.to_string(), "max_workers must be at most 61 on this platform");
    }

    #[test]
    fn the_default_number_of_workers_is_allowed() {
        for windows in [false, true] {
            allowed_workers(default_workers(windows), windows).unwrap();
        }
    }
}
