//! Which samples of a type are made: each variant of each enum, with and without each option, with
//! and without elements, and other texts and numbers where the first ones are refused.

use std::any::TypeId;
use std::collections::HashMap;

use super::super::error::CodecError;

/// So many samples are made of a type, with so many parts all together.
const MOST_RUNS: usize = 5000;
const MOST_PARTS: usize = 300_000;

/// A type that is not done within these is as good as one that holds itself without an end.
const MOST_LEVELS: usize = 100;
const MOST_PARTS_PER_RUN: usize = 20_000;

/// So often an alternative is tried with other texts and numbers.
const ATTEMPTS: usize = 75;

/// For types that are right, but not known to be.
pub(super) const ASK_FOR_COMPACT: &str =
    "if it is written just as it is read, `=> compact` in `register!` says so";

/// What was tried, and what is to be tried.
#[derive(Debug, Default)]
pub(super) struct SamplePlan {
    sites: Vec<Site>,
    by_visitor: HashMap<TypeId, usize>,
    /// How far it is from each site to one where something is new, as known when the run began;
    /// `usize::MAX` if there is no way.
    distances: Vec<usize>,
    /// Which texts and numbers the visitors took that did not take the first ones.
    candidates: HashMap<TypeId, usize>,
    /// The alternatives around what is shown now.
    path: Vec<(usize, usize)>,
    runs: usize,
    parts: usize,
    parts_before: usize,
    /// Runs that have failed since the last one that has not.
    failures: usize,
    has_failed: bool,
    /// A visitor has refused what it was shown, and will be shown something else.
    has_learned: bool,
    /// Something was met for which the compact form does not do.
    needs_names: Option<String>,
    last_failure: String,
}

/// A place where samples may differ: an enum, an option, a sequence or a map, known by its visitor.
#[derive(Debug)]
struct Site {
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Default)]
struct Alternative {
    progress: Trial,
    /// The sites right inside.
    inner: Vec<usize>,
    /// It has nothing inside, and nothing depends on it.
    is_empty: bool,
    /// So many attempts have failed.
    failures: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trial {
    #[default]
    New,
    /// In this run.
    Trying,
    /// And how many parts it has taken.
    Done(usize),
    Failed,
    /// The type does not know it.
    Absent,
}

/// Which numbers are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleNumbers {
    Distinct,
    Ones,
    Zeros,
}

impl SamplePlan {
    pub(super) fn has_more(&self) -> bool {
        let is_new = |site: &Site| site.alternatives.iter().any(Alternative::is_new);
        let is_within = self.runs < MOST_RUNS && self.parts < MOST_PARTS;
        is_within && (self.runs == 0 || self.has_failed || self.sites.iter().any(is_new))
    }

    /// Says why there should be no more runs, if so.
    pub(super) fn end_run(&mut self, outcome: Result<(), String>) -> Result<(), String> {
        if let Some(reason) = self.needs_names.take() {
            return Err(reason);
        }
        self.runs += 1;
        self.parts_before = self.parts;
        self.path.clear();
        let is_done = outcome.is_ok();
        self.has_failed = !is_done;
        for alternative in self.sites.iter_mut().flat_map(|site| &mut site.alternatives) {
            alternative.end_run(is_done);
        }
        let Err(failure) = outcome else {
            self.failures = 0;
            return Ok(());
        };
        if !std::mem::take(&mut self.has_learned) {
            self.failures += 1;
        }
        self.last_failure = failure;
        if self.failures > ATTEMPTS { self.fail() } else { Ok(()) }
    }

    /// Gives up what was tried in vain, if that does not matter.
    fn fail(&mut self) -> Result<(), String> {
        self.failures = 0;
        let all = self.sites.iter_mut().flat_map(|site| &mut site.alternatives);
        let failed: Vec<_> = all.filter(|one| one.is_new() && one.failures > 0).collect();
        if failed.is_empty() || failed.iter().any(|one| !one.is_empty) {
            return Err(self.unproven());
        }
        for one in failed {
            one.progress = Trial::Failed;
        }
        self.has_failed = false;
        Ok(())
    }

    pub(super) fn verdict(&self) -> Result<(), String> {
        if self.has_more() || self.runs >= MOST_RUNS || self.parts >= MOST_PARTS {
            return Err("it has too many parts to be tried out".to_owned());
        }
        Ok(())
    }

    fn unproven(&self) -> String {
        format!("no samples of it can be written as they are read: {}", self.last_failure)
    }

    /// Keeps that a type is not to be shown any samples.
    pub(super) fn give_up(&mut self, visitor: &str) {
        self.needs_names = Some(format!(
            "`{visitor}` is not known to take samples without harm; {ASK_FOR_COMPACT}"
        ));
    }

    /// Keeps why there is no need to go on.
    pub(super) fn note(&mut self, error: &CodecError) -> String {
        let text = error.to_string();
        if error.needs_names() {
            self.needs_names = Some(text.clone());
        }
        text
    }

