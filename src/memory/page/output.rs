//! Which task has printed what.
//!
//! What a worker prints goes through a pipe, which its parent reads later, when other tasks may
//! run. So the worker says in the page from which byte on a task prints. It does not count what is
//! printed, as any code may do that, but asks how much of it has not been read yet; and not before
//! each task, but only if the one before it took long enough to have printed anything:
//!
//! ```text
//! worker, before a task                            parent
//! how much was read, and is it reading? ◀───────── says so before and after each read
//! how much is in the pipe?
//! was anything read meanwhile? then once more
//! ```
//!
//! The sum is the place from which on the task prints. Who printed before it is put into a ring, in
//! which the parent finds it if it reads late.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::base::TaskId;
use crate::memory::page::layout::{OUTPUT, OUTPUT_WORDS, PRINTED};
use crate::sys::memory::SharedPage;

/// With the number of a task: or one of the items behind it in the same chunk.
const ITEMS: u64 = 1 << 63;
/// Where the worker could not find out how much was printed.
const UNKNOWN: u64 = u64::MAX;

/// The parts of the page.
struct OutputParts<'a> {
    /// Twice what the parent has read, and one more while it reads.
    read: &'a AtomicU64,
    /// Who prints now; zero is nobody, or somebody else in a moment.
    printer: &'a AtomicU64,
    /// From where on.
    place: &'a AtomicU64,
    /// How many have printed.
    count: &'a AtomicU64,
    /// Each with the place where it ended.
    ring: &'a [AtomicU64],
}

impl OutputParts<'_> {
    /// Where in the ring it is.
    fn entry(&self, number: u64) -> [&AtomicU64; 2] {
        const ROOM: u64 = PRINTED as u64;
        let entry = usize::try_from(number % ROOM).unwrap_or_default();
        [&self.ring[2 * entry], &self.ring[2 * entry + 1]]
    }

    fn put(&self, printer: u64, until: u64) {
        let count = self.count.load(Ordering::Relaxed);
        let [who, place] = self.entry(count);
        fence(Ordering::Release); // what is written over is seen after the count of those before
        who.store(printer, Ordering::Relaxed);
        place.store(until, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Release);
    }
}

fn parts(page: &SharedPage) -> OutputParts<'_> {
    let words = &page.words()[OUTPUT..OUTPUT + OUTPUT_WORDS];
    let (first, ring) = words.split_at(4);
    OutputParts { read: &first[0], printer: &first[1], place: &first[2], count: &first[3], ring }
}

/// Whom output is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Printer {
    first: TaskId,
    /// Or it is one of the items behind it in its chunk.
    is_chunk: bool,
}

impl Printer {
    fn from_word(word: u64) -> Option<Self> {
        let first = TaskId(word & !ITEMS);
        (first.0 != 0).then_some(Self { first, is_chunk: word & ITEMS != 0 })
    }

    fn word(self) -> u64 {
        self.first.0 | if self.is_chunk { ITEMS } else { 0 }
    }

    /// A task, or an item of which it is known.
    pub(crate) fn task(task: TaskId) -> Self {
        Self { first: task, is_chunk: false }
    }

    /// Items that are too quick to be told apart, from this one on.
    pub(crate) fn chunk(first: TaskId) -> Self {
        Self { first, is_chunk: true }
    }

    /// The task, if it is known which of them.
    pub(crate) fn exact(self) -> Option<TaskId> {
        (!self.is_chunk).then_some(self.first)
    }

    /// Which it may be.
    pub(crate) fn tasks(self) -> RangeInclusive<TaskId> {
        self.first..=if self.is_chunk { TaskId(u64::MAX) } else { self.first }
    }
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct OutputMarks {
    page: &'static SharedPage,
    /// Where the last one that was looked at began.
    place: u64,
    printer: u64,
}

impl OutputMarks {
    pub(crate) fn new(page: &'static SharedPage) -> Self {
        Self { page, place: 0, printer: 0 }
    }

    /// Says that a task prints from here on.
    #[inline]
    pub(crate) fn begin(&mut self, printer: Printer) {
        let parts = parts(self.page);
        self.printer = printer.word();
        parts.printer.store(0, Ordering::Relaxed);
        parts.place.store(self.place, Ordering::Release);
        parts.printer.store(self.printer, Ordering::Release);
    }

