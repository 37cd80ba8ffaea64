//! How random histories are played, told, and made small.

use std::fmt::Debug;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Check, Sights, number};

/// A random history. Its steps choose among what is there at that moment, so that it is one, too,
/// when some of them are left out.
pub(crate) trait Playable: Clone + Debug {
    type Step;

    fn from_seed(seed: u64) -> Self;

    fn steps(&mut self) -> &mut Vec<Self::Step>;

    /// Plays it to its end: whether all promises are kept, and what could be seen.
    fn play(&self) -> (Check, Sights);

    /// What somebody wants to read of one that fails.
    fn story(&self) -> String {
        format!("{self:#?}")
    }

    /// Makes a step as simple as it can be; false if it is.
    fn simplify(_step: &mut Self::Step) -> bool {
        false
    }
}

/// Plays them on all cores: `usual` ones, or those that are asked for.
pub(crate) fn play_all<H: Playable>(usual: u64) {
    let first = number("PROCPOOL_FROM").unwrap_or(0);
    let count = number("PROCPOOL_HISTORIES").unwrap_or(usual);
    let seeds = match number("PROCPOOL_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + count,
    };
    let next = AtomicU64::new(seeds.start);
    let play_some = || {
        let all = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let failure = all.take_while(|seed| *seed < seeds.end).find_map(failure::<H>);
        next.fetch_max(seeds.end, Ordering::Relaxed); // one is enough
        failure
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(play_some)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Histories that never get anywhere would keep all promises. In the first `count` of them so many
/// kinds of things can be seen, each of them so often.
#[track_caller]
pub(crate) fn assert_eventful<H: Playable>(count: u64, kinds: usize, least: usize) {
    let mut seen = Sights::default();
    for seed in 0..count {
        seen.see_all(H::from_seed(seed).play().1);
    }
    seen.assert_frequent(kinds, least);
}

/// What is to be told if the history of this seed fails.
fn failure<H: Playable>(seed: u64) -> Option<String> {
    let mut history = H::from_seed(seed);
    let broken = broken(&history)?;
    shrink(&mut history);
    let (small, story) = (self::broken(&history).unwrap_or_default(), history.story());
    Some(format!("{broken}\nreplay with PROCPOOL_SEED={seed}\nmade small: {small}\n{story}"))
}

fn broken<H: Playable>(history: &H) -> Option<String> {
    history.play().0.err()
}

/// Leaves out whatever the failure does not need: large parts first, then single steps. Makes the
/// others simple.
fn shrink<H: Playable>(history: &mut H) {
    let mut size = history.steps().len().div_ceil(2);
    while size > 0 {
        let mut end = history.steps().len();
        while end > 0 {
            let begin = end.saturating_sub(size);
            try_change(history, |shorter| shorter.steps().drain(begin..end).count() > 0);
            end = begin.min(history.steps().len());
        }
        size /= 2;
    }
    for n in 0..history.steps().len() {
        try_change(history, |simpler| H::simplify(&mut simpler.steps()[n]));
    }
}

/// Changes it if it still fails then.
fn try_change<H: Playable>(history: &mut H, change: impl FnOnce(&mut H) -> bool) {
    let mut changed = history.clone();
    if change(&mut changed) && broken(&changed).is_some() {
        *history = changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Must not rise to 10 or more.
    #[derive(Clone, Debug)]
    struct Numbers(Vec<u64>);

    impl Playable for Numbers {
        type Step = u64;

        fn from_seed(seed: u64) -> Self {
            Self((0..40).map(|step| (seed + 7 * step) % 30).collect())
        }

        fn steps(&mut self) -> &mut Vec<u64> {
            &mut self.0
        }

        fn play(&self) -> (Check, Sights) {
            let mut rest = self.0.iter().skip_while(|number| **number >= 10);
            let kept = rest.find(|number| **number >= 10).map_or(Ok(()), |_| Err("rises".into()));
            (kept, Sights::default())
        }

        fn simplify(step: &mut u64) -> bool {
            let simple = *step / 10 * 10;
            std::mem::replace(step, simple) != simple
        }
    }

    #[test]
    fn what_fails_is_made_small_and_told_with_its_seed() {
        let told = failure::<Numbers>(3).unwrap().replace([' ', '\n'], "");
        assert_eq!(told, "risesreplaywithPROCPOOL_SEED=3madesmall:risesNumbers([0,10,],)");
    }
}
