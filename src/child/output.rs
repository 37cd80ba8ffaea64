//! The worker says which of its tasks prints.

use std::time::{Duration, Instant};

use crate::base::TaskId;
use crate::memory::page::{OutputMarks, Printer, is_numbered};
use crate::sys::memory::SharedPage;
use crate::sys::pipe::OwnOutput;

/// The most that [`TaskOutput::quick`] is taken for.
const QUICK: Duration = Duration::from_nanos(200);
/// Items that take longer are looked at one by one.
const SLOW_ITEM: Duration = Duration::from_micros(1);

/// The best of a few tries.
fn time_to_look(pipe: &OwnOutput) -> Duration {
    const TRIES: usize = 5;
    let times = std::iter::repeat_with(|| {
        let began = Instant::now();
        pipe.unread();
        began.elapsed()
    });
    times.take(TRIES).fold(QUICK, Duration::min)
}

/// What is known of what this worker has printed.
pub(super) struct TaskOutput {
    /// Where it is said, and how it is found out; if both are to be had.
    means: Option<(OutputMarks, OwnOutput)>,
    /// How long it takes to find it out. A write to a pipe takes longer, as it does the same and
    /// more; so whoever took less has printed nothing.
    quick: Duration,
    /// Something may have been printed since it was looked at last.
    is_stale: bool,
    /// The items of the last chunk took long enough to be told apart.
    is_slow: bool,
    /// Those of this chunk are told apart, as it is so, or as they print.
    by_item: bool,
}

impl TaskOutput {
    pub(super) fn new(page: Option<&'static SharedPage>) -> Self {
        // On another host nobody looks at the marks.
        let page = page.filter(|page| !is_numbered(page));
        let means = page.map(OutputMarks::new).zip(OwnOutput::of_process().ok());
        let quick = means.as_ref().map_or(QUICK, |(_, pipe)| time_to_look(pipe));
        Self { means, quick, is_stale: true, is_slow: false, by_item: false }
    }

    #[inline]
    pub(super) fn begin_task(&mut self, task: TaskId) {
        self.begin(Printer::task(task));
    }

    /// A task has taken so much time.
    #[inline]
    pub(super) fn end_task(&mut self, time: Duration) {
        self.is_stale = time >= self.quick;
    }

    /// Nothing was to be done for a while: a thread that a task has left behind may have printed.
    pub(super) fn rest(&mut self) {
        self.is_stale = true;
    }

    /// An item of a chunk begins.
    #[inline]
    pub(super) fn begin_item(&mut self, first: TaskId, item: u32) {
        if item == 0 {
            self.begin_chunk(first);
        } else if self.by_item {
            self.is_stale = true;
            self.begin(Printer::task(TaskId(first.0 + u64::from(item))));
        }
    }

    fn begin_chunk(&mut self, first: TaskId) {
        let has_printed = self.is_stale && self.look();
        self.by_item = has_printed || self.is_slow;
        self.begin(if self.by_item { Printer::task(first) } else { Printer::chunk(first) });
    }

    /// So many items have taken so much time.
    pub(super) fn end_chunk(&mut self, (items, time): (u32, Duration)) {
        self.is_slow = time >= SLOW_ITEM * items;
        self.is_stale = true;
    }

    #[inline]
    fn begin(&mut self, printer: Printer) {
        if self.is_stale {
            self.look();
        }
        if let Some((marks, _)) = &mut self.means {
            marks.begin(printer);
        }
    }

    fn look(&mut self) -> bool {
        self.is_stale = false;
        self.means.as_mut().is_some_and(|(marks, pipe)| marks.look(|| pipe.unread()))
    }
}
