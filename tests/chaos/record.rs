//! The independent recorder: what tasks did, by their own account, and what became of them, by
//! their callers'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use procpool::{TaskError, WorkerDeath, WorkerId};

use crate::access::Access;
use crate::deeds::{Deed, Echo, is_shared};

// ----- in the workers -----

/// Appends that a task has begun. It is one atomic write, so it is there, and whole, however the
/// worker ends.
pub(crate) fn note_begin(path: &str, number: u32, attempt: u32) {
    let worker = procpool::current().worker_id().get();
    let line = format!("\n#{number} {attempt} {worker} {}\n", check_sum(number, attempt, worker));
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

fn check_sum(number: u32, attempt: u32, worker: u64) -> u64 {
    (u64::from(number) << 32 | u64::from(attempt)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ worker
}

/// Of a task that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) number: u32,
    pub(crate) attempt: u32,
    pub(crate) worker: u64,
}

/// The lines that [`note_begin`] has written. Others come from workers whose descriptors were
/// closed, so that this file has got the number of another one.
pub(crate) fn read_begins(file: &[u8]) -> Vec<Begin> {
    let lines = file.split(|byte| *byte == b'\n');
    lines.filter_map(|line| parse(std::str::from_utf8(line).ok()?)).collect()
}

fn parse(line: &str) -> Option<Begin> {
    let mut words = line.strip_prefix('#')?.split(' ');
    let (number, attempt) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (worker, sum): (_, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (sum == check_sum(number, attempt, worker)).then_some(Begin { number, attempt, worker })
}

// ----- what became of a task -----

#[derive(Debug)]
pub(crate) enum End {
    /// It has returned, in that attempt, what it was sent.
    Returned(u32),
    /// It has returned something else.
    Spoilt,
    /// It was refused, or cancelled before it began.
    NeverBegan,
    Failed(TaskError),
    /// Nobody asked, or nobody knows whether it was submitted at all.
    Unknown,
}

impl End {
    pub(crate) fn new(number: u32, result: Result<Echo, TaskError>) -> Self {
        match result {
            Ok((echo, attempt, padding)) if echo == number && padding.is_of(number) => {
                Self::Returned(attempt)
            }
            Ok(_) => Self::Spoilt,
            Err(error) => Self::Failed(error),
        }
    }
}

/// What a caller knows of a task.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) number: u32,
    pub(crate) deed: Deed,
    pub(crate) retries: u32,
    pub(crate) end: End,
    /// How often its callback was called, if it was submitted with one.
    pub(crate) calls: Option<Arc<AtomicU32>>,
}

// ----- the verdict -----

/// What a campaign has seen. The first four must stay zero.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Resolved without a reason, or not at all.
    pub(crate) lost: u64,
    /// Begun more often than it may be, or resolved twice.
    pub(crate) repeated: u64,
    /// Awaited in vain.
    pub(crate) hung: u64,
    /// A task that has done nothing failed with a worker to which nothing was done; or more than
    /// one with the same worker; or with the wrong result.
    pub(crate) innocent: u64,

    pub(crate) tasks: u64,
    pub(crate) begins: u64,
    pub(crate) returned: u64,
    pub(crate) never_began: u64,
    pub(crate) unknown: u64,
    pub(crate) panicked: u64,
    pub(crate) died: u64,
    pub(crate) timed_out: u64,
    pub(crate) cancelled: u64,
    pub(crate) other_errors: u64,
    pub(crate) worker_starts: u64,
    pub(crate) worker_deaths: u64,
    pub(crate) hits: u64,
    /// Workers that had memory sent to them, as far as that was seen.
    pub(crate) sent_to: u64,
    /// What there is to say about the first four.
    pub(crate) complaints: Vec<String>,
}

impl Tally {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.hung + self.innocent == 0 && self.complaints.is_empty()
    }

    fn count(&mut self, end: &End) {
        self.tasks += 1;
        *match end {
            End::Returned(_) | End::Spoilt => &mut self.returned,
            End::NeverBegan => &mut self.never_began,
            End::Unknown => &mut self.unknown,
            End::Failed(error) if error.is_panic() => &mut self.panicked,
            End::Failed(error) if error.is_worker_death() => &mut self.died,
            End::Failed(error) if error.is_not_begun() => &mut self.never_began,
            End::Failed(error) if error.is_timeout() || error.is_deadline() => &mut self.timed_out,
            End::Failed(error) if error.is_cancelled() => &mut self.cancelled,
            End::Failed(_) => &mut self.other_errors,
        } += 1;
    }
}

/// Compares what the tasks of one pool did with what became of them.
pub(crate) struct Audit<'a> {
    tally: &'a mut Tally,
    seed: u64,
    access: Access,
    /// Whether all tasks had the time to come to their own end.
    is_orderly: bool,
    /// Workers to which something was done from outside.
    hit: BTreeSet<u32>,
    /// Workers to which a task has done something that they may only notice later.
    damaged: BTreeSet<u64>,
    begins: BTreeMap<u32, Vec<Begin>>,
    /// Workers with which a task has failed.
    mourned: BTreeMap<WorkerId, u32>,
}

