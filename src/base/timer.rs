//! Waiting on the real clock, which no runtime pauses, and which does not follow the time of day.
//!
//! One thread wakes all who wait. It is started when somebody first waits; while the system has no
//! thread to give, who waits looks at the clock again and again instead, so nothing stops.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Condvar;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::{Either, select};

use super::sync::{Mutex, start_thread, wait};

static TIMER: Timer = Timer { alarms: Mutex::new(Alarms::new()), earlier: Condvar::new() };

struct Timer {
    alarms: Mutex<Alarms>,
    /// The first alarm is another one.
    earlier: Condvar,
}

struct Alarms {
    /// Ordered by time; the number tells those apart that are for the same moment.
    wakers: BTreeMap<AlarmKey, Waker>,
    next: u64,
    has_thread: bool,
}

type AlarmKey = (Instant, u64);

impl Alarms {
    const fn new() -> Self {
        Self { wakers: BTreeMap::new(), next: 0, has_thread: false }
    }

    fn first(&self) -> Option<Instant> {
        self.wakers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Those who have waited long enough.
    fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.wakers.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }
}

impl Timer {
    /// Sets or changes an alarm; an error says that nobody would wake.
    fn set(&'static self, at: Instant, number: &mut Option<u64>, waker: &Waker) -> io::Result<()> {
        let waker = waker.clone();
        let mut alarms = self.alarms.lock();
        if !alarms.has_thread {
            start_thread("procpool-timer", None, || self.run())?;
            alarms.has_thread = true;
        }
        let next = &mut alarms.next;
        let number = *number.get_or_insert_with(|| {
            *next += 1;
            *next
        });
        let last = alarms.wakers.insert((at, number), waker);
        if alarms.wakers.first_key_value().is_some_and(|(first, _)| *first == (at, number)) {
            self.earlier.notify_one();
        }
        drop(alarms);
        drop(last); // not under the lock: it may be the last reference to a task
        Ok(())
    }

    fn remove(&self, key: AlarmKey) {
        let removed = self.alarms.lock().wakers.remove(&key);
        drop(removed); // not under the lock
    }

    fn run(&self) {
        let mut alarms = self.alarms.lock();
        loop {
            let due = alarms.take_due(Instant::now());
            if !due.is_empty() {
                drop(alarms);
                for waker in due {
                    // It is for all, so nobody's panic may end it.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                alarms = self.alarms.lock();
                continue;
            }
            let left = alarms.first().map(|at| at.saturating_duration_since(Instant::now()));
            alarms = wait(&self.earlier, alarms, left);
        }
    }
}

/// Ready when the time is over.
#[derive(Debug)]
#[must_use = "it does nothing unless it is awaited"]
pub(crate) struct Delay {
    /// `None`: never, or not in the time that a clock can tell.
    at: Option<Instant>,
    /// Of its alarm, once there is one.
    number: Option<u64>,
    /// Who is woken by it.
    waker: Option<Waker>,
}

impl Delay {
    pub(crate) fn new(time: Duration) -> Self {
        Self { at: Instant::now().checked_add(time), number: None, waker: None }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        match TIMER.set(at, &mut self.number, cx.waker()) {
            Ok(()) => self.waker = Some(cx.waker().clone()),
            Err(_) => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let (Some(at), Some(number)) = (self.at, self.number) {
            TIMER.remove((at, number));
        }
    }
}

/// The output of a future, if it is ready in time; by the real clock, as other processes live in
/// real time.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match select(pin!(future), Delay::new(limit)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use futures::future::{join_all, select};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn it_is_over_when_the_time_is_and_not_before() {
        let began = Instant::now();
        Delay::new(MOMENT).await;
        assert!(began.elapsed() >= MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_follow_a_clock_that_a_test_has_paused() {
        let (real, tokio) = (Instant::now(), tokio::time::Instant::now());
        Delay::new(MOMENT).await;
        assert!(real.elapsed() >= MOMENT && tokio.elapsed().is_zero());
    }

    #[tokio::test]
    async fn an_earlier_one_does_not_wait_for_a_later_one() {
        let late = Delay::new(Duration::from_secs(1000));
        let (first, late) = select(late, Box::pin(Delay::new(MOMENT))).await.factor_first();
        drop((first, late));
        let mut many: Vec<_> = (0..100).map(|n| Delay::new(MOMENT * (100 - n) / 50)).collect();
        drop(many.split_off(90));
        join_all(many).await;
    }

    #[tokio::test]
    async fn longer_than_any_clock_can_tell_is_never() {
        let never = Delay::new(Duration::MAX);
        select(never, Delay::new(MOMENT)).await;
    }

    #[test]
    fn nothing_is_kept_of_one_that_was_dropped() {
        struct Task;
        impl Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let task = Arc::new(Task);
        let waker = Waker::from(Arc::clone(&task));
        let mut delay = Delay::new(Duration::from_secs(1000));
        for _ in 0..3 {
            assert!(Pin::new(&mut delay).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop((delay, waker));
        assert_eq!(Arc::strong_count(&task), 1);
    }

    #[tokio::test]
    async fn a_waker_that_panics_hurts_nobody_else() {
        struct Panics(std::sync::mpsc::Sender<()>);
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                self.0.send(()).unwrap();
                panic!("of no use");
            }
        }
        let (sender, woken) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Panics(sender)));
        let mut delay = Delay::new(MOMENT);
        assert!(Pin::new(&mut delay).poll(&mut Context::from_waker(&waker)).is_pending());
        woken.recv().unwrap();
        Delay::new(MOMENT).await;
    }
}
