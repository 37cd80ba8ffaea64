//! How tenants share the workers: deficit round robin by running time.
//!
//! The waiting tasks of one priority stand in flows, one for each tenant. The flows take turns. In
//! each round each of them may use up the same running time, its quantum. What a task takes beyond
//! that counts against the next rounds of its flow, which is skipped until it is paid. What a flow
//! leaves unused is not saved.
//!
//! How long a task takes is only known at its end. So it is charged by an estimate when it is sent,
//! and settled at its end: by its running time, or with nothing if it has not begun.
//!
//! The algorithm is that of Shreedhar and Varghese, "Efficient fair queuing using deficit round
//! robin" (1995), with running time in place of bytes, and with debts, as costs are not known
//! before.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::run_times::LONGEST;
use super::task::{FlowKey, TenantKey};
use crate::base::nanos;

/// What a flow may use up in each round, in nanoseconds: about what is sent ahead to a worker.
pub(super) const QUANTUM: u64 = 500_000;
/// Those who have nothing to do and are in debt are forgotten beyond this number, the least debt
/// first.
const MOST_DEBTORS: usize = 10_000;
/// The weight of a task in the mean running time of a flow is one in so many.
const WEIGHT: u64 = 8;

/// When it is a flow's turn among those of its priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    round: u64,
    /// Within the round. Grows with each turn that is given.
    place: u64,
}

/// The accounts of all flows, by priority. There are none while nobody names a tenant.
#[derive(Clone, Debug, Default)]
pub(super) struct FairShares(BTreeMap<Reverse<i32>, Ring>);

/// The flows of one priority. It is kept while one of them has a task that waits or is sent. Then
/// all debts are forgotten: they were owed to nobody.
#[derive(Clone, Debug, Default)]
struct Ring {
    /// The latest round in which a task was sent.
    round: u64,
    /// How many turns were given.
    turns: u64,
    accounts: BTreeMap<Option<TenantKey>, Account>,
    /// The accounts without a task, by round.
    debtors: BTreeSet<(u64, Option<TenantKey>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    turn: Turn,
    /// Running time, in nanoseconds: that of the rounds it was not in, and its own.
    spent: u64,
    /// Tasks wait.
    waits: bool,
    /// So many of its tasks are sent.
    sent: u64,
    /// What was charged for those, in nanoseconds.
    charged: u64,
    /// How long its tasks took, in nanoseconds.
    mean: Option<u64>,
}

impl FairShares {
    /// Whether nobody is to be told from others.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// When it is a flow's turn.
    pub(super) fn turn(&self, flow: FlowKey) -> Turn {
        let ring = self.0.get(&flow.priority);
        let account = ring.and_then(|ring| ring.accounts.get(&flow.tenant));
        account.map(|account| account.turn).unwrap_or_default()
    }

    /// A task of the flow waits. The first one is behind all flows that wait already.
    pub(super) fn join(&mut self, flow: FlowKey) -> Turn {
        if flow.tenant.is_none() && !self.0.contains_key(&flow.priority) {
            return Turn::default();
        }
        self.0.entry(flow.priority).or_default().join(flow.tenant)
    }

    /// No task of the flow waits any more.
    pub(super) fn leave(&mut self, flow: FlowKey) {
        self.change(flow, |ring| {
            if let Some(account) = ring.accounts.get_mut(&flow.tenant) {
                account.waits = false;
            }
        });
    }

    /// A task of the flow is sent; `waits` says whether others of it still wait.
    pub(super) fn charge(&mut self, flow: FlowKey, waits: bool) {
        self.change(flow, |ring| ring.charge(flow.tenant, waits));
    }

    /// A task of the flow that was sent is over, and took so long; `None` if it has not begun.
    pub(super) fn settle(&mut self, flow: FlowKey, took: Option<Duration>) {
        self.change(flow, |ring| ring.settle(flow.tenant, took));
    }

    fn change(&mut self, flow: FlowKey, change: impl FnOnce(&mut Ring)) {
        let Some(ring) = self.0.get_mut(&flow.priority) else { return };
        change(ring);
        ring.retire(flow.tenant);
        if ring.debtors.len() == ring.accounts.len() {
            self.0.remove(&flow.priority);
        }
    }
}

impl Ring {
    fn join(&mut self, tenant: Option<TenantKey>) -> Turn {
        let next = self.round + 1;
        let account = self.accounts.entry(tenant).or_default();
        if account.waits {
            return account.turn;
        }
        self.debtors.remove(&(account.turn.round, tenant));
        account.waits = true;
        account.spent = account.spent.max(next * QUANTUM);
        self.turns += 1;
        account.turn = Turn { round: account.spent / QUANTUM, place: self.turns };
        account.turn
    }

