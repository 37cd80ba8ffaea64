//! A clock that stands still until somebody moves it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::base::{Clock, Sleep};

/// Each thread has its own.
pub(super) const SIMULATED: Clock = Clock { now, sleep };

type Alarm = (Instant, u64);

thread_local! {
    static BEGAN: Cell<Instant> = Cell::new(Instant::now());
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static ALARMS: RefCell<BTreeMap<Alarm, Option<Waker>>> = const { RefCell::new(BTreeMap::new()) };
}

pub(super) fn now() -> Instant {
    BEGAN.get() + PASSED.get()
}

/// How much time has passed in this history.
pub(super) fn passed() -> Duration {
    PASSED.get()
}

pub(super) fn reset() {
    PASSED.set(Duration::ZERO);
    COUNT.set(0);
    ALARMS.take();
}

/// Time passes, and nobody is woken.
pub(super) fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time);
}

/// Wakes those whose time has come.
pub(super) fn ring() {
    let now = now();
    let due = ALARMS.with_borrow_mut(|alarms| {
        let due = alarms.iter_mut().take_while(|((at, _), _)| *at <= now);
        due.filter_map(|(_, waker)| waker.take()).collect::<Vec<_>>()
    });
    due.into_iter().for_each(Waker::wake);
}

/// How long it is until somebody has to be woken.
pub(super) fn next_alarm() -> Option<Duration> {
    let first = ALARMS.with_borrow(|alarms| alarms.keys().next().copied());
    first.map(|(at, _)| at.saturating_duration_since(now()))
}

fn sleep(duration: Duration) -> Sleep {
    const LONG: Duration = Duration::from_secs(1 << 30);
    COUNT.set(COUNT.get() + 1);
    let alarm = (now() + duration.min(LONG), COUNT.get());
    ALARMS.with_borrow_mut(|alarms| alarms.insert(alarm, None));
    Box::pin(Sleeper(alarm))
}

struct Sleeper(Alarm);

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.0 <= now() {
            return Poll::Ready(());
        }
        ALARMS.with_borrow_mut(|alarms| alarms.insert(self.0, Some(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let waker = ALARMS.with_borrow_mut(|alarms| alarms.remove(&self.0));
        drop(waker); // only now, as it may be the last one of what sleeps
    }
}
