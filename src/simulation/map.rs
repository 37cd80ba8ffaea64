//! A map as its user has it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures::Stream;

use crate::error::TaskError;
use crate::executor::ProcessPoolExecutor;
use crate::testing::{Check, ensure};

use super::record::limits_of;
use super::runs::Answer;
use super::user::{Flag, Outcome, inputs, work_on_item};

/// How a map is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) count: u64,
    pub(super) chunk: Option<usize>,
    pub(super) buffer: Option<usize>,
    /// The bytes that it may hold.
    pub(super) budget: Option<u64>,
    pub(super) is_ordered: bool,
    /// How often an item may be begun again, which its user decides.
    pub(super) retries: u32,
}

type Results = Pin<Box<dyn Stream<Item = (usize, Result<Answer, TaskError>)> + Send>>;

pub(super) struct MapTicket {
    /// The number of the first call.
    pub(super) first: u64,
    pub(super) shape: Shape,
    results: Option<Results>,
    flag: Arc<Flag>,
    pub(super) outcomes: Vec<Option<Outcome>>,
    next: usize,
    pub(super) was_dropped: bool,
    /// Its condition was asked about what is no attempt.
    pub(super) was_misled: Arc<AtomicBool>,
}

impl MapTicket {
    pub(super) fn new(pool: &ProcessPoolExecutor, shape: Shape, first: u64) -> Self {
        let mut map = pool.map(work_on_item, inputs(first..first + shape.count)).with_index();
        map = map.limits(limits_of(first));
        if let Some(items) = shape.chunk {
            map = map.chunksize(items);
        }
        if let Some(items) = shape.buffer {
            map = map.buffersize(items);
        }
        if let Some(bytes) = shape.budget {
            map = map.budget(bytes);
        }
        if !shape.is_ordered {
            map = map.unordered();
        }
        let was_misled = Arc::<AtomicBool>::default();
        if shape.retries > 0 {
            let misled = Arc::clone(&was_misled);
            map = map.retries(shape.retries).retry_if(move |outcome| {
                let outcome = Outcome::of_attempt(outcome);
                misled.fetch_or(!outcome.is_of_attempt(), Ordering::SeqCst);
                outcome.wants_retry()
            });
        }
        Self {
            first,
            shape,
            results: Some(Box::pin(map)),
            flag: Flag::raised(),
            outcomes: vec![None; usize::try_from(shape.count).unwrap()],
            next: 0,
            was_dropped: false,
            was_misled,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.results.is_none()
    }

    pub(super) fn forget(&mut self) {
        self.was_dropped |= !self.is_over();
        self.results = None;
    }

    /// Takes results if there may be some; whether there were.
    pub(super) fn pull(&mut self, most: usize) -> Result<bool, String> {
        let mut pulled = false;
        for _ in 0..most {
            let Some(results) = self.results.as_mut().filter(|_| self.flag.lower()) else { break };
            let waker = Waker::from(Arc::clone(&self.flag));
            match results.as_mut().poll_next(&mut Context::from_waker(&waker)) {
                Poll::Pending => {}
                Poll::Ready(Some((index, result))) => {
                    std::task::Wake::wake(Arc::clone(&self.flag)); // there may be more
                    self.take(index, Outcome::of(&result))?;
                    pulled = true;
                }
                Poll::Ready(None) => {
                    self.results = None;
                    pulled = true;
                }
            }
        }
        Ok(pulled)
    }

    fn take(&mut self, index: usize, outcome: Outcome) -> Check {
        let Self { first, next, .. } = *self;
        ensure!(
            !self.shape.is_ordered || index == next,
            "map {first}: item {index} comes in the place of item {next}"
        );
        let Some(known) = self.outcomes.get_mut(index) else {
            return Err(format!("map {first}: there is no item {index}"));
        };
        ensure!(known.is_none(), "map {first}: item {index} comes twice");
        *known = Some(outcome);
        self.next += 1;
        Ok(())
    }
}
