//! Values through a pool and back.

use std::any::type_name;
use std::env;
use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use procpool::ProcessPoolExecutor;

use crate::expect::{Case, Sample};
use crate::nest::Nest;
use crate::random::Rng;

const SEED: &str = "PROCPOOL_ATTRIBUTES_SEED";
const VALUES: &str = "PROCPOOL_ATTRIBUTES_VALUES";

/// For all values of a type; more than enough even if much else runs.
const LIMIT: Duration = Duration::from_secs(60);

/// About so many values are in a [`Nest`].
const IN_NEST: usize = 8;

/// What runs in the worker.
pub fn identity<T>(value: T) -> T {
    value
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The seed of all values of this run.
pub fn seed() -> u64 {
    setting(SEED, 1)
}

/// How many values of each type there are.
pub fn values() -> usize {
    usize::try_from(setting(VALUES, 200)).expect("not so many")
}

/// A pool, and what went wrong in it.
#[derive(Debug)]
pub struct Round {
    name: &'static str,
    pool: ProcessPoolExecutor,
    count: Count,
    types: usize,
    wrong: Vec<String>,
}

/// How values came back.
#[derive(Debug, Default)]
struct Count {
    same: usize,
    /// As the rules say, but not as they were sent.
    changed: usize,
    /// An error that is permitted.
    refused: usize,
    other_values: usize,
    errors: usize,
    /// The first value that came back as another one, else the first error.
    first_value: Option<String>,
    first_error: Option<String>,
}

impl Count {
    fn judge<T: Sample>(&mut self, sent: &T, back: Result<T, String>) {
        match back {
            Ok(back) if back == *sent && sent.accepts(&back) => self.same += 1,
            Ok(back) if sent.accepts(&back) => self.changed += 1,
            Ok(back) => {
                self.other_values += 1;
                let text = || format!("sent {sent:?}\n   got {back:?}");
                self.first_value.get_or_insert_with(text);
            }
            Err(_) if sent.may_fail() => self.refused += 1,
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| format!("sent {sent:?}\n   got {error}"));
            }
        }
    }

    fn is_wrong(&self) -> bool {
        self.other_values + self.errors > 0
    }

    fn add(&mut self, more: &Self) {
        self.same += more.same;
        self.changed += more.changed;
        self.refused += more.refused;
        self.other_values += more.other_values;
        self.errors += more.errors;
    }
}

impl Round {
    /// # Panics
    ///
    /// If there can be no pool.
    pub fn new(name: &'static str) -> Self {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        Self { name, pool, count: Count::default(), types: 0, wrong: Vec::new() }
    }

    /// Values of a type as they are, and in nests.
    pub async fn check<T: Case>(&mut self) {
        self.check_alone::<T>().await;
        let mut count = Count::default();
        let all = tokio::time::timeout(LIMIT, nested::<T>(&self.pool, &mut count)).await;
        self.sum_up::<T>("nested", &count, all.is_ok());
    }

    /// Values of a type as they are.
    pub async fn check_alone<T: Case>(&mut self) {
        let mut count = Count::default();
        let all = tokio::time::timeout(LIMIT, alone::<T>(&self.pool, &mut count)).await;
        self.sum_up::<T>("alone", &count, all.is_ok());
    }

    fn sum_up<T: Case>(&mut self, place: &str, count: &Count, in_time: bool) {
        self.types += 1;
        self.count.add(count);
        if in_time && !count.is_wrong() {
            return;
        }
        let Count { same, changed, refused, other_values, errors, .. } = count;
        let mut text = format!(
            "{} {place}: {other_values} values came back as others, {errors} as errors; \
             {same} came back, {changed} as defined, {refused} were refused as permitted\n",
            type_name::<T>()
        );
        if !in_time {
            writeln!(text, "not all came back in {LIMIT:?}").unwrap();
        }
        for first in [&count.first_value, &count.first_error].into_iter().flatten() {
            writeln!(text, "  {first}").unwrap();
        }
        for line in T::TEXT.lines() {
            writeln!(text, "    {line}").unwrap();
        }
        self.wrong.push(text);
    }

    /// # Panics
    ///
    /// If something went wrong.
    pub fn end(self) {
        let Count { same, changed, refused, other_values, errors, .. } = self.count;
        let summary = format!(
            "{}: {same} values came back, {changed} as defined, {refused} were refused as \
             permitted, {other_values} came back as others, {errors} as errors",
            self.name
        );
        println!("{summary}");
        let (wrong, types) = (self.wrong.len(), self.types);
        assert!(
            self.wrong.is_empty(),
            "\n{}\n{summary}\n{wrong} of {types} failed; again: {SEED}={} {VALUES}={} cargo test \
             -p procpool-attributes {}",
            self.wrong.join("\n"),
            seed(),
            values(),
            self.name
        );
    }
}

/// Each as a single argument.
async fn alone<T: Case>(pool: &ProcessPoolExecutor, count: &mut Count) {
    let mut rng = Rng::named(seed(), type_name::<T>());
    let sent: Vec<T> = (0..values()).map(|_| T::random(&mut rng)).collect();
    let mut results = pool.map(identity::<T>, sent.clone());
    for sent in &sent {
        let back = results.next().await.expect("a result for each");
        count.judge(sent, back.map_err(|error| error.to_string()));
    }
}

/// In vectors of nests: together what must come back, and one by one what may be refused.
async fn nested<T: Case>(pool: &ProcessPoolExecutor, count: &mut Count) {
    let mut rng = Rng::named(seed(), type_name::<Nest<T>>());
    let nests = (0..=values() / IN_NEST).map(|_| Nest::<T>::random(&mut rng));
    let (unsure, sure): (Vec<_>, Vec<_>) = nests.partition(Sample::may_fail);
    let mut all = vec![sure];
    all.extend(unsure.into_iter().map(|nest| vec![nest]));
    let mut results = pool.map(identity::<Vec<Nest<T>>>, all.clone());
    for sent in &all {
        let back = results.next().await.expect("a result for each");
        count.judge(sent, back.map_err(|error| error.to_string()));
    }
}
