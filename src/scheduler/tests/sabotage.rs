//! Proof that the histories find bugs: a saboteur stands between scheduler and world and makes it
//! look as if the scheduler had one.

use super::history::History;
use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::{Action, Failure, KillReason, LeaveReason, RefuseReason, Time, Verdict};
use crate::testing::Playable;

macro_rules! bugs {
    ($($bug:ident,)*) => {
        /// A bug that a scheduler might have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Bug {
            $($bug,)*
        }

        const BUGS: &[Bug] = &[$(Bug::$bug,)*];
    };
}

bugs! {
    ForgetsToFail,
    FailsTwice,
    BlamesDeath,
    SendsTwice,
    SendsYoungerFirst,
    SendsToAnother,
    ForgetsAttempts,
    ForgetsToSend,
    ForgetsToBegin,
    BeginsTwice,
    ForgetsToWithdraw,
    ForgetsToRecall,
    TerminatesInsteadOfRecalling,
    TakesBackOneTooMany,
    TakesTooLittle,
    ForgetsToAsk,
    NeverAsks,
    ExpiresEarly,
    ForgetsToStart,
    StartsOneTooMany,
    ForgetsToTellOfWarmth,
    ForgetsToStop,
    StopsForAnotherReason,
    StopsTheBusy,
    ForgetsToTerminate,
    ForgetsToKill,
    KillsWithoutReason,
    ForgetsToRefuse,
    NeverCloses,
    ClosesTooEarly,
    RepeatsWhatDied,
    BelievesLiars,
    ForgetsTheClock,
    ForgetsToConsult,
    ConsultsNobody,
    RepeatsUnasked,
    KeepsResults,
    DeliversUnasked,
    StartsOnTheFirstHost,
    OverlooksLosses,
    ForgetsLeases,
    BlamesTheLost,
    ForgetsToRequest,
    RequestsTwice,
    OverlooksHosts,
}

/// Every bug is found within so many histories, most of them much earlier.
const MOST: u64 = 4_000;
/// So many keep an honest scheduler clear.
const ENOUGH: u64 = 500;

#[derive(Clone, Debug)]
pub(super) struct Saboteur {
    bug: Bug,
    /// How many chances are let go by first; `None` once the deed is done.
    patience: Option<usize>,
}

impl Saboteur {
    /// Changes what the scheduler said, once.
    pub(super) fn spoil(&mut self, batch: &mut Vec<Action>) {
        if self.bug == Bug::SendsYoungerFirst {
            return swap_sends(batch);
        }
        let actions = std::mem::take(batch);
        for action in actions {
            match self.instead_of(action) {
                Some(others) if self.takes_the_chance() => batch.extend(others),
                _ => batch.push(action),
            }
        }
    }

    fn takes_the_chance(&mut self) -> bool {
        let patience = self.patience;
        self.patience = patience.and_then(|left| left.checked_sub(1));
        patience == Some(0)
    }

    /// What the buggy scheduler says, if its bug is about this action.
    fn instead_of(&self, action: Action) -> Option<Vec<Action>> {
        Some(match (self.bug, action) {
            (Bug::ForgetsToFail, Action::Fail(..))
            | (Bug::ForgetsToSend, Action::Send { .. })
            | (Bug::ForgetsToBegin, Action::Begin(_))
            | (Bug::ForgetsToWithdraw, Action::Withdraw(_))
            | (Bug::ForgetsToRecall, Action::Recall { .. })
            | (Bug::ForgetsToAsk, Action::Ask(_))
            | (Bug::ForgetsToConsult, Action::Consult(..))
            | (Bug::KeepsResults, Action::Deliver(_))
            | (Bug::ForgetsToStart, Action::Start { .. })
            | (Bug::ForgetsToRequest, Action::Request(_))
            | (Bug::ForgetsToTellOfWarmth, Action::Warm)
            | (Bug::ForgetsToStop, Action::Stop(..))
            | (Bug::ForgetsToTerminate, Action::Terminate(_))
            | (Bug::ForgetsToKill, Action::Kill(..))
            | (Bug::ForgetsToRefuse, Action::Refuse(_))
            | (Bug::NeverCloses, Action::Close) => vec![],
            (Bug::FailsTwice, Action::Fail(..))
            | (Bug::SendsTwice, Action::Send { .. })
            | (Bug::RequestsTwice, Action::Request(_))
            | (Bug::BeginsTwice, Action::Begin(_)) => vec![action, action],
            (Bug::BlamesDeath, Action::Fail(task, Failure::Cancelled))
            | (Bug::BlamesTheLost, Action::Fail(task, Failure::HostLost)) => {
                vec![Action::Fail(task, Failure::Died)]
            }
            (Bug::ConsultsNobody, Action::Consult(task, failure)) => {
                vec![Action::Fail(task, failure)]
            }
            (Bug::RepeatsUnasked, Action::Consult(task, _) | Action::Deliver(task)) => {
                vec![Action::Withdraw(task)]
            }
            (_, Action::Send { .. }) => vec![self.misdirected(action)?],
            (Bug::TerminatesInsteadOfRecalling, Action::Recall { worker, .. })
            | (Bug::NeverAsks, Action::Ask(worker)) => vec![Action::Terminate(worker)],
            (Bug::TakesTooLittle, Action::Recall { worker, all: true }) => {
                vec![Action::Recall { worker, all: false }]
            }
            (Bug::StopsForAnotherReason, Action::Stop(worker, why)) => {
                let other =
                    if why == LeaveReason::Idle { LeaveReason::Surplus } else { LeaveReason::Idle };
                vec![Action::Stop(worker, other)]
            }
            (Bug::StopsTheBusy, Action::Begin(_)) => {
                vec![action, Action::Stop(WorkerId(1), LeaveReason::Idle)]
            }
            (Bug::ExpiresEarly, Action::Begin(task)) => {
                vec![action, Action::Fail(task, Failure::Expired)]
            }
            (Bug::StartsOneTooMany, Action::Start { worker: WorkerId(id), host }) => {
                vec![action, Action::Start { worker: WorkerId(id + 1), host }]
            }
            (Bug::StartsOnTheFirstHost, Action::Start { worker, host }) if host != HostId(0) => {
                vec![Action::Start { worker, host: HostId(0) }]
            }
            (Bug::KillsWithoutReason, Action::Begin(_)) => {
                vec![action, Action::Kill(WorkerId(1), KillReason::GraceOver)]
            }
            (Bug::ClosesTooEarly, Action::Refuse(RefuseReason::ShutDown)) => {
                vec![action, Action::Close]
            }
            _ => return None,
        })
    }

