//! How quick the tasks of late were, on all workers together.

use std::time::Duration;

/// In nanoseconds. About as long as it takes to wake a worker that sleeps. A task that waits that
/// long behind quick ones begins no later than one that is sent to such a worker, and costs much
/// less.
const BRIEF: u64 = 20_000;
/// The weight of a task in the mean is one in so many.
const WEIGHT: u64 = 32;

/// Says how many tasks are worth a worker. Trust grows with each brief task up to a row of them,
/// and a quarter of that is lost by any other one. It counts once it is full, and as long as half
/// of it is left: so one that only had to wait for a CPU is forgiven, but not several.
#[derive(Clone, Debug)]
pub(super) struct Tempo {
    /// So many brief tasks in a row are enough.
    row: u32,
    trust: u32,
    is_trusted: bool,
    /// Of the brief ones the mean running time, in nanoseconds, times [`WEIGHT`]. The later ones
    /// weigh more.
    sum: u64,
}

impl Tempo {
    pub(super) fn new(row: u32) -> Self {
        Self { row, trust: 0, is_trusted: false, sum: 0 }
    }

    /// A task has run so long, as its worker says.
    pub(super) fn record(&mut self, took: Duration) {
        match u64::try_from(took.as_nanos()) {
            Ok(took) if took <= BRIEF => {
                let is_first = self.sum == 0;
                self.sum =
                    if is_first { took * WEIGHT } else { self.sum - self.sum / WEIGHT + took };
                self.trust = self.row.min(self.trust + 1);
                self.is_trusted |= self.trust == self.row;
            }
            _ => self.doubt(),
        }
    }

    /// A task is not brief.
    pub(super) fn doubt(&mut self) {
        self.trust = self.trust.saturating_sub(self.row.div_ceil(4));
        self.is_trusted &= self.trust >= self.row / 2;
    }

    /// Whether the next tasks are most likely brief, too.
    pub(super) fn is_brief(&self) -> bool {
        self.is_trusted
    }

    /// So many tasks together are as good as brief, and may be in the hands of one worker while
    /// others are idle.
    pub(super) fn batch(&self) -> usize {
        if !self.is_trusted {
            return 1;
        }
        let fit = BRIEF * WEIGHT / self.sum.max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: u32 = 64;

    fn after(tasks: u32, each: Duration) -> Tempo {
        let mut tempo = Tempo::new(ROW);
        (0..tasks).for_each(|_| tempo.record(each));
        tempo
    }

    #[test]
    fn only_a_row_of_brief_tasks_is_trusted() {
        assert!(!after(ROW - 1, Duration::ZERO).is_brief());
        assert!(after(ROW, Duration::ZERO).is_brief());
        assert!(!after(1_000, Duration::from_micros(21)).is_brief());
        let mut mixed = Tempo::new(ROW);
        for n in 0..1_000 {
            mixed.record(if n % 16 == 0 { Duration::from_millis(1) } else { Duration::ZERO });
            assert!(!mixed.is_brief());
        }
    }

    #[test]
    fn as_many_are_worth_a_worker_as_are_brief_together() {
        assert_eq!(after(ROW - 1, Duration::from_micros(2)).batch(), 1);
        assert!((8..=10).contains(&after(1_000, Duration::from_micros(2)).batch()));
        assert_eq!(after(1_000, Duration::from_micros(20)).batch(), 1);
        assert!(after(1_000, Duration::ZERO).batch() > 1_000);
    }

    #[test]
    fn one_task_that_is_not_brief_is_forgiven_but_not_several() {
        let mut tempo = after(ROW, Duration::ZERO);
        tempo.record(Duration::MAX);
        tempo.doubt();
        assert!(tempo.is_brief());
        tempo.doubt();
        assert!(!tempo.is_brief() && tempo.batch() == 1);
        (0..ROW / 2).for_each(|_| tempo.record(Duration::ZERO));
        assert!(!tempo.is_brief(), "it takes all of the trust to begin again");
        (0..ROW / 4).for_each(|_| tempo.record(Duration::ZERO));
        assert!(tempo.is_brief());
    }

    #[test]
    fn tasks_that_become_slower_are_noticed_soon() {
        let mut tempo = after(1_000, Duration::from_nanos(100));
        for _ in 0..WEIGHT {
            tempo.record(Duration::from_micros(10));
        }
        assert!(tempo.batch() < 4, "{tempo:?}");
    }
}
