//! How many tasks a pool accepts at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Who submits a task takes a place, and the supervisor gives it back. With a queue it does so as
/// soon as the task begins, so that the places bound the queue. Without one there is a place for
/// each worker, which a task has until it is over.
#[derive(Debug)]
pub(crate) struct TaskPlaces {
    free: Arc<Semaphore>,
    has_queue: bool,
}

impl TaskPlaces {
    /// Zero places in the queue are none of it.
    pub(super) fn new(queue_capacity: usize, max_workers: usize) -> Self {
        let has_queue = queue_capacity > 0;
        let places = if has_queue { queue_capacity } else { max_workers };
        Self { free: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))), has_queue }
    }

    /// Those that nobody has, one permit for each.
    pub(crate) fn free(&self) -> &Arc<Semaphore> {
        &self.free
    }

    /// Whether a task gives its place back when it begins.
    pub(super) fn are_in_queue(&self) -> bool {
        self.has_queue
    }
}

/// The places that the supervisor is about to give back.
#[derive(Debug, Default)]
pub(super) struct FreedPlaces {
    count: usize,
    /// So many are not given back, as there are fewer workers now.
    debt: usize,
}

impl FreedPlaces {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, is_one: bool) {
        self.count += usize::from(is_one);
    }

    /// There are other workers. Their number only counts where there is no queue.
    pub(super) fn resize(&mut self, places: &TaskPlaces, (from, to): (usize, usize)) {
        if !places.has_queue && !places.free.is_closed() {
            let [from, to] = [from, to].map(|workers| workers.min(Semaphore::MAX_PERMITS));
            self.count += to.saturating_sub(from);
            let fewer = from.saturating_sub(to);
            self.debt += fewer - places.free.forget_permits(fewer);
        }
    }

    pub(super) fn give_back(&mut self, places: &TaskPlaces) {
        let count = std::mem::take(&mut self.count);
        let owed = count.min(self.debt);
        self.debt -= owed;
        if count > owed {
            places.free.add_permits(count - owed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(places: &TaskPlaces) -> usize {
        places.free.available_permits()
    }

    #[test]
    fn without_a_queue_there_is_a_place_for_each_worker() {
        let (places, mut freed) = (TaskPlaces::new(0, 3), FreedPlaces::default());
        assert!(free(&places) == 3 && !places.are_in_queue());
        for _ in 0..2 {
            places.free.try_acquire().unwrap().forget();
        }
        // Of three workers only one is left, so of two tasks that end the first gives nothing back.
        freed.resize(&places, (3, 1));
        assert_eq!(free(&places), 0);
        freed.add(true);
        freed.give_back(&places);
        assert_eq!(free(&places), 0);
        freed.add(true);
        freed.give_back(&places);
        assert_eq!(free(&places), 1);
        freed.resize(&places, (1, 4));
        freed.give_back(&places);
        assert!(free(&places) == 4 && freed.is_empty());
    }

    #[test]
    fn places_that_are_owed_are_the_first_to_come_back() {
        let (places, mut freed) = (TaskPlaces::new(0, 2), FreedPlaces::default());
        for _ in 0..2 {
            places.free.try_acquire().unwrap().forget();
        }
        freed.resize(&places, (2, 1));
        freed.resize(&places, (1, 2));
        freed.give_back(&places);
        assert_eq!(free(&places), 0, "both workers are busy");
        (0..2).for_each(|_| freed.add(true));
        freed.give_back(&places);
        assert_eq!(free(&places), 2);
    }

    #[test]
    fn a_resize_makes_no_more_places_than_there_can_be() {
        let (places, mut freed) = (TaskPlaces::new(0, usize::MAX), FreedPlaces::default());
        freed.resize(&places, (usize::MAX, 4));
        freed.give_back(&places);
        assert_eq!(free(&places), 4);
        freed.resize(&places, (4, usize::MAX));
        freed.give_back(&places);
        assert_eq!(free(&places), Semaphore::MAX_PERMITS);
    }

    #[test]
    fn a_pool_that_accepts_nothing_more_needs_no_places() {
        let (places, mut freed) = (TaskPlaces::new(0, 2), FreedPlaces::default());
        places.free.close();
        freed.resize(&places, (2, 1));
        freed.give_back(&places);
        assert!(places.free.is_closed() && freed.debt == 0);
    }

    #[test]
    fn a_queue_has_the_places_that_it_was_given() {
        let (places, mut freed) = (TaskPlaces::new(7, 3), FreedPlaces::default());
        freed.resize(&places, (3, 1));
        freed.resize(&places, (1, 9));
        freed.give_back(&places);
        assert!(free(&places) == 7 && places.are_in_queue());
        assert_eq!(free(&TaskPlaces::new(usize::MAX, 1)), Semaphore::MAX_PERMITS);
    }
}
