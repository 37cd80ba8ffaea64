//! Whose turn it is among the tenants of a priority, without anything that saves a search.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Entry, Model, Place, index};
use crate::base::TaskId;
use crate::scheduler::Time;
use crate::scheduler::fairness::QUANTUM;
use crate::scheduler::task::{FlowKey, TenantKey};

/// What is sent first stands first.
pub(in crate::scheduler::tests) type Rank = (Reverse<i32>, (u64, u64), TaskId);

#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    rings: BTreeMap<Reverse<i32>, Ring>,
    /// How long the last start took.
    pub(super) start_took: Duration,
    /// It is not known any more in which order flows have begun to wait.
    is_blurred: bool,
}

#[derive(Clone, Debug, Default)]
struct Ring {
    /// The latest round in which a task was sent.
    round: u64,
    turns: u64,
    accounts: BTreeMap<Option<TenantKey>, Account>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    round: u64,
    place: u64,
    spent: u64,
    waits: bool,
    sent: u64,
    charged: u64,
    mean: Option<u64>,
}

impl Ring {
    /// A flow goes to the end of a round.
    fn enter(&mut self, tenant: Option<TenantKey>, round: u64) {
        self.turns += 1;
        let account = self.accounts.entry(tenant).or_default();
        (account.round, account.place) = (round, self.turns);
    }

    fn review(&mut self, tenant: Option<TenantKey>) {
        let account = &self.accounts[&tenant];
        let round = (account.spent / QUANTUM).max(self.round);
        if round != account.round {
            self.enter(tenant, round);
        }
    }
}

impl Shares {
    fn join(&mut self, flow: FlowKey) {
        if flow.tenant.is_none() && !self.rings.contains_key(&flow.priority) {
            return;
        }
        let ring = self.rings.entry(flow.priority).or_default();
        let round = ring.round + 1;
        let account = ring.accounts.entry(flow.tenant).or_default();
        if !account.waits {
            account.waits = true;
            account.spent = account.spent.max(round * QUANTUM);
            let round = account.spent / QUANTUM;
            ring.enter(flow.tenant, round);
        }
    }

    fn charge(&mut self, flow: FlowKey) {
        let Some(ring) = self.rings.get_mut(&flow.priority) else { return };
        let account = ring.accounts.entry(flow.tenant).or_default();
        ring.round = ring.round.max(account.round);
        let estimate = account.mean.unwrap_or(QUANTUM);
        (account.sent, account.charged) = (account.sent + 1, account.charged + estimate);
        account.spent = account.spent.max(ring.round * QUANTUM) + estimate;
        ring.review(flow.tenant);
    }

    fn settle(&mut self, flow: FlowKey, took: Option<Duration>) {
        let Some(ring) = self.rings.get_mut(&flow.priority) else { return };
        let Some(account) = ring.accounts.get_mut(&flow.tenant) else { return };
        let charged = account.charged.checked_div(account.sent).unwrap_or(0);
        account.sent = account.sent.saturating_sub(1);
        account.charged -= charged;
        account.spent = account.spent.saturating_sub(charged);
        if let Some(took) = took {
            let took = u64::try_from(took.as_nanos()).unwrap();
            account.spent += took;
            account.mean = Some(match account.mean {
                None => took - took / 8 + took / 8,
                Some(mean) => mean - mean / 8 + took / 8,
            });
        }
        ring.review(flow.tenant);
    }

    /// What nobody owes anything to is forgotten.
    fn tidy(&mut self, waits: impl Fn(FlowKey) -> bool) {
        for (&priority, ring) in &mut self.rings {
            for (&tenant, account) in &mut ring.accounts {
                account.waits = waits(FlowKey { priority, tenant });
            }
            let next = ring.round + 1;
            ring.accounts
                .retain(|_, account| account.waits || account.sent > 0 || account.round > next);
        }
        let is_busy = |account: &Account| account.waits || account.sent > 0;
        self.rings.retain(|_, ring| ring.accounts.values().any(is_busy));
        self.is_blurred &= !self.rings.is_empty();
    }
}

