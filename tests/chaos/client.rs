//! Those who use the pool, in all ways there are, and keep account of what they were told.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Backoff, ProcessPoolExecutor, ResourceLimits, ReturnWhen, SubmitError, TaskHandle, TaskId,
    TaskSet, as_completed, wait,
};

use crate::common::{LIMIT, within};
use crate::deeds::{Args, Deed, Echo, Padding, act, act_with_names};
use crate::random::Random;
use crate::record::{End, Fate};

/// Beyond which nothing goes, and that can be set whatever a task has done to its worker.
fn wide_limits() -> ResourceLimits {
    ResourceLimits::new().cpu_time(Duration::from_secs(1_000)).file_size(1 << 40)
}

/// What is allowed in a pool's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Stopped workers may stay so. Then every task has a timeout, as nobody else would end it.
    pub(crate) stops_for_good: bool,
    /// What tasks have started outlives workers that die when there is no fork server to reap them.
    pub(crate) kills_server: bool,
}

/// What was awaited in vain.
#[derive(Clone, Default)]
pub(crate) struct Hung(Arc<Mutex<Vec<String>>>);

impl Hung {
    /// Notes a hang, which `None` stands for.
    #[track_caller]
    pub(crate) fn or_note<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let (hung, place) = (self.clone(), Location::caller());
        async move {
            let limit = hung.limit();
            let done = within(limit, future).await;
            if done.is_none() {
                hung.0.lock().unwrap().push(format!("nothing came within {limit:?} at {place}"));
            }
            done
        }
    }

    /// Who has waited in vain once need not wait as long for all that follows from that.
    fn limit(&self) -> Duration {
        if self.has_any() { Duration::from_secs(1) } else { LIMIT }
    }

    fn has_any(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) struct Client {
    pub(crate) pool: ProcessPoolExecutor,
    pub(crate) path: String,
    pub(crate) rules: Rules,
    pub(crate) hung: Hung,
    random: Random,
    next: u32,
    fates: Vec<Fate>,
}

/// A task that was drawn.
#[derive(Clone, Copy, Debug)]
struct Order {
    number: u32,
    deed: Deed,
    retries: u32,
    has_callback: bool,
}

/// A task that was submitted.
struct Submitted {
    order: Order,
    calls: Option<Arc<AtomicU32>>,
    handle: TaskHandle<Echo>,
}

impl Client {
    pub(crate) fn new(
        pool: &ProcessPoolExecutor,
        path: String,
        rules: Rules,
        hung: &Hung,
        first: u32,
    ) -> Self {
        let (pool, hung) = (pool.clone(), hung.clone());
        Self { pool, path, rules, hung, random: Random::new(0), next: first, fates: Vec::new() }
    }