    pub(super) fn numbers(&self) -> SampleNumbers {
        [SampleNumbers::Distinct, SampleNumbers::Ones, SampleNumbers::Zeros][self.failures % 3]
    }

    /// Which of `count` texts or numbers to show to this visitor.
    pub(super) fn candidate(&self, visitor: TypeId, count: usize) -> usize {
        let learned = self.candidates.get(&visitor).copied().unwrap_or_default();
        (learned + self.failures / 3) % count
    }

    /// It has refused that one.
    pub(super) fn refused(&mut self, visitor: TypeId, count: usize) {
        let learned = self.candidates.entry(visitor).or_default();
        *learned += 1;
        self.has_learned = *learned <= 3 * count; // with all kinds of numbers
    }

    /// Counts a part of the sample; says whether there are too many.
    pub(super) fn count(&mut self) -> bool {
        self.parts += 1;
        self.parts - self.parts_before > MOST_PARTS_PER_RUN || self.path.len() > MOST_LEVELS
    }

    /// Which of `count` alternatives to show to this visitor. The last one has nothing inside if
    /// that is said.
    pub(super) fn enter(&mut self, visitor: TypeId, count: usize, last_is_empty: bool) -> usize {
        let site = *self.by_visitor.entry(visitor).or_insert_with(|| {
            let mut alternatives: Vec<_> = (0..count).map(|_| Alternative::default()).collect();
            if let Some(last) = alternatives.last_mut().filter(|_| last_is_empty) {
                last.is_empty = true;
            }
            self.sites.push(Site { alternatives });
            self.sites.len() - 1
        });
        if let Some((outer, alternative)) = self.path.last() {
            let inner = &mut self.sites[*outer].alternatives[*alternative].inner;
            if !inner.contains(&site) {
                inner.push(site);
            }
        }
        let chosen = self.choose(site);
        let alternative = &mut self.sites[site].alternatives[chosen];
        if alternative.is_new() {
            alternative.progress = Trial::Trying;
        }
        self.path.push((site, chosen));
        chosen
    }

    /// To be called if what was entered has been shown, and was taken.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// What was entered last does not exist.
    pub(super) fn is_absent(&mut self) {
        if let Some((site, alternative)) = self.path.pop() {
            self.sites[site].alternatives[alternative].progress = Trial::Absent;
            self.has_learned = true;
        }
    }

    fn choose(&self, site: usize) -> usize {
        let all = &self.sites[site].alternatives;
        let is_known = |one: &Alternative| !matches!(one.progress, Trial::Failed | Trial::Absent);
        if let Some(new) = all.iter().position(Alternative::is_new) {
            return new;
        }
        let times = self.path.iter().filter(|(outer, _)| *outer == site).count();
        let leading = (0..all.len()).filter(|at| times < 2 && is_known(&all[*at]));
        let leading = leading.map(|at| (self.distance(&all[at]), at)).min();
        if let Some((_, open)) = leading.filter(|(distance, _)| *distance < usize::MAX) {
            return open;
        }
        let cost = |one: &Alternative| match one.progress {
            Trial::Done(parts) => Some(parts),
            _ => None,
        };
        let done = (0..all.len()).filter(|at| cost(&all[*at]).is_some());
        let cheapest = done.min_by_key(|at| cost(&all[*at]));
        cheapest.unwrap_or_else(|| {
            // None of them has come to an end yet: perhaps another one does.
            let known: Vec<_> = (0..all.len()).filter(|at| is_known(&all[*at])).collect();
            known.get((times + self.runs) % known.len().max(1)).copied().unwrap_or_default()
        })
    }

    /// How far it is to something new inside.
    fn distance(&self, alternative: &Alternative) -> usize {
        let inner = alternative.inner.iter().filter_map(|site| self.distances.get(*site));
        inner.min().map_or(usize::MAX, |distance| distance.saturating_add(1))
    }

    pub(super) fn measure(&mut self) {
        let is_new = |site: &Site| site.alternatives.iter().any(Alternative::is_new);
        self.distances =
            self.sites.iter().map(|site| if is_new(site) { 0 } else { usize::MAX }).collect();
        let mut goes_on = true;
        while std::mem::take(&mut goes_on) {
            for site in 0..self.sites.len() {
                let all = self.sites[site].alternatives.iter();
                let distance = all.map(|one| self.distance(one)).min().unwrap_or(usize::MAX);
                if distance < self.distances[site] {
                    self.distances[site] = distance;
                    goes_on = true;
                }
            }
        }
    }
}

impl Alternative {
    fn is_new(&self) -> bool {
        self.progress == Trial::New
    }

    fn end_run(&mut self, is_done: bool) {
        if self.progress != Trial::Trying {
            return;
        }
        if is_done {
            self.progress = Trial::Done(self.inner.len());
        } else {
            self.failures += 1;
            self.progress = Trial::New;
        }
    }
}
