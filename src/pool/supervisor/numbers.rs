//! The numbers of what was sent to a worker on another host.

use std::collections::VecDeque;

use crate::base::TaskId;
use crate::wire::far::StoppedChunk;
use crate::wire::message::Slot;

/// The numbers under which tasks were sent to one worker.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) next: u32,
    /// Of the tasks in its hands, in order, and of some that are not any more.
    sent: VecDeque<(TaskId, u32)>,
    /// A chunk that its agent has stopped, and that is not the front task yet: the replies of those
    /// before it are on their way.
    pub(super) stopped: Option<StoppedChunk>,
}

impl Numbers {
    /// A task is sent, behind others of which `front` is the first one.
    pub(super) fn send(&mut self, task: TaskId, front: Option<TaskId>) -> Slot {
        while self.sent.front().is_some_and(|(sent, _)| Some(*sent) != front) {
            self.sent.pop_front();
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.sent.push_back((task, number));
        Slot::numbered(number)
    }

    /// The last one that a task has.
    pub(super) fn of(&self, task: TaskId) -> Option<u32> {
        self.sent.iter().rev().find(|(sent, _)| *sent == task).map(|(_, number)| *number)
    }

    /// All from that number on have been taken back.
    pub(super) fn taken_back(&mut self, from: u32) {
        while self.sent.back().is_some_and(|(_, number)| is_from(*number, from)) {
            self.sent.pop_back();
        }
    }
}

/// Whether a number is that one or a later one. They begin anew some day.
pub(super) fn is_from(number: u32, from: u32) -> bool {
    number.wrapping_sub(from) <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_their_last_numbers() {
        let mut numbers = Numbers::default();
        let [a, b, c] = [1, 2, 3].map(TaskId);
        assert_eq!(numbers.send(a, Some(a)), Slot::numbered(0));
        assert_eq!(numbers.send(b, Some(a)), Slot::numbered(1));
        numbers.taken_back(1);
        assert_eq!(numbers.of(b), None);
        assert_eq!(numbers.send(c, Some(a)), Slot::numbered(2));
        assert_eq!(numbers.send(b, Some(a)), Slot::numbered(3));
        assert_eq!([a, b, c].map(|task| numbers.of(task)), [Some(0), Some(3), Some(2)]);
        numbers.send(a, Some(b)); // once more, after its result
        assert_eq!([a, b, c].map(|task| numbers.of(task)), [Some(4), Some(3), None]);
    }

    #[test]
    fn numbers_begin_anew() {
        let mut numbers = Numbers { next: u32::MAX, ..Numbers::default() };
        let [a, b] = [1, 2].map(TaskId);
        numbers.send(a, Some(a));
        numbers.send(b, Some(a));
        assert_eq!([a, b].map(|task| numbers.of(task)), [Some(u32::MAX), Some(0)]);
        assert!(is_from(0, u32::MAX) && !is_from(u32::MAX, 0));
        numbers.taken_back(0);
        assert_eq!([a, b].map(|task| numbers.of(task)), [Some(u32::MAX), None]);
    }
}
