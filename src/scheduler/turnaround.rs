//! How long a task is under way to a worker that is far away, and its result back.

use std::time::Duration;

/// No way is longer, and so long are tasks not sent ahead for.
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// By one in so many of it a way is taken for longer that was not found to be as short again.
const SLACK: u32 = 16;

/// Only a task that has its worker for itself tells it: what it took, less what it has run for. The
/// shortest of late counts, as one with large arguments takes longer, and one that comes while the
/// machine is busy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turnaround {
    time: Option<Duration>,
    /// The front task was sent while there was no other one.
    is_alone: bool,
}

impl Turnaround {
    pub(super) fn get(&self) -> Duration {
        self.time.unwrap_or_default()
    }

    /// A task was sent to a worker that had none.
    pub(super) fn sent_alone(&mut self) {
        self.is_alone = true;
    }

    /// The front task is another one, which was sent behind it.
    pub(super) fn head_dropped(&mut self) {
        self.is_alone = false;
    }

    /// The front task has a result, and that took so much longer than it ran.
    pub(super) fn task_finished(&mut self, longer: Duration) {
        if self.is_alone {
            let most = self.time.map_or(LONGEST, |time| time.saturating_add(time / SLACK));
            self.time = Some(longer.min(most).min(LONGEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_tasks_that_are_alone_tell_and_the_shortest_counts() {
        let mut way = Turnaround::default();
        way.task_finished(MS);
        assert_eq!(way.get(), Duration::ZERO);
        way.sent_alone();
        way.task_finished(16 * MS);
        assert_eq!(way.get(), 16 * MS);
        way.head_dropped();
        way.task_finished(MS);
        assert_eq!(way.get(), 16 * MS);
        way.sent_alone();
        way.task_finished(MS);
        assert_eq!(way.get(), MS);
    }

    #[test]
    fn a_way_that_has_become_longer_is_believed_slowly_and_not_without_limit() {
        let mut way = Turnaround::default();
        way.sent_alone();
        way.task_finished(16 * MS);
        way.task_finished(Duration::MAX);
        assert_eq!(way.get(), 17 * MS);
        (0..1_000).for_each(|_| way.task_finished(Duration::MAX));
        assert_eq!(way.get(), LONGEST);
    }
}
