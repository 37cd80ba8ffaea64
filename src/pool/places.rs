//! How many tasks a pool accepts at a time.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::pool::task::{TaskCell, TaskPlace};

/// Who submits a task takes a place, and the supervisor gives it back. With a queue it does so as
/// soon as the task begins, so that the places bound the queue. Without one there is a place for
/// each worker, which a task has until it is over.
#[derive(Debug)]
pub(crate) struct TaskPlaces {
    free: Arc<Semaphore>,
    has_queue: bool,
    bytes: Option<QueueBytes>,
}

/// How many bytes of arguments may wait.
#[derive(Debug)]
struct QueueBytes {
    /// One permit for each [`UNIT`].
    free: Arc<Semaphore>,
    units: u32,
    /// As it was asked for.
    limit: usize,
}

/// Bytes are counted in these, as one acquisition can only ask for a `u32`. What a task takes
/// beside its arguments does not count: the number of places bounds that.
const UNIT: usize = 64;

/// Why a task has no place now.
#[derive(Debug)]
pub(super) enum NoPlace {
    Closed,
    OfTasks,
    OfBytes { limit: usize },
}

impl QueueBytes {
    fn new(limit: usize) -> Self {
        let units = u32::try_from(limit.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Self { free: Arc::new(Semaphore::new(units as usize)), units, limit }
    }

    /// What is larger than all of it has to wait until nothing else waits.
    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }

    fn free(&self) -> Arc<Semaphore> {
        Arc::clone(&self.free)
    }
}

impl TaskPlaces {
    /// Zero places in the queue are none of it.
    pub(super) fn new(queue_capacity: usize, bytes: Option<usize>, max_workers: usize) -> Self {
        let has_queue = queue_capacity > 0;
        let places = if has_queue { queue_capacity } else { max_workers };
        let free = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self { free, has_queue, bytes: bytes.map(QueueBytes::new) }
    }

    /// Takes a place for a task whose arguments take so many bytes.
    pub(super) fn try_take(&self, bytes: usize) -> Result<TaskPlace, NoPlace> {
        let no_place = |error, full| match error {
            TryAcquireError::Closed => NoPlace::Closed,
            TryAcquireError::NoPermits => full,
        };
        let bytes = self.bytes.as_ref().map(|of_all| {
            let permits = of_all.free().try_acquire_many_owned(of_all.units(bytes));
            permits.map_err(|error| no_place(error, NoPlace::OfBytes { limit: of_all.limit }))
        });
        let bytes = bytes.transpose()?;
        let place = self.free.try_acquire();
        place.map_err(|error| no_place(error, NoPlace::OfTasks))?.forget();
        Ok(TaskPlace(bytes))
    }

    /// As [`try_take`](Self::try_take), but waits. Bytes come first, so who waits for them has no
    /// place that a map could use. A place is not kept across a wait: it would come back past
    /// [`FreedPlaces`], which may owe it.
    pub(super) async fn take(&self, bytes: usize) -> Result<TaskPlace, AcquireError> {
        let bytes = match &self.bytes {
            Some(of_all) => Some(of_all.free().acquire_many_owned(of_all.units(bytes)).await?),
            None => None,
        };
        self.free.acquire().await?.forget();
        Ok(TaskPlace(bytes))
    }

    /// Nobody gets one any more.
    pub(super) fn close(&self) {
        self.free.close();
        if let Some(bytes) = &self.bytes {
            bytes.free.close();
        }
    }

    /// Those that nobody has, one permit for each.
    pub(crate) fn free(&self) -> &Arc<Semaphore> {
        &self.free
    }

    /// Nearly so many bytes wait, if they are counted.
    #[cfg(test)]
    pub(crate) fn taken_bytes(&self) -> usize {
        let taken = |of_all: &QueueBytes| of_all.units as usize - of_all.free.available_permits();
        self.bytes.as_ref().map_or(0, taken) * UNIT
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
    /// What tasks had of the bytes that may wait.
    bytes: Option<OwnedSemaphorePermit>,
}

impl FreedPlaces {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.bytes.is_none()
    }

    pub(super) fn add(&mut self, is_one: bool) {
        self.count += usize::from(is_one);
    }