    fn charge(&mut self, tenant: Option<TenantKey>, waits: bool) {
        let account = self.accounts.entry(tenant).or_default();
        self.debtors.remove(&(account.turn.round, tenant));
        account.waits = waits;
        self.round = self.round.max(account.turn.round);
        let estimate = account.mean.unwrap_or(QUANTUM);
        account.sent += 1;
        account.charged += estimate;
        account.spent = account.spent.max(self.round * QUANTUM) + estimate;
        self.take_turn(tenant);
        self.forget_paid();
    }

    fn settle(&mut self, tenant: Option<TenantKey>, took: Option<Duration>) {
        let Some(account) = self.accounts.get_mut(&tenant) else { return };
        let charged = account.charged.checked_div(account.sent).unwrap_or(0);
        account.sent = account.sent.saturating_sub(1);
        account.charged -= charged;
        account.spent = account.spent.saturating_sub(charged);
        if let Some(took) = took {
            let took = nanos(took).min(LONGEST);
            account.spent += took;
            let mean = account.mean.unwrap_or(took);
            account.mean = Some(mean - mean / WEIGHT + took / WEIGHT);
        }
        self.debtors.remove(&(account.turn.round, tenant));
        self.take_turn(tenant);
    }

    /// Puts a flow whose account has changed at the end of the round that it can pay for.
    fn take_turn(&mut self, tenant: Option<TenantKey>) {
        let Some(account) = self.accounts.get_mut(&tenant) else { return };
        let round = self.round.max(account.spent / QUANTUM);
        if round != account.turn.round {
            self.turns += 1;
            account.turn = Turn { round, place: self.turns };
        }
    }

    /// An account without tasks is kept only as long as it is in debt.
    fn retire(&mut self, tenant: Option<TenantKey>) {
        let Some(account) = self.accounts.get(&tenant) else { return };
        if account.waits || account.sent > 0 {
            return;
        }
        if account.turn.round <= self.round + 1 {
            self.accounts.remove(&tenant);
            return;
        }
        self.debtors.insert((account.turn.round, tenant));
        if self.debtors.len() > MOST_DEBTORS {
            self.forget_first_debtor();
        }
    }

    /// A newcomer would be in no earlier round.
    fn forget_paid(&mut self) {
        while self.debtors.first().is_some_and(|(round, _)| *round <= self.round + 1) {
            self.forget_first_debtor();
        }
    }

