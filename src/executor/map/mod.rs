//! One function over many inputs.
//!
//! ```text
//!  inputs ──▶ intake ──▶ chunks ──▶ queue of the pool ─ ─ ▶ harvest ──▶ yields ──▶ results
//!           (encodes)      ▲                                  │        (decodes)
//!                          └────────── pace ◀─────────────────┘
//! ```

mod flow;
#[cfg(test)]
mod fuzz;
mod intake;
mod pace;
mod repeats;
mod yields;

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::flow::Flow;
use crate::base::ResourceLimits;
use crate::error::TaskError;
use crate::executor::backoff::Backoff;
use crate::executor::pool::ProcessPoolExecutor;
use crate::executor::task::hash_of;
use crate::function::TaskFn;
use crate::pool::Pool;

impl ProcessPoolExecutor {
    /// Calls `f` with each of the inputs, and yields the results in the order of the inputs.
    ///
    /// The stream is lazy: it takes a bounded number of inputs ahead of the results, so inputs may
    /// be endless. An item that fails is an `Err` in its place, and the others go on. [Dropping the
    /// stream](crate::guide::conventions#what-a-drop-does) ends what it has begun. A function of
    /// several parameters takes tuples. Python's `map` takes several iterables; here,
    /// [`zip`](Iterator::zip) them.
    ///
    /// The returned [`Map`] can be configured: [`unordered`](Map::unordered),
    /// [`chunksize`](Map::chunksize), [`buffersize`](Map::buffersize), [`timeout`](Map::timeout),
    /// [`within`](Map::within), [`retries`](Map::retries), [`retry_if`](Map::retry_if),
    /// [`backoff`](Map::backoff), [`abort_on_drop`](Map::abort_on_drop), [`limits`](Map::limits),
    /// [`tenant`](Map::tenant), [`label`](Map::label), [`context`](Map::context),
    /// [`with_index`](Map::with_index).
    ///
    /// ```
    /// # fn power(base: u64, exponent: u32) -> u64 { base.pow(exponent) }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// use futures::StreamExt;
    ///
    /// let squares: Vec<_> = pool.map(power, (0..10_000).map(|n| (n, 2))).collect().await;
    /// # drop(squares);
    /// # }
    /// ```
    pub fn map<F, A, M, R, I>(&self, f: F, inputs: I) -> Map<R, stream::Iter<I::IntoIter>>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
        I: IntoIterator<Item = A>,
    {
        Map::new(f, Arc::clone(self.pool()), stream::iter(inputs))
    }

    /// As [`map`](Self::map), for inputs that come from a stream. An input that has come does not
    /// wait for others to fill a chunk.
    ///
    /// ```
    /// # fn parse(line: String) -> usize { line.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// use futures::StreamExt;
    /// use futures::channel::mpsc;
    ///
    /// let (lines, incoming) = mpsc::channel::<String>(100);
    /// let mut parsed = pool.map_stream(parse, incoming);
    /// # drop(lines);
    /// while let Some(result) = parsed.next().await {
    ///     println!("{result:?}");
    /// }
    /// # }
    /// ```
    pub fn map_stream<F, A, M, R, S>(&self, f: F, inputs: S) -> Map<R, Pin<Box<S>>>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
        S: Stream<Item = A>,
    {
        Map::new(f, Arc::clone(self.pool()), Box::pin(inputs))
    }
}

