//! What is known of the front task of a worker: whether it has begun, and for how long that runs
//! whose time is limited.

use std::time::Duration;

use super::action::Time;

/// A worker that has been sent a task, and has not begun it after so long, does not do anything.
pub(super) const STUCK: Duration = Duration::from_secs(1);
/// After so long it is looked again whether a task has begun.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    /// Since when it counts as running; of a chunk the running item.
    item_since: Time,
    /// Which item runs: the others have been taken back.
    item_known: bool,
    /// It has provably begun.
    has_begun: bool,
    /// It is asked whether it has.
    is_asked_about: bool,
    /// By then it must have, or the worker does not do anything.
    must_begin: Time,
    /// Before that it is not looked again whether it has.
    look_at: Time,
}

impl Front {
    /// Of a task that counts as running from now on.
    pub(super) fn new(now: Time) -> Self {
        Self {
            item_since: now,
            item_known: false,
            has_begun: false,
            is_asked_about: false,
            must_begin: now.saturating_add(STUCK),
            look_at: now,
        }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub(super) fn is_item_known(&self) -> bool {
        self.item_known
    }

    /// When so much time is up.
    pub(super) fn timeout_at(&self, limit: Duration) -> Time {
        let at = self.item_since.saturating_add(limit);
        if self.has_begun { at } else { at.max(self.look_at) }
    }

    /// Until when it must have begun; `None` once it has.
    pub(super) fn must_begin_at(&self) -> Option<Time> {
        (!self.has_begun).then_some(self.must_begin)
    }

    /// It is about to be looked whether it has begun.
    pub(super) fn ask(&mut self) {
        self.is_asked_about = true;
    }

    /// Whether it is still the question whether it has begun.
    pub(super) fn is_asked_about(&self) -> bool {
        self.is_asked_about
    }

    /// It was looked whether it has begun. The time of one that has not begins anew.
    pub(super) fn looked(&mut self, now: Time, has_begun: bool) {
        (self.has_begun, self.is_asked_about) = (has_begun, false);
        if !has_begun {
            self.item_since = now;
            self.look_at = now.saturating_add(LOOK_AGAIN);
        }
    }

    /// It has time once more to begin.
    pub(super) fn bear_with(&mut self, now: Time) {
        self.must_begin = now.saturating_add(STUCK);
    }

    /// What has not begun of the chunk was taken back.
    pub(super) fn recalled(&mut self, now: Time) {
        if !std::mem::replace(&mut self.item_known, true) {
            self.item_since = now;
        }
    }

    /// A part of the chunk was taken back, so another item may run than was thought.
    pub(super) fn divided(&mut self, now: Time) {
        self.item_since = now;
    }

    /// An item of the chunk has ended, and if that is `news` the next one begins.
    pub(super) fn item_finished(&mut self, now: Time, news: bool) {
        self.has_begun = true;
        if news {
            self.item_since = now;
        }
    }
}
