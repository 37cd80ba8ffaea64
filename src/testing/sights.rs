//! Whether random tests get anywhere: what could be seen in them.

use std::collections::BTreeMap;

/// Each time that something could be seen.
#[derive(Debug, Default)]
pub(crate) struct Sights(Vec<&'static str>);

impl Sights {
    pub(crate) fn see(&mut self, sight: &'static str) {
        self.0.push(sight);
    }

    pub(crate) fn see_all(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// So many kinds of things can be seen, each of them so often.
    #[track_caller]
    pub(crate) fn assert_frequent(&self, kinds: usize, least: usize) {
        let mut counts = BTreeMap::<&str, usize>::new();
        for sight in &self.0 {
            *counts.entry(sight).or_default() += 1;
        }
        let is_frequent = counts.values().all(|count| *count >= least);
        assert!(is_frequent && counts.len() == kinds, "not {kinds}, or too rare: {counts:#?}");
    }
}