/// The stream that [`ProcessPoolExecutor::map`] and [`ProcessPoolExecutor::map_stream`] return;
/// also its builder. Call the other methods before it is polled. A method that is called later
/// takes effect from then on.
///
/// It is lazy. While it is not polled it takes no inputs. It takes only a bounded number of inputs
/// ahead of the results that it has yielded; see [`buffersize`](Self::buffersize). If the inputs
/// panic, that reaches whoever polls.
///
/// Quick items go to the workers in chunks, because handing over a task costs more than calling a
/// trivial function. Chunks change nothing else. An item that fails, by whatever means, fails
/// alone. Each runs at most once, unless it has [`retries`](Self::retries). When a chunk takes
/// longer than some milliseconds, its results so far are delivered, and other workers may take what
/// has not begun.
///
/// [Dropping the stream](crate::guide::conventions#what-a-drop-does) cancels all items that have
/// not begun, and aborts those that run. [`abort_on_drop(false)`](Self::abort_on_drop) leaves these
/// to finish.
///
/// Each item has a [`TaskId`](crate::TaskId) of its own, which its error and
/// [`current`](crate::current) tell. In [`stats`](ProcessPoolExecutor::stats), in
/// [`events`](ProcessPoolExecutor::events) and in the queue, a chunk is one task. What items report
/// by [`progress`](crate::Current::progress) is not passed on.
///
/// ```
/// # fn thumbnail(file: String) -> Vec<u8> { file.into_bytes() }
/// # async fn example(pool: procpool::ProcessPoolExecutor, files: Vec<String>) {
/// use futures::StreamExt;
/// use std::time::Duration;
///
/// let mut thumbnails = pool
///     .map(thumbnail, files.clone())
///     .unordered()
///     .with_index()
///     .within(Duration::from_secs(60));
/// while let Some((index, result)) = thumbnails.next().await {
///     match result {
///         Ok(image) => println!("{}: {} bytes", files[index], image.len()),
///         Err(error) => println!("{}: {error}", files[index]),
///     }
/// }
/// # }
/// ```
///
/// `R` is what the function returns, `S` the stream of the inputs, and `I` says whether items have
/// an [index](Self::with_index). So it can be a field:
///
/// ```
/// use futures::stream;
/// use procpool::{Indexed, Map};
///
/// struct Album {
///     thumbnails: Map<Vec<u8>, stream::Iter<std::vec::IntoIter<String>>>,
///     numbered: Map<Vec<u8>, stream::Iter<std::vec::IntoIter<String>>, Indexed>,
/// }
/// ```
///
/// # Cancel safety
///
/// `next` is cancel safe: no result is lost, and none comes twice.
#[must_use = "streams do nothing unless polled"]
pub struct Map<R, S, I = Unindexed> {
    flow: Flow<R, S>,
    items: PhantomData<fn() -> I>,
}

/// Items of a [`Map`] that are results alone, `Result<R, TaskError>`.
#[derive(Clone, Copy, Debug)]
pub enum Unindexed {}

/// Items of a [`Map`] that are [pairs](Map::with_index) of the number of the input and the result,
/// `(usize, Result<R, TaskError>)`.
#[derive(Clone, Copy, Debug)]
pub enum Indexed {}

impl<R, S> Map<R, S> {
    /// Of a function, its type says it all.
    pub(crate) fn new<F: 'static>(_: F, pool: Arc<Pool>, inputs: S) -> Self {
        Self { flow: Flow::new::<F>(pool, inputs), items: PhantomData }
    }

    /// Yields pairs: the number of the input, counted from zero, and its result. With
    /// [`unordered`](Self::unordered) the number tells which input it was.
    pub fn with_index(self) -> Map<R, S, Indexed> {
        Map { flow: self.flow, items: PhantomData }
    }
}

impl<R, S, I> Map<R, S, I> {
    /// Yields results as they come, not in the order of the inputs. So no result waits for a slower
    /// one.
    pub fn unordered(mut self) -> Self {
        self.flow.set_unordered();
        self
    }

    /// How many items go to a worker at a time, at most. Default: two thirds of a millisecond of
    /// work, by the average of recent items, so slow items go alone. If the pool has
    /// [`max_tasks_per_child`](crate::Builder::max_tasks_per_child), the default is one, because
    /// that setting counts a chunk as one task.
    ///
    /// It only changes what it costs to hand over an item. A chunk is smaller if there are no more
    /// inputs at the moment, or if its arguments take a megabyte. A chunk that runs for long is
    /// divided. `None` and zero mean the default.
    pub fn chunksize(mut self, items: impl Into<Option<usize>>) -> Self {
        self.flow.set_chunk_size(items.into().filter(|items| *items != 0));
        self
    }

    /// How many inputs may be taken before their results are yielded, as in Python. If you set it,
    /// only this number counts. `None` and zero mean the default.
    ///
    /// Default: enough to keep all workers busy. That is at least 256 and at most 65,536, or four
    /// chunks for each worker if [`chunksize`](Self::chunksize) is set. It is fewer if arguments
    /// and results are large, so that all of them take some 16 MiB. But each worker always has an
    /// argument.
    ///
    /// By default, no item begins while the results that wait for the reader take too much, even if
    /// its input was taken. The size of a result is known only when it is there. So with a slow
    /// reader the stream may hold 16 MiB and, for each worker, the results of two more items: one
    /// that ran at that moment, and one that began before the pool could hold it back.
    ///
    /// A pool that is shut down runs all inputs that were taken.
    pub fn buffersize(mut self, items: impl Into<Option<usize>>) -> Self {
        self.flow.set_buffer_size(items.into().filter(|items| *items != 0));
        self
    }

