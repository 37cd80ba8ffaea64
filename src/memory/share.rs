//! How much memory a pool shares that was not told.

/// Without a limit.
const SHARE: usize = 256 << 20;

/// So many bytes for arguments, and for results half of that for each worker, where these processes
/// have a limit in common: all together an eighth of it at most.
pub(crate) fn share(limit: Option<u64>, workers: usize) -> usize {
    let limit = limit.unwrap_or(u64::MAX);
    let portions = workers.saturating_add(2); // of which arguments have two
    let quarter = usize::try_from(limit / 4).unwrap_or(usize::MAX);
    (quarter / portions).min(SHARE) // all together is so many halves of it
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_shared_takes_an_eighth_of_the_limit() {
        for (limit, workers) in [(300 << 20, 2), (1 << 30, 8), (2 << 30, 1), (1 << 20, 100)] {
            let share = share(Some(limit), workers);
            let all = share + workers * (share / 2);
            assert!(all as u64 <= limit / 8, "{all} of {limit}");
            assert!(all as u64 > limit / 9, "{all} of {limit}");
        }
    }

    #[test]
    fn where_there_is_enough_it_does_not_matter_how_much_there_is() {
        for limit in [Some(64 << 30), Some(0x7FFF_FFFF_FFFF_F000), None] {
            assert_eq!(share(limit, 8), SHARE);
        }
        assert_eq!(share(Some(0), usize::MAX), 0);
    }
}
