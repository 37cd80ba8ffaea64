//! Sends a value through a pool in six places, and compares what comes back with what is expected.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::pin::Pin;

use procpool::{ProcessPoolExecutor, RunError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where a value stands in what is sent. Behind it there is something that shows whether all of it,
/// and no more, has been read.
pub(crate) const PLACES: [&str; 6] = ["bare", "Vec", "Option", "tuple", "map", "field"];

const BEHIND: u32 = 7_654_321;
const KEY: &str = "key";

/// What a worker runs; registered for each type in each place.
pub(crate) fn identity<T>(value: T) -> T {
    value
}

/// The value as a field.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Field<T> {
    before: u16,
    value: T,
    behind: u32,
}

/// Whether two values are the same.
type Compare<T> = fn(&T, &T) -> bool;

/// What is to come back for a value.
pub(crate) struct Expect<T> {
    same: Compare<T>,
    wanted: Wanted<T>,
}

enum Wanted<T> {
    Same,
    Other(fn() -> T),
    /// A part of the text; and the task must not have been given anything.
    Error(&'static str),
    AtWorst(fn() -> T),
}

/// It comes back equal, and looks the same: `==` alone takes `1.0` for `1.00` and one order of an
/// `IndexMap` for another one.
pub(crate) fn equal<T: PartialEq + Debug>() -> Expect<T> {
    by(|a, b| a == b && look_the_same(a, b))
}

/// It comes back equal; for what looks different each time, as hash maps do.
pub(crate) fn equal_only<T: PartialEq>() -> Expect<T> {
    by(|a, b| a == b)
}

/// It comes back such that it looks the same; for types that cannot be compared.
pub(crate) fn by_debug<T: Debug>() -> Expect<T> {
    by(look_the_same)
}

/// It comes back the same, by this comparison.
pub(crate) fn by<T>(same: Compare<T>) -> Expect<T> {
    Expect { same, wanted: Wanted::Same }
}

/// Another value comes back, as the type asks for that.
pub(crate) fn becomes<T: Debug>(other: fn() -> T) -> Expect<T> {
    Expect { same: look_the_same, wanted: Wanted::Other(other) }
}

/// No task is given the value, and the error has this in its text.
pub(crate) fn error<T: PartialEq>(text: &'static str) -> Expect<T> {
    Expect { same: |a, b| a == b, wanted: Wanted::Error(text) }
}

/// It may become another value, as the type asks for that or its own package is to blame; to come
/// back the same, or not to be sent, is better.
pub(crate) fn at_worst<T: Debug>(other: fn() -> T) -> Expect<T> {
    Expect { same: look_the_same, wanted: Wanted::AtWorst(other) }
}

fn look_the_same<T: Debug>(a: &T, b: &T) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// What came of a value in one place.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Same,
    /// What was sent is lost, as the type asks for.
    Other,
    /// How it looks.
    Wrong(String),
    /// No task has been given anything.
    Refused(String),
    /// The worker could decode the arguments, or thought so.
    Failed(String),
}

impl Outcome {
    fn of_error(error: &RunError) -> Self {
        let text = error.to_string();
        let refused = text.contains("the arguments cannot be");
        if refused { Self::Refused(text) } else { Self::Failed(text) }
    }

    /// One word for a table.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other => "other",
            Self::Wrong(_) => "WRONG",
            Self::Refused(_) => "error",
            Self::Failed(_) => "FAILED",
        }
    }

    /// More about it, if there is more.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Same | Self::Other => None,
            Self::Wrong(text) | Self::Refused(text) | Self::Failed(text) => Some(text),
        }
    }
}

impl<T: Debug> Expect<T> {
    fn outcome(&self, make: fn() -> T, back: &T) -> Outcome {
        match &self.wanted {
            Wanted::Other(other) | Wanted::AtWorst(other) if (self.same)(&other(), back) => {
                Outcome::Other
            }
            _ if (self.same)(&make(), back) => Outcome::Same,
            _ => Outcome::Wrong(shortened(&format!("{back:?}"))),
        }
    }

    fn allows(&self, outcome: &Outcome) -> bool {
        match (&self.wanted, outcome) {
            (Wanted::Same, Outcome::Same)
            | (Wanted::Other(_) | Wanted::AtWorst(_), Outcome::Other)
            | (Wanted::AtWorst(_), Outcome::Same | Outcome::Refused(_)) => true,
            (Wanted::Error(part), Outcome::Refused(text)) => text.contains(part),
            _ => false,
        }
    }