    /// Sets how many bytes of arguments and results it may hold.
    #[cfg(test)]
    pub(crate) fn budget(mut self, bytes: u64) -> Self {
        self.flow.set_budget(bytes);
        self
    }

    /// Limits the running time of each item, as
    /// [`TaskBuilder::timeout`](crate::TaskBuilder::timeout) does for a task. An item that takes
    /// longer is ended, with its worker. It fails with [`is_timeout`](TaskError::is_timeout), and
    /// no other item does. Default: the pool's
    /// [`default_timeout`](crate::Builder::default_timeout).
    ///
    /// An item that is not the first one of its chunk may have some milliseconds more.
    ///
    /// ```
    /// # fn parse(page: String) -> usize { page.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor, pages: Vec<String>) {
    /// use futures::StreamExt;
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_secs(1);
    /// let mut parsed = pool.map(parse, pages).timeout(limit).retries(1);
    /// while let Some(result) = parsed.next().await {
    ///     match result {
    ///         Ok(words) => println!("{words} words"),
    ///         Err(error) if error.is_timeout() => println!("twice too slow"),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        let timeout = limit.into();
        self.flow.set_item_limits(|limits| limits.timeout = timeout);
        self
    }

    /// How often an item may be run again after its worker died, its host was lost, or its time was
    /// up, as [`TaskBuilder::retries`](crate::TaskBuilder::retries) says it of a task. Default: 0,
    /// so that each item runs at most once.
    pub fn retries(mut self, times: u32) -> Self {
        self.flow.set_retries(times);
        self
    }

    /// After which outcomes an item is run again, as long as [`retries`](Self::retries) are left;
    /// see [`TaskBuilder::retry_if`](crate::TaskBuilder::retry_if). The predicate sees the outcome
    /// of each attempt of each item, and alone decides. Default: after the death of the worker, or
    /// when the [time](Self::timeout) was up.
    ///
    /// ```
    /// # fn fetch(page: u32) -> Result<String, String> { Ok(page.to_string()) }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// use futures::StreamExt;
    /// use procpool::Backoff;
    /// use std::time::Duration;
    ///
    /// let mut pages = pool
    ///     .map(fetch, 1..=1_000)
    ///     .retries(5)
    ///     .retry_if(|outcome| !matches!(outcome, Ok(Ok(_))))
    ///     .backoff(Backoff::exponential(Duration::from_millis(100)).jitter(true));
    /// while let Some(page) = pages.next().await {
    ///     println!("{page:?}");
    /// }
    /// # }
    /// ```
    ///
    /// Whoever polls the stream decodes the results, and calls the predicate, when nothing that
    /// came before can be yielded: also if, in the order of the inputs, it is not their turn. So
    /// nothing is run again while the stream is not polled, nor once the pool was shut down. An
    /// item that is run again takes its old place in the queue of the pool. Others do not wait for
    /// it, except that a stream in order yields it first. If the pool ends before an item is begun
    /// again, its error says so, and not what it had before.
    pub fn retry_if<P>(mut self, predicate: P) -> Self
    where
        P: Fn(Result<&R, &TaskError>) -> bool + Send + Sync + 'static,
        R: DeserializeOwned + 'static,
    {
        self.flow.set_condition(predicate);
        self
    }

    /// How long an item waits before it is run again, if it has [`retries`](Self::retries).
    /// Default: as [`Backoff::default`]. `None` is the default.
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        let delays = backoff.into().and_then(Backoff::delays);
        self.flow.set_item_limits(|limits| limits.delays = delays);
        self
    }

    /// For whom the items are; see [`TaskBuilder::tenant`](crate::TaskBuilder::tenant). So a long
    /// map does not make others wait. Default: none.
    ///
    /// ```
    /// # fn parse(page: String) -> usize { page.len() }
    /// # fn example(pool: procpool::ProcessPoolExecutor, pages: Vec<String>) {
    /// let parsed = pool.map(parse, pages).tenant("nightly import");
    /// # drop(parsed);
    /// # }
    /// ```
    pub fn tenant(mut self, key: impl Hash) -> Self {
        let tenant = Some(hash_of(key));
        self.flow.set_item_limits(|limits| limits.tenant = tenant);
        self
    }

    /// A name for its items and chunks. Errors of items show it, and so do events and workers for
    /// chunks; see [`TaskBuilder::label`](crate::TaskBuilder::label). Default: none.
    ///
    /// ```
    /// # fn thumbnail(file: String) -> Vec<u8> { file.into_bytes() }
    /// # fn example(pool: procpool::ProcessPoolExecutor, files: Vec<String>) {
    /// let thumbnails = pool.map(thumbnail, files).label("thumbnails of the album");
    /// # drop(thumbnails);
    /// # }
    /// ```
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.flow.set_label(label.into());
        self
    }

    /// A value that goes with each item; see
    /// [`TaskBuilder::context`](crate::TaskBuilder::context). It is encoded once, and sent with
    /// each chunk. One that cannot be encoded is the error of every item. Default: none.
    #[expect(clippy::needless_pass_by_value, reason = "it is the map's from now on")]
    pub fn context<C>(mut self, value: C) -> Self
    where
        C: Serialize + DeserializeOwned + 'static,
    {
        self.flow.set_context(&value);
        self
    }

    /// Limits on what each item may take of the machine, as
    /// [`TaskBuilder::limits`](crate::TaskBuilder::limits) of a task. Each has its own CPU time and
    /// its own memory to add. An item that goes beyond a limit fails alone. A limit that cannot be
    /// set for a task is the error of every item. Default: none.
    ///
    /// ```
    /// # fn parse(page: String) -> usize { page.len() }
    /// # fn example(pool: procpool::ProcessPoolExecutor, pages: Vec<String>) {
    /// use procpool::ResourceLimits;
    ///
    /// let parsed = pool.map(parse, pages).limits(ResourceLimits::new().memory(64 << 20));
    /// # drop(parsed);
    /// # }
    /// ```
    pub fn limits(mut self, limits: impl Into<Option<ResourceLimits>>) -> Self {
        self.flow.set_resource_limits(limits.into());
        self
    }

    /// Whether the items that run are [aborted](crate::TaskHandle::abort) when the stream is
    /// dropped. Default: yes, so a reader who goes away takes no worker with it, whatever the items
    /// do. Those that end within some milliseconds cost no worker.
    ///
    /// With `false` they are left to finish, which spares workers that take long to start. Items
    /// that have not begun are cancelled in any case.
    pub fn abort_on_drop(mut self, abort: bool) -> Self {
        self.flow.set_abort_on_drop(abort);
        self
    }

    /// Limits the time that the whole stream may take. The time counts from now, on the clock of
    /// the runtime.
    ///
    /// When it is up no more inputs are taken, what has not begun is cancelled, and what runs is
    /// [aborted](crate::TaskHandle::abort). Then each input that was taken still has an item: its
    /// result, if it has finished, or an error with [`is_deadline`](TaskError::is_deadline). If
    /// all of them have finished and there may be more inputs, one such error is the last item.
    /// Default: no limit. [`timeout`](Self::timeout) is for each item.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    #[track_caller]
    pub fn within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.flow.set_limit(limit.into());
        self
    }
}

// Nothing in it is pinned.
impl<R, S, I> Unpin for Map<R, S, I> {}

impl<R, S> Stream for Map<R, S, Unindexed>
where
    R: DeserializeOwned,
    S: Stream<Item: Serialize> + Unpin,
{
    type Item = Result<R, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flow.poll_next(cx).map(|item| item.map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.flow.size_hint()
    }
}

impl<R, S> Stream for Map<R, S, Indexed>
where
    R: DeserializeOwned,
    S: Stream<Item: Serialize> + Unpin,
{
    type Item = (usize, Result<R, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flow.poll_next(cx).map(|item| {
            item.map(|(number, result)| (usize::try_from(number).unwrap_or(usize::MAX), result))
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.flow.size_hint()
    }
}

impl<R, S, I> fmt::Debug for Map<R, S, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("flow", &self.flow).finish_non_exhaustive()
    }
}