impl<'a> Audit<'a> {
    pub(crate) fn new(
        tally: &'a mut Tally,
        (seed, access): (u64, Access),
        is_orderly: bool,
        hits: BTreeSet<u32>,
        begins: Vec<Begin>,
    ) -> Self {
        tally.begins += begins.len() as u64;
        let mut of_task: BTreeMap<u32, Vec<Begin>> = BTreeMap::new();
        for begin in begins {
            of_task.entry(begin.number).or_default().push(begin);
        }
        Self {
            tally,
            seed,
            access,
            is_orderly,
            hit: hits,
            damaged: BTreeSet::new(),
            begins: of_task,
            mourned: BTreeMap::new(),
        }
    }

    pub(crate) fn judge(mut self, fates: Vec<Fate>) {
        for fate in fates.iter().filter(|fate| fate.deed.is_damaging()) {
            let begins = self.begins.get(&fate.number).into_iter().flatten();
            self.damaged.extend(begins.map(|begin| begin.worker));
        }
        for fate in fates {
            self.tally.count(&fate.end);
            let begins = self.begins.remove(&fate.number).unwrap_or_default();
            self.judge_begins(&fate, &begins);
            self.judge_calls(&fate);
            self.judge_end(&fate, &begins);
        }
        for (number, begins) in std::mem::take(&mut self.begins) {
            self.tally.repeated += 1;
            self.complain(&format!("nobody has asked for {number}: {begins:?}"));
        }
    }

    fn complain(&mut self, complaint: &str) {
        self.tally.complaints.push(format!("seed {}: {complaint}", self.seed));
    }

    fn judge_begins(&mut self, fate: &Fate, begins: &[Begin]) {
        let rising = begins.windows(2).all(|pair| pair[0].attempt < pair[1].attempt);
        let most = match fate.end {
            End::NeverBegan => 0,
            _ => 1 + fate.retries,
        };
        if !rising || begins.iter().any(|begin| begin.attempt > most) {
            self.tally.repeated += 1;
            self.complain(&format!("{fate:?} has begun too often: {begins:?}"));
        }
    }

    fn judge_calls(&mut self, fate: &Fate) {
        match fate.calls.as_ref().map(|calls| calls.load(Ordering::SeqCst)) {
            None | Some(1) => {}
            Some(0) => {
                self.tally.lost += 1;
                self.complain(&format!("{fate:?} was never resolved"));
            }
            Some(_) => {
                self.tally.repeated += 1;
                self.complain(&format!("{fate:?} was resolved more than once"));
            }
        }
    }

    fn judge_end(&mut self, fate: &Fate, begins: &[Begin]) {
        let last = begins.last();
        match &fate.end {
            End::Returned(attempt) if last.is_some_and(|begin| begin.attempt == *attempt) => {}
            End::Returned(_) => {
                self.tally.lost += 1;
                self.complain(&format!("{fate:?} has another last attempt: {begins:?}"));
            }
            End::Spoilt => {
                if last.is_none_or(|begin| !self.damaged.contains(&begin.worker)) {
                    self.tally.innocent += 1;
                    self.complain(&format!("{fate:?} has a wrong result"));
                }
            }
            End::Failed(error) => self.judge_error(fate, error, last),
            End::NeverBegan | End::Unknown => {}
        }
    }

    fn judge_error(&mut self, fate: &Fate, error: &TaskError, last: Option<&Begin>) {
        if let Some(death) = error.worker_death().filter(|_| error.is_worker_death()) {
            return self.judge_death(fate, death, last);
        }
        let attempts = error.attempts();
        let ran = last.is_some_and(|begin| begin.attempt == attempts);
        let as_expected = match fate.deed {
            Deed::Panic if error.is_panic() => ran,
            Deed::TooLarge if error.is_too_large() => ran,
            // Its worker was killed before its result was opened.
            _ if error.is_codec() && is_shared(fate.number) => ran && !self.access.is_sent(),
            _ if error.is_not_begun() => last.is_none(),
            _ if error.is_timeout() || error.is_deadline() || error.is_cancelled() => {
                last.is_none_or(|begin| begin.attempt <= attempts)
            }
            _ => !self.is_orderly && (error.is_shut_down() || error.is_broken()),
        };
        // A worker without descriptors may be unable to read or to say anything right.
        let damaged = error.worker_id().is_some_and(|worker| self.is_damaged(worker));
        if !as_expected && !damaged {
            self.tally.lost += 1;
            self.complain(&format!("{fate:?} has no reason to fail so: {error}; {last:?}"));
        }
    }

    fn judge_death(&mut self, fate: &Fate, death: &WorkerDeath, last: Option<&Begin>) {
        let (hit, damaged) = (self.hit.contains(&death.pid()), self.is_damaged(death.worker_id()));
        // What a damaged worker has said may be lost, so it may have gone on to the next task.
        if let Some(other) =
            self.mourned.insert(death.worker_id(), fate.number).filter(|_| !damaged)
        {
            self.tally.innocent += 1;
            self.complain(&format!("{fate:?} and {other} fail with the same worker: {death}"));
        }
        let explained = fate.deed.is_deadly() || hit || damaged || !self.is_orderly;
        let elsewhere = last.is_some_and(|begin| {
            begin.attempt == attempts_of(fate) && begin.worker != death.worker_id().get()
        });
        if !explained || elsewhere {
            self.tally.innocent += 1;
            self.complain(&format!(
                "{fate:?} fails with a worker for no reason: {death}; {last:?}"
            ));
        }
    }

    fn is_damaged(&self, worker: WorkerId) -> bool {
        self.damaged.contains(&worker.get())
    }
}

fn attempts_of(fate: &Fate) -> u32 {
    match &fate.end {
        End::Failed(error) => error.attempts(),
        _ => 0,
    }
}