    fn forget_first_debtor(&mut self) {
        if let Some((_, tenant)) = self.debtors.pop_first() {
            self.accounts.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const MILLISECOND: u64 = 1_000_000;

    fn flow(tenant: u64) -> FlowKey {
        FlowKey { priority: Reverse(0), tenant: Some(tenant) }
    }

    /// Tenants who always have tasks that wait: what each of them has used up.
    struct Backlog {
        shares: FairShares,
        used: BTreeMap<u64, u64>,
        random: Random,
    }

    impl Backlog {
        fn new(tenants: u64) -> Self {
            let mut shares = FairShares::default();
            for tenant in 0..tenants {
                shares.join(flow(tenant));
            }
            let used = (0..tenants).map(|tenant| (tenant, 0)).collect();
            Self { shares, used, random: Random::seeded(7) }
        }

        fn next(&self) -> u64 {
            let tenants = self.used.keys().copied();
            tenants.min_by_key(|tenant| self.shares.turn(flow(*tenant))).unwrap()
        }

        /// One worker runs the next task, whose time depends on its tenant.
        fn run_one(&mut self, took: impl Fn(u64, &mut Random) -> u64) {
            let tenant = self.next();
            let took = took(tenant, &mut self.random);
            self.shares.charge(flow(tenant), true);
            self.shares.settle(flow(tenant), Some(Duration::from_nanos(took)));
            *self.used.entry(tenant).or_default() += took;
        }

        fn spread(&self) -> u64 {
            self.used.values().max().unwrap() - self.used.values().min().unwrap()
        }
    }

    /// The tasks of each tenant take up to eight times as long as those of the one before.
    fn unequal(tenant: u64, random: &mut Random) -> u64 {
        20_000 * (1 + random.below(1 << (3 * tenant)) as u64)
    }

    #[test]
    fn running_time_is_shared_and_not_the_number_of_tasks() {
        let mut backlog = Backlog::new(4);
        let longest = 20_000 * 8_u64.pow(3);
        for _ in 0..50_000 {
            backlog.run_one(unequal);
            // The bound of the algorithm: what one turn, and the longest task, can make of it.
            assert!(backlog.spread() <= 2 * QUANTUM + longest, "{:?}", backlog.used);
        }
        assert!(*backlog.used.values().min().unwrap() > 10 * longest, "{:?}", backlog.used);
    }

    #[test]
    fn those_who_have_short_tasks_take_turns_of_a_quantum() {
        let mut backlog = Backlog::new(3);
        (0..100).for_each(|_| backlog.run_one(|_, _| QUANTUM / 10));
        let turns: Vec<u64> = (0..60)
            .map(|_| {
                let next = backlog.next();
                backlog.run_one(|_, _| QUANTUM / 10);
                next
            })
            .collect();
        let changes = turns.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((4..=8).contains(&changes), "{turns:?}");
    }

    #[test]
    fn a_newcomer_is_before_one_in_debt_and_behind_those_who_are_not() {
        let mut shares = FairShares::default();
        for tenant in [1, 2] {
            shares.join(flow(tenant));
        }
        shares.charge(flow(1), true);
        shares.settle(flow(1), Some(Duration::from_secs(1)));
        shares.join(flow(3));
        let turn = |tenant| shares.turn(flow(tenant));
        assert!(turn(2) < turn(3) && turn(3) < turn(1));
    }

    #[test]
    fn newcomers_without_end_do_not_hold_up_those_who_wait() {
        let mut shares = FairShares::default();
        shares.join(flow(0));
        shares.charge(flow(0), true);
        shares.settle(flow(0), Some(Duration::from_nanos(20 * QUANTUM)));
        let mut newcomer = 1;
        shares.join(flow(newcomer));
        // Each of them is gone after its task, when the next one is there already.
        while shares.turn(flow(newcomer)) < shares.turn(flow(0)) {
            shares.join(flow(newcomer + 1));
            shares.charge(flow(newcomer), false);
            shares.settle(flow(newcomer), Some(Duration::from_nanos(1)));
            newcomer += 1;
            assert!(newcomer < 100);
        }
        assert!(newcomer > 10);
    }

    #[test]
    fn what_nobody_wanted_is_not_saved() {
        let mut backlog = Backlog::new(2);
        backlog.shares.leave(flow(1));
        backlog.used.remove(&1);
        (0..1_000).for_each(|_| backlog.run_one(|_, _| MILLISECOND));
        backlog.used.insert(1, backlog.used[&0]);
        backlog.shares.join(flow(1));
        for _ in 0..1_000 {
            backlog.run_one(|_, _| MILLISECOND);
            assert!(backlog.spread() <= 2 * MILLISECOND, "{:?}", backlog.used);
        }
    }

    #[test]
    fn a_task_that_has_not_begun_costs_nothing() {
        let mut shares = FairShares::default();
        for tenant in [1, 2] {
            shares.join(flow(tenant));
        }
        for _ in 0..1_000 {
            shares.charge(flow(1), true);
            shares.settle(flow(1), None);
        }
        let turn = |tenant| shares.turn(flow(tenant));
        assert!(turn(1).round <= turn(2).round + 1, "{shares:?}");
    }

    #[test]
    fn what_runs_counts_before_its_end() {
        let mut shares = FairShares::default();
        for tenant in [1, 2] {
            shares.join(flow(tenant));
            shares.charge(flow(tenant), true);
            shares.settle(flow(tenant), Some(Duration::from_secs(1)));
        }
        shares.charge(flow(1), true);
        assert!(shares.turn(flow(2)) < shares.turn(flow(1)));
    }

    #[test]
    fn when_nobody_waits_all_debts_are_forgotten() {
        let mut shares = FairShares::default();
        shares.join(flow(1));
        shares.charge(flow(1), false);
        assert!(!shares.is_idle());
        shares.settle(flow(1), Some(Duration::from_secs(1)));
        assert!(shares.is_idle());
    }

    #[test]
    fn only_those_are_kept_who_have_tasks_or_are_in_debt() {
        let mut shares = FairShares::default();
        shares.join(flow(0)); // who waits all the time
        for tenant in 1..30_000 {
            let took = Duration::from_secs(3_600 * u64::from(tenant % 2 == 0));
            shares.join(flow(tenant));
            shares.charge(flow(tenant), false);
            shares.settle(flow(tenant), Some(took));
        }
        let ring = &shares.0[&Reverse(0)];
        assert_eq!((ring.debtors.len(), ring.accounts.len()), (MOST_DEBTORS, MOST_DEBTORS + 1));
        assert!(ring.accounts.keys().all(|tenant| tenant.is_some_and(|tenant| tenant % 2 == 0)));
    }

    #[test]
    fn those_without_a_tenant_are_one_of_them_once_there_are_any() {
        let nobody = FlowKey::USUAL;
        let mut shares = FairShares::default();
        assert_eq!(shares.join(nobody), Turn::default());
        shares.charge(nobody, true);
        assert!(shares.is_idle());
        shares.join(flow(1));
        assert!(shares.turn(nobody) < shares.turn(flow(1)));
        shares.charge(nobody, true);
        shares.settle(nobody, Some(Duration::from_secs(1)));
        assert!(shares.turn(flow(1)) < shares.turn(nobody));
    }
}