    /// Each step has random numbers of its own, so that what is drawn does not depend on what
    /// happened.
    pub(crate) async fn work(mut self, seed: u64, steps: u32) -> Vec<Fate> {
        let mut seeds = Random::new(seed);
        for _ in 0..steps {
            self.random = Random::new(seeds.number());
            match self.random.below(10) {
                0..=4 => self.one().await,
                5 | 6 => self.many().await,
                7 => self.run_and_drop().await,
                8 => self.block().await,
                _ => self.map().await,
            }
        }
        self.fates
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn draw(&mut self) -> Order {
        let number = self.next;
        self.next += 1;
        let mut deed = Deed::draw(&mut self.random);
        if deed.leaves_processes() && self.rules.kills_server {
            deed = Deed::Return;
        }
        let retries = if self.chance(3) { 1 + u32::from(self.chance(2)) } else { 0 };
        Order { number, deed, retries, has_callback: self.chance(2) }
    }

    fn args(&self, order: Order) -> Args {
        (self.path.clone(), order.number, order.deed, Padding::of(order.number))
    }

    fn record(&mut self, order: Order, end: End, calls: Option<Arc<AtomicU32>>) {
        let Order { number, deed, retries, .. } = order;
        self.fates.push(Fate { number, deed, retries, end, calls });
    }

    /// The pool has one for all in which stopped workers may stay so.
    fn draw_timeout(&mut self, order: Order) -> Option<Duration> {
        let millis = 5 + self.random.below(60);
        let needed = order.deed.needs_timeout();
        (needed || self.chance(5)).then(|| Duration::from_millis(millis))
    }

    /// A task with random wishes.
    async fn submit(&mut self) -> Option<Submitted> {
        let order = self.draw();
        let pool = self.pool.clone();
        let mut task = pool.task(act, self.args(order)).retries(order.retries);
        if self.chance(3) {
            let repeats_all = self.chance(2);
            task = task.retry_if(move |outcome| repeats_all || outcome.is_err());
            task = task.backoff(Backoff::fixed(Duration::from_millis(self.random.below(5))));
        }
        if let Some(limit) = self.draw_timeout(order) {
            task = task.timeout(limit);
        }
        if self.chance(8) {
            task = task.deadline(Duration::from_millis(self.random.below(60)));
        }
        if self.chance(3) {
            task = task.priority(i32::try_from(self.random.below(5)).unwrap() - 2);
        }
        if self.chance(4) {
            task = task.sticky(self.random.below(4));
        }
        if self.chance(4) {
            task = task.tenant(self.random.below(3));
        }
        if self.chance(8) {
            task = task.begin_within(Duration::from_millis(self.random.below(60)));
        }
        if self.chance(4) {
            task = task.limits(wide_limits());
        }
        let hung = self.hung.clone();
        let submitted = if self.chance(5) {
            Some(task.try_submit())
        } else {
            hung.or_note(task.submit()).await
        };
        match submitted {
            Some(Ok(handle)) => {
                let calls = order.has_callback.then(|| count_calls(&handle));
                Some(Submitted { order, calls, handle })
            }
            Some(Err(error)) => {
                assert_refusal(&error);
                self.record(order, End::NeverBegan, None);
                None
            }
            None => {
                self.record(order, End::NeverBegan, None);
                None
            }
        }
    }

    async fn pause(&mut self) {
        match self.random.below(3) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(self.random.below(3000))).await,
        }
    }

    async fn one(&mut self) {
        let (what, pauses) = (self.random.below(8), self.chance(2));
        let Some(Submitted { order, calls, handle }) = self.submit().await else { return };
        if pauses {
            self.pause().await;
        }
        let end = match what {
            0 => self.cancel(order, handle).await,
            1 => {
                handle.abort();
                self.end_of(order, handle).await
            }
            2 => {
                drop(handle.abort_on_drop(true));
                End::Unknown
            }
            3 => {
                let mut progress = handle.progress();
                drop(handle.emitted::<u64>()); // else it may wait for who takes that
                let hung = self.hung.clone();
                while hung.or_note(progress.next()).await.flatten().is_some() {}
                self.end_of(order, handle).await
            }
            4 => End::Unknown,
            5 => self.read(order, handle).await,
            _ => self.end_of(order, handle).await,
        };
        self.record(order, end, calls);
    }

    /// Reads all that the task emits, or some of it.
    async fn read(&mut self, order: Order, handle: TaskHandle<Echo>) -> End {
        let most = if self.chance(3) { self.random.below(30) } else { u64::MAX };
        let (mut stream, mut attempt, mut next) = (handle.emitted::<u64>(), 0, 0);
        for _ in 0..most {
            let Some(value) = self.hung.or_note(stream.next()).await.flatten() else { break };
            if stream.attempt() != attempt {
                attempt = stream.attempt();
                next = 0;
            }
            assert_eq!(value.unwrap(), next, "{order:?} at attempt {attempt}");
            next += 1;
            let Deed::Emit(count) = order.deed else { panic!("{order:?} emits nothing") };
            assert!(next <= count, "{order:?} at attempt {attempt} emits more");
        }
        drop(stream);
        self.end_of(order, handle).await
    }

    async fn cancel(&self, order: Order, handle: TaskHandle<Echo>) -> End {
        if !handle.cancel() {
            return self.end_of(order, handle).await;
        }
        match self.end_of(order, handle).await {
            // With retries an earlier attempt may have run.
            End::Failed(error) if error.is_cancelled() && order.retries == 0 => End::NeverBegan,
            end => end,
        }
    }

    async fn end_of(&self, order: Order, handle: TaskHandle<Echo>) -> End {
        let result = self.hung.or_note(handle).await;
        result.map_or(End::Unknown, |result| End::new(order.number, result))
    }

    async fn many(&mut self) {
        let (count, what) = (self.random.below(16), self.random.below(3));
        let (mut handles, mut orders) = (Vec::new(), BTreeMap::new());
        for _ in 0..count {
            if let Some(Submitted { order, calls, handle }) = self.submit().await {
                orders.insert(handle.id(), (order, calls));
                // Else it may wait for who takes that, and the next one for its place in the queue.
                drop(handle.emitted::<u64>());
                handles.push(handle);
            }
        }
        let mut ends = match what {
            0 => self.complete(handles).await,
            1 => self.wait(handles).await,
            _ => self.join_some(handles).await,
        };
        for (id, (order, calls)) in orders {
            let end =
                ends.remove(&id).map_or(End::Unknown, |result| End::new(order.number, result));
            self.record(order, end, calls);
        }
        assert!(ends.is_empty(), "these were not submitted: {ends:?}");
    }

    async fn complete(&mut self, handles: Vec<TaskHandle<Echo>>) -> Ends {
        let (mut ends, count) = (Ends::new(), handles.len());
        let mut done = as_completed(handles);
        while let Some(finished) = self.hung.or_note(done.next()).await.flatten() {
            assert!(ends.insert(finished.id, finished.result).is_none());
        }
        assert!(ends.len() == count || self.hung.has_any(), "{} of {count}", ends.len());
        ends
    }

    async fn wait(&mut self, handles: Vec<TaskHandle<Echo>>) -> Ends {
        let mut ends = Ends::new();
        let limit = Duration::from_millis(self.random.below(20));
        let waited = self.hung.or_note(wait(handles, ReturnWhen::FirstException, limit)).await;
        let (done, rest) = waited.unwrap_or_default();
        rest.iter().for_each(TaskHandle::abort);
        for handle in done.into_iter().chain(rest) {
            let id = handle.id();
            if let Some(result) = self.hung.or_note(handle).await {
                ends.insert(id, result);
            }
        }
        ends
    }

    /// What is left is aborted when the set is dropped.
    async fn join_some(&mut self, handles: Vec<TaskHandle<Echo>>) -> Ends {
        let mut ends = Ends::new();
        let mut set: TaskSet<Echo> = handles.into_iter().collect();
        for _ in 0..self.random.below(16) {
            let Some(finished) = self.hung.or_note(set.join_next()).await.flatten() else { break };
            assert!(ends.insert(finished.id, finished.result).is_none());
        }
        ends
    }

    /// Half of the times it is dropped at some moment.
    async fn run_and_drop(&mut self) {
        let order = self.draw();
        let pool = self.pool.clone();
        let task = pool.task(act, self.args(order)).retries(order.retries);
        let task = match self.draw_timeout(order) {
            Some(limit) => task.timeout(limit),
            None => task,
        };
        let run = self.hung.or_note(task.run());
        let limit = if self.chance(2) { self.random.below(8000) } else { 60_000_000 };
        let run = tokio::time::timeout(Duration::from_micros(limit), run).await;
        let end = match run {
            Ok(Some(Ok(echo))) => End::new(order.number, Ok(echo)),
            _ => End::Unknown,
        };
        self.record(order, end, None);
    }

    async fn block(&mut self) {
        let order = self.draw();
        let (pool, args) = (self.pool.clone(), self.args(order));
        let limit = self.draw_timeout(order);
        let run = tokio::task::spawn_blocking(move || {
            let task = pool.task(act, args).retries(order.retries);
            match limit {
                Some(limit) => task.timeout(limit).blocking_run(),
                None => task.blocking_run(),
            }
        });
        let end = match self.hung.or_note(run).await {
            Some(Ok(Ok(echo))) => End::new(order.number, Ok(echo)),
            _ => End::Unknown,
        };
        self.record(order, end, None);
    }

    /// Items have no timeouts, so nothing may be done to them that only a timeout ends.
    async fn map(&mut self) {
        let count = if self.rules.stops_for_good { 0 } else { self.random.below(200) };
        let orders: Vec<_> = (0..count).map(|_| self.draw_item()).collect();
        let args: Vec<_> = orders.iter().map(|order| self.args(*order)).collect();
        let mut map = self.pool.map(act_with_names, args).with_index();
        if self.chance(2) {
            map = map.chunksize(1 + usize::try_from(self.random.below(50)).unwrap());
        }
        if self.chance(3) {
            map = map.buffersize(1 + usize::try_from(self.random.below(64)).unwrap());
        }
        if self.chance(4) {
            map = map.limits(wide_limits());
        }
        let is_ordered = self.chance(2);
        if !is_ordered {
            map = map.unordered();
        }
        let most = if self.chance(3) { self.random.below(count + 1) } else { count };
        let mut ends = BTreeMap::new();
        while (ends.len() as u64) < most
            && let Some((index, result)) = self.hung.or_note(map.next()).await.flatten()
        {
            assert!(!is_ordered || index == ends.len(), "{index} comes after {}", ends.len());
            let end = End::new(orders[index].number, result);
            assert!(ends.insert(index, end).is_none(), "{index} comes twice");
        }
        if !self.hung.has_any() {
            assert_eq!(ends.len() as u64, most, "a map of {count} has ended");
        }
        if ends.len() as u64 == count {
            let more = self.hung.or_note(map.next()).await.flatten();
            assert!(more.is_none(), "there are more than {count} items");
        }
        drop(map);
        for (index, order) in orders.into_iter().enumerate() {
            self.record(order, ends.remove(&index).unwrap_or(End::Unknown), None);
        }
    }

    fn draw_item(&mut self) -> Order {
        let mut order = self.draw();
        if order.deed.needs_timeout() || !self.random.number().is_multiple_of(8) {
            order.deed = Deed::Return;
        }
        Order { retries: 0, ..order }
    }
}

type Ends = BTreeMap<TaskId, Result<Echo, procpool::TaskError>>;

fn count_calls(handle: &TaskHandle<Echo>) -> Arc<AtomicU32> {
    let calls = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&calls);
    handle.add_done_callback(move |_| {
        called.fetch_add(1, Ordering::SeqCst);
    });
    calls
}

fn assert_refusal(error: &SubmitError) {
    let late = error.is_deadline() || error.is_not_begun();
    let known = error.is_queue_full() || error.is_shut_down() || error.is_broken() || late;
    assert!(known, "{error}");
}