    fn misdirected(&self, action: Action) -> Option<Action> {
        let Action::Send { worker, task, attempt } = action else {
            return None;
        };
        let (worker, attempt) = match self.bug {
            Bug::SendsToAnother => (WorkerId(worker.0 % 4 + 1), attempt),
            Bug::ForgetsAttempts if attempt > 1 => (worker, 1),
            _ => return None,
        };
        Some(Action::Send { worker, task, attempt })
    }

    /// What the scheduler makes of the number of tasks that were recalled.
    pub(super) fn miscount_recalled(&self, taken: usize) -> usize {
        taken + usize::from(self.bug == Bug::TakesBackOneTooMany)
    }

    /// What the scheduler makes of the number of tasks that a death has not hurt.
    pub(super) fn miscount_spared(&self, taken: usize) -> usize {
        taken + usize::from(self.bug == Bug::RepeatsWhatDied)
    }

    /// What the scheduler makes of the loss of a host: when nothing runs there any more; `None` if
    /// it does not hear of it.
    pub(super) fn misjudge_loss(&self, now: Time, safe_at: Time) -> Option<Time> {
        match self.bug {
            Bug::OverlooksLosses => None,
            Bug::ForgetsLeases => Some(now),
            _ => Some(safe_at),
        }
    }

    pub(super) fn overrule(&self, verdict: Verdict) -> Verdict {
        match verdict {
            _ if self.bug == Bug::BelievesLiars => Verdict::Deliver,
            Verdict::Undecided if self.bug == Bug::DeliversUnasked => Verdict::Deliver,
            _ => verdict,
        }
    }

    /// It does not hear that a host has come.
    pub(super) fn overlooks_hosts(&self) -> bool {
        self.bug == Bug::OverlooksHosts
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.bug == Bug::ForgetsTheClock
    }
}

/// The first two tasks that are sent change places.
fn swap_sends(batch: &mut [Action]) {
    let sent = batch.iter().filter_map(|action| match action {
        Action::Send { task, .. } => Some(*task),
        _ => None,
    });
    let sent: Vec<TaskId> = sent.take(2).collect();
    let [older, younger] = sent[..] else { return };
    for action in batch {
        if let Action::Send { task, .. } | Action::Begin(task) = action {
            if *task == older {
                *task = younger;
            } else if *task == younger {
                *task = older;
            }
        }
    }
}

/// The first history in which the bug is found.
fn found_in(bug: Bug) -> Option<u64> {
    (0..MOST).find(|&seed| {
        let patience = Some(usize::try_from(seed).unwrap() % 3);
        History::from_seed(seed).play_with(Some(Saboteur { bug, patience })).0.is_err()
    })
}

#[test]
fn every_planted_bug_is_found() {
    let missed: Vec<_> = BUGS.iter().filter(|bug| found_in(**bug).is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_saboteur_who_does_nothing_is_not_accused() {
    for seed in 0..ENOUGH {
        let idle = Saboteur { bug: Bug::FailsTwice, patience: None };
        assert_eq!(History::from_seed(seed).play_with(Some(idle)).0, Ok(()));
    }
}