    /// In words.
    fn describe(&self) -> String {
        match self.wanted {
            Wanted::Same => "the same".to_owned(),
            Wanted::Other(other) => format!("{:?}", other()),
            Wanted::Error(text) => format!("an error with `{text}`, before a task is given it"),
            Wanted::AtWorst(other) => format!("the same, {:?}, or an error", other()),
        }
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A value that was sent.
pub(crate) struct Report {
    pub(crate) outcomes: [Outcome; 6],
    /// Where something else came back than expected.
    complaints: Vec<String>,
}

type Sending = Pin<Box<dyn Future<Output = Report>>>;

/// A value, and what is expected of it.
pub(crate) struct Case {
    pub(crate) package: &'static str,
    pub(crate) type_name: &'static str,
    pub(crate) what: &'static str,
    send: Box<dyn Fn(ProcessPoolExecutor) -> Sending>,
}

impl Case {
    pub(crate) fn new<T>(
        package: &'static str,
        type_name: &'static str,
        what: &'static str,
        make: fn() -> T,
        expect: Expect<T>,
    ) -> Self
    where
        T: Serialize + DeserializeOwned + Debug + 'static,
    {
        let expect = &*Box::leak(Box::new(expect)); // as long as the process, which is a test
        let send = move |pool| -> Sending { Box::pin(send(pool, make, expect)) };
        Self { package, type_name, what, send: Box::new(send) }
    }

    pub(crate) async fn send(&self, pool: &ProcessPoolExecutor) -> Report {
        (self.send)(pool.clone()).await
    }
}

/// Goes through all places.
async fn send<T>(pool: ProcessPoolExecutor, make: fn() -> T, expect: &Expect<T>) -> Report
where
    T: Serialize + DeserializeOwned + Debug + 'static,
{
    let judge = |back: &T| expect.outcome(make, back);
    let outcomes = [
        outcome(pool.run(identity::<T>, make()).await, |back| Some(judge(&back))),
        outcome(pool.run(identity::<Vec<T>>, vec![make(), make()]).await, |back| {
            // The one that is worse off.
            let outcomes: Vec<_> = back.iter().map(judge).collect();
            let wrong = outcomes.iter().find(|outcome| outcome.detail().is_some());
            (outcomes.len() == 2).then(|| wrong.unwrap_or(&outcomes[1]).clone())
        }),
        outcome(pool.run(identity::<Option<T>>, Some(make())).await, |back| {
            back.map(|back| judge(&back))
        }),
        outcome(pool.run(identity::<(T, u32)>, (make(), BEHIND)).await, |(back, behind)| {
            (behind == BEHIND).then(|| judge(&back))
        }),
        outcome(
            pool.run(identity::<HashMap<String, T>>, HashMap::from([(KEY.to_owned(), make())]))
                .await,
            |back| (back.len() == 1).then(|| back.get(KEY).map(judge))?,
        ),
        outcome(
            pool.run(identity::<Field<T>>, Field { before: 300, value: make(), behind: BEHIND })
                .await,
            |back| ((back.before, back.behind) == (300, BEHIND)).then(|| judge(&back.value)),
        ),
    ];
    let bad = PLACES.iter().zip(&outcomes).filter(|(_, outcome)| !expect.allows(outcome));
    let complaints = bad.map(|(place, outcome)| {
        format!("{place}: expected {}, got {outcome:?}", shortened(&expect.describe()))
    });
    Report { complaints: complaints.collect(), outcomes }
}

/// The outcome in one place; `judge` gives `None` if what is around the value is not as it was.
fn outcome<T: Debug>(
    back: Result<T, RunError>,
    judge: impl FnOnce(T) -> Option<Outcome>,
) -> Outcome {
    match back {
        Ok(back) => {
            judge(back).unwrap_or_else(|| Outcome::Wrong("what is around it is not".to_owned()))
        }
        Err(error) => Outcome::of_error(&error),
    }
}

/// A pool of one worker: what counts here is what is sent.
pub(crate) fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().unwrap()
}

/// Where something else has come back than expected, a line for each place; empty if it is nowhere.
pub(crate) async fn complaints(cases: &[Case]) -> String {
    let pool = pool();
    let mut complaints = String::new();
    for case in cases {
        for complaint in case.send(&pool).await.complaints {
            let Case { package, type_name, what, .. } = case;
            writeln!(complaints, "{package} `{type_name}`, {what}, {complaint}").unwrap();
        }
    }
    pool.shutdown().await;
    complaints
}

/// Fails if there is something to complain about.
pub(crate) async fn check(cases: Vec<Case>) {
    let complaints = complaints(&cases).await;
    assert!(complaints.is_empty(), "\n{complaints}");
}

/// A value: the package that it is of, its type, a word about it, an expression that makes it (each
/// time the same), and what is expected if it is not to come back [`equal`].
macro_rules! case {
    ($package:literal, $type:ty, $what:literal, $value:expr $(,)?) => {
        case!($package, $type, $what, $value, $crate::harness::equal())
    };
    ($package:literal, $type:ty, $what:literal, $value:expr, $expect:expr $(,)?) => {{
        ::procpool::register!(
            $crate::harness::identity::<$type>,
            $crate::harness::identity::<Vec<$type>>,
            $crate::harness::identity::<Option<$type>>,
            $crate::harness::identity::<($type, u32)>,
            $crate::harness::identity::<::std::collections::HashMap<String, $type>>,
            $crate::harness::identity::<$crate::harness::Field<$type>>
        );
        $crate::harness::Case::new(
            $package,
            stringify!($type),
            $what,
            || -> $type { $value },
            $expect,
        )
    }};
}

/// One test for each of the functions that are named, and a function `cases` for all of them.
macro_rules! tests {
    ($($group:ident),+ $(,)?) => {
        pub(crate) fn cases() -> Vec<$crate::harness::Case> {
            [$($group()),+].into_iter().flatten().collect()
        }

        $(mod $group {
            #[tokio::test]
            async fn come_back() {
                $crate::harness::check(super::$group()).await;
            }
        })+
    };
}

pub(crate) use {case, tests};