impl Model {
    pub(in crate::scheduler::tests) fn rank(&self, entry: &Entry) -> Rank {
        let flow = entry.wishes.flow();
        let ring = self.shares.rings.get(&flow.priority);
        let account = ring.and_then(|ring| ring.accounts.get(&flow.tenant));
        let turn = account.map(|account| (account.round, account.place)).unwrap_or_default();
        (flow.priority, turn, entry.id)
    }

    /// Whether it is known which of two tasks comes first. Of one flow and of two priorities it
    /// always is.
    pub(in crate::scheduler::tests) fn may_compare(&self, one: &Entry, other: &Entry) -> bool {
        let (one, other) = (one.wishes.flow(), other.wishes.flow());
        !self.shares.is_blurred || one == other || one.priority != other.priority
    }

    /// Two workers are asked back at the same moment. What the first one gives waits already, but
    /// that is only told after the second one has given, too.
    pub(in crate::scheduler::tests) fn blur_turns(&mut self) {
        self.shares.is_blurred = true;
    }

    /// A task waits that nobody has to wait with.
    pub(super) fn wait(&mut self, id: TaskId) {
        self.shares.join(self.tasks[index(id.0)].wishes.flow());
    }

    /// Retries whose time has come wait like others.
    pub(in crate::scheduler::tests) fn release(&mut self, now: Time) {
        for desk in &mut self.desks {
            if desk.lost.is_some_and(|safe_at| safe_at <= now) {
                desk.kept_keys.clear();
            }
        }
        let due = |entry: &Entry| match entry.place {
            Place::Delayed(due) if due <= now => Some((due, entry.id)),
            _ => None,
        };
        let mut due: Vec<(Time, TaskId)> = self.tasks.iter().filter_map(due).collect();
        due.sort();
        for (_, id) in due {
            self.task_mut(id).place = Place::Queued;
            self.wait(id);
        }
    }

    pub(super) fn charge(&mut self, id: TaskId) {
        self.shares.charge(self.tasks[index(id.0)].wishes.flow());
        self.tidy_shares();
    }

    /// A sent task is over, or comes back; `None` if it has not begun.
    pub(super) fn settle(&mut self, id: TaskId, took: Option<Duration>) {
        self.shares.settle(self.tasks[index(id.0)].wishes.flow(), took);
        self.tidy_shares();
    }

    pub(super) fn running_time(&self, now: Time, id: TaskId) -> Option<Duration> {
        Some(now.saturating_sub(self.tasks[index(id.0)].since?))
    }

    /// What it has cost that a task is not with its worker any more: if it has begun, the running
    /// time, and that of another start. The first one may have begun although it is said not to
    /// have.
    pub(super) fn cost(&self, now: Time, id: TaskId, is_unbegun: bool) -> Option<Duration> {
        let entry = &self.tasks[index(id.0)];
        let is_gone = matches!(entry.place, Place::Sent(worker) if self.is_gone(worker));
        let was_first = is_gone && entry.since.is_some();
        // Nobody is to blame for the loss of a host.
        let is_lost = matches!(entry.place, Place::Sent(worker)
            if self.desk(worker).is_some_and(|desk| desk.has_vanished));
        let start = if is_lost { Duration::ZERO } else { self.shares.start_took };
        let took = self.running_time(now, id).map(|took| took + start);
        (!is_unbegun || was_first).then(|| took.unwrap_or_default())
    }

    pub(super) fn tidy_shares(&mut self) {
        if self.shares.rings.is_empty() {
            return;
        }
        let waiting = self.tasks.iter().filter(|task| task.place == Place::Queued);
        let waiting: Vec<FlowKey> = waiting.map(|task| task.wishes.flow()).collect();
        self.shares.tidy(|flow| waiting.contains(&flow));
    }

    /// Whether tenants share the workers.
    pub(in crate::scheduler::tests) fn is_shared(&self) -> bool {
        self.shares
            .rings
            .values()
            .any(|ring| ring.accounts.values().filter(|a| a.waits).count() > 1)
    }
}