    /// To be called before that if something may have been printed since the last time, with what
    /// tells how many bytes nobody has read yet. Returns whether something was.
    pub(crate) fn look(&mut self, unread: impl Fn() -> Option<u64>) -> bool {
        let parts = parts(self.page);
        let place = printed(parts.read, unread).unwrap_or(UNKNOWN);
        let has_printed = place != self.place;
        if has_printed && place != UNKNOWN {
            let printer = if self.place == UNKNOWN { 0 } else { self.printer };
            parts.put(printer, place);
        }
        self.place = place;
        has_printed
    }
}

/// How much was printed so far. `None` if the parent reads all the time, or nobody can tell.
fn printed(read: &AtomicU64, unread: impl Fn() -> Option<u64>) -> Option<u64> {
    const TRIES: u32 = 1000;
    for _ in 0..TRIES {
        let before = read.load(Ordering::SeqCst);
        let unread = unread()?;
        fence(Ordering::SeqCst);
        if before.is_multiple_of(2) && read.load(Ordering::SeqCst) == before {
            return Some(before / 2 + unread);
        }
        std::hint::spin_loop();
    }
    None
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct OutputMeter {
    page: Arc<SharedPage>,
    read: u64,
}

impl OutputMeter {
    pub(crate) fn new(page: Arc<SharedPage>) -> Self {
        Self { page, read: 0 }
    }

    /// To be called before anything is read.
    pub(crate) fn begin_reading(&self) {
        parts(&self.page).read.store(2 * self.read + 1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// So much was read.
    pub(crate) fn end_reading(&mut self, count: usize) {
        fence(Ordering::SeqCst);
        self.read += count as u64;
        parts(&self.page).read.store(2 * self.read, Ordering::SeqCst);
    }

    /// Who prints now, and how many of the bytes that were read last are its own. Of one that has
    /// died this is the whole truth.
    pub(crate) fn last(&self) -> Option<(Printer, usize)> {
        let (printer, place) = self.current()?;
        Some((printer, usize::try_from(self.read.checked_sub(place)?).ok()?))
    }

    fn current(&self) -> Option<(Printer, u64)> {
        let parts = parts(&self.page);
        let before = parts.printer.load(Ordering::Acquire);
        let place = parts.place.load(Ordering::Acquire);
        let is_same = parts.printer.load(Ordering::Acquire) == before;
        Printer::from_word(before).filter(|_| is_same && place != UNKNOWN).map(|who| (who, place))
    }

    /// From whom the bytes are that were read last, in order; `None` of which that is not known.
    pub(crate) fn whose(&self, count: usize) -> Vec<(usize, Option<Printer>)> {
        let mut pieces =
            Pieces { place: self.read - count as u64, end: self.read, cut: Vec::new() };
        let current = self.current(); // before the others: what they have not printed is its own
        for (from, until, printer) in self.ring() {
            pieces.cut(from, None);
            pieces.cut(until, printer);
        }
        if let Some((printer, from)) = current {
            pieces.cut(from, None);
            pieces.cut(self.read, Some(printer));
        }
        pieces.cut(self.read, None);
        pieces.cut
    }

    /// Those that have printed: from where on, up to where, who.
    fn ring(&self) -> Vec<(u64, u64, Option<Printer>)> {
        const ROOM: u64 = PRINTED as u64;
        let parts = parts(&self.page);
        let count = parts.count.load(Ordering::Acquire);
        let read = |number| {
            let [who, place] = parts.entry(number).map(|word| word.load(Ordering::Relaxed));
            (number, place, Printer::from_word(who))
        };
        let entries: Vec<_> = (count.saturating_sub(ROOM)..count).map(read).collect();
        fence(Ordering::Acquire);
        // Without what may have been written over meanwhile, or is just being.
        let count = parts.count.load(Ordering::Acquire);
        let is_kept = |number| count.saturating_sub(number) < ROOM;
        // Where the first one began is where the one before it ended, which is lost.
        let mut from = (count < ROOM).then_some(0);
        let kept = entries.into_iter().filter(|(number, ..)| is_kept(*number));
        let known = kept.filter_map(|(_, until, printer)| {
            from.replace(until).map(|from| (from, until, printer))
        });
        known.collect()
    }
}

/// What was read, as far as it is cut.
struct Pieces {
    place: u64,
    end: u64,
    cut: Vec<(usize, Option<Printer>)>,
}

impl Pieces {
    /// All up to there is that one's.
    fn cut(&mut self, until: u64, printer: Option<Printer>) {
        let length = until.min(self.end).saturating_sub(self.place);
        if let Ok(bytes @ 1..) = usize::try_from(length) {
            self.cut.push((bytes, printer));
            self.place += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::sys::memory::SharedPageRef;

    /// A worker and its parent, with a pipe between them that only counts.
    struct Both {
        marks: OutputMarks,
        meter: OutputMeter,
        in_pipe: Cell<u64>,
    }

    impl Both {
        fn new() -> Self {
            let (page, file) = SharedPage::create().unwrap();
            let other = SharedPage::open(SharedPageRef::new(&page, &file).unwrap()).unwrap();
            let (marks, meter) =
                (OutputMarks::new(Box::leak(Box::new(other))), OutputMeter::new(Arc::new(page)));
            Self { marks, meter, in_pipe: Cell::new(0) }
        }

        fn begin(&mut self, printer: Printer) -> bool {
            let has_printed = self.marks.look(|| Some(self.in_pipe.get()));
            self.marks.begin(printer);
            has_printed
        }

        fn task(&mut self, number: u64) -> bool {
            self.begin(Printer::task(TaskId(number)))
        }

        fn print(&self, count: u64) {
            self.in_pipe.set(self.in_pipe.get() + count);
        }

        /// Whose is what is read now.
        fn read(&mut self) -> Vec<(usize, Option<u64>)> {
            let count = usize::try_from(self.in_pipe.take()).unwrap();
            self.meter.begin_reading();
            self.meter.end_reading(count);
            let pieces = self.meter.whose(count).into_iter();
            pieces.map(|(length, printer)| (length, printer.map(|who| who.first.0))).collect()
        }
    }

    #[test]
    fn each_byte_is_of_the_task_that_has_printed_it() {
        let mut both = Both::new();
        both.print(5);
        both.task(1);
        both.print(10);
        assert_eq!(both.read(), [(5, None), (10, Some(1))]);
        both.print(1);
        assert!(both.task(2) && !both.task(3));
        both.print(7);
        assert_eq!(both.meter.last(), None, "what was printed before it was not read");
        assert_eq!(both.read(), [(1, Some(1)), (7, Some(3))]);
        assert_eq!(both.meter.last(), Some((Printer::task(TaskId(3)), 7)));
        both.task(4);
        assert_eq!(both.meter.last(), Some((Printer::task(TaskId(4)), 0)));
        assert_eq!(both.read(), []);
    }

    #[test]
    fn of_many_tasks_the_last_ones_are_known() {
        const UNKNOWN: usize = 5;
        let mut both = Both::new();
        for number in 1..PRINTED + UNKNOWN {
            both.task(number as u64);
            both.print(number as u64);
        }
        let pieces = both.read();
        assert_eq!(pieces[0], ((1..=UNKNOWN).sum(), None));
        // Of the oldest one in the ring it is not known where it began.
        let known = (UNKNOWN + 1..PRINTED + UNKNOWN).map(|number| (number, Some(number as u64)));
        assert_eq!(pieces[1..], known.collect::<Vec<_>>());
    }

    #[test]
    fn items_of_a_chunk_are_told_from_others() {
        let mut both = Both::new();
        both.begin(Printer::chunk(TaskId(10)));
        both.print(3);
        both.read();
        let (printer, own) = both.meter.last().unwrap();
        assert_eq!((printer.exact(), own), (None, 3));
        let are = [9, 10, 11].map(|task| printer.tasks().contains(&TaskId(task)));
        assert_eq!(are, [false, true, true]);
    }

    #[test]
    fn while_the_parent_reads_nobody_counts() {
        let mut both = Both::new();
        both.task(1);
        both.print(3);
        both.meter.begin_reading();
        both.task(2);
        both.in_pipe.set(0);
        both.meter.end_reading(3);
        assert_eq!(both.meter.last(), None);
        assert_eq!(both.meter.whose(3), [(3, None)]);
        // Who comes after that is known again.
        both.print(4);
        both.task(3);
        both.print(5);
        assert_eq!(both.read(), [(4, None), (5, Some(3))]);
    }

    #[test]
    fn whatever_a_worker_writes_there_each_byte_is_somebodys() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match seed >> 61 {
                0 => u64::MAX - (seed >> 40) % 3,
                1 => seed,
                _ => (seed >> 40) % 1000,
            }
        };
        let mut both = Both::new();
        for _ in 0..10_000 {
            let count = usize::try_from(random() % 1000).unwrap();
            both.meter.end_reading(count);
            for word in &both.meter.page.words()[OUTPUT + 1..OUTPUT + OUTPUT_WORDS] {
                word.store(random(), Ordering::Relaxed);
            }
            let pieces = both.meter.whose(count);
            assert_eq!(pieces.iter().map(|(length, _)| length).sum::<usize>(), count);
            assert!(both.meter.last().is_none_or(|(_, length)| length as u64 <= both.meter.read));
        }
    }
}