    /// What a task that waits no more had of the bytes, if these are counted.
    pub(super) fn add_bytes(&mut self, places: &TaskPlaces, cell: &TaskCell) {
        let counted = places.bytes.as_ref().and_then(|_| cell.take_bytes());
        let Some(bytes) = counted else { return };
        match &mut self.bytes {
            Some(freed) => freed.merge(bytes),
            none => *none = Some(bytes),
        }
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
        self.bytes = None; // which gives them back
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
        let (places, mut freed) = (TaskPlaces::new(0, None, 3), FreedPlaces::default());
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
        let (places, mut freed) = (TaskPlaces::new(0, None, 2), FreedPlaces::default());
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
        let (places, mut freed) = (TaskPlaces::new(0, None, usize::MAX), FreedPlaces::default());
        freed.resize(&places, (usize::MAX, 4));
        freed.give_back(&places);
        assert_eq!(free(&places), 4);
        freed.resize(&places, (4, usize::MAX));
        freed.give_back(&places);
        assert_eq!(free(&places), Semaphore::MAX_PERMITS);
    }

    #[test]
    fn a_pool_that_accepts_nothing_more_needs_no_places() {
        let (places, mut freed) = (TaskPlaces::new(0, None, 2), FreedPlaces::default());
        places.free.close();
        freed.resize(&places, (2, 1));
        freed.give_back(&places);
        assert!(places.free.is_closed() && freed.debt == 0);
    }

    #[test]
    fn a_queue_has_the_places_that_it_was_given() {
        let (places, mut freed) = (TaskPlaces::new(7, None, 3), FreedPlaces::default());
        freed.resize(&places, (3, 1));
        freed.resize(&places, (1, 9));
        freed.give_back(&places);
        assert!(free(&places) == 7 && places.are_in_queue());
        assert_eq!(free(&TaskPlaces::new(usize::MAX, None, 1)), Semaphore::MAX_PERMITS);
    }

    fn of_bytes(limit: usize) -> TaskPlaces {
        TaskPlaces::new(100, Some(limit), 1)
    }

    #[test]
    fn bytes_are_counted_in_units_and_come_back_when_their_place_is_dropped() {
        let places = of_bytes(4 * UNIT);
        let small = places.try_take(0).unwrap();
        let large = places.try_take(2 * UNIT + 1).unwrap();
        assert_eq!(places.taken_bytes(), 4 * UNIT);
        assert!(matches!(places.try_take(1), Err(NoPlace::OfBytes { .. })));
        assert_eq!(free(&places), 98, "who has no bytes takes no place");
        drop(small);
        let small = places.try_take(UNIT).unwrap();
        drop((small, large));
        assert_eq!(places.taken_bytes(), 0);
    }

    #[test]
    fn what_is_larger_than_the_limit_has_a_place_when_nothing_else_has() {
        for limit in [1, UNIT, usize::MAX] {
            let places = of_bytes(limit);
            let all = places.try_take(usize::MAX).unwrap();
            assert!(matches!(places.try_take(0), Err(NoPlace::OfBytes { .. })));
            drop(all);
            let small = places.try_take(0).unwrap();
            assert!(matches!(places.try_take(usize::MAX), Err(NoPlace::OfBytes { .. })));
            drop(small);
        }
    }

    #[tokio::test]
    async fn who_waits_for_bytes_has_no_place_that_a_map_could_use() {
        let places = TaskPlaces::new(2, Some(UNIT), 1);
        let first = places.try_take(UNIT).unwrap();
        let mut next = std::pin::pin!(places.take(UNIT));
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(free(&places), 1);
        drop(first);
        drop(next.await.unwrap());
    }

    #[tokio::test]
    async fn who_waits_for_bytes_is_the_next_to_have_them() {
        let places = of_bytes(2 * UNIT);
        let first = places.try_take(UNIT).unwrap();
        let mut large = std::pin::pin!(places.take(2 * UNIT));
        assert!(futures::poll!(&mut large).is_pending());
        assert!(
            matches!(places.try_take(UNIT), Err(NoPlace::OfBytes { .. })),
            "the other one was first"
        );
        drop(first);
        assert_eq!(large.await.unwrap().0.unwrap().num_permits(), 2);
        assert_eq!(free(&places), 98);
    }

    #[tokio::test]
    async fn nobody_waits_for_places_that_are_closed() {
        let places = of_bytes(1);
        let first = places.try_take(1).unwrap();
        let mut next = std::pin::pin!(places.take(1));
        assert!(futures::poll!(&mut next).is_pending());
        places.close();
        assert!(next.await.is_err() && matches!(places.try_take(1), Err(NoPlace::Closed)));
        drop(first);
    }
}
