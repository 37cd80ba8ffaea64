//! Which task goes to which worker, and when a worker is started.

use super::action::{Action, Failure, Time};
use super::tenure::Seat;
use super::worker::{Recall, Worker};
use super::{Phase, Scheduler};
use crate::base::{HostId, TaskId, WorkerId};

impl Scheduler {
    /// Hands out what waits: first to idle workers, then to new ones, and what is left is sent
    /// ahead to busy ones that are quick. Brief tasks are also sent ahead while others are idle.
    pub(super) fn dispatch(&mut self, now: Time) {
        self.expire(now);
        self.release_due(now);
        self.review_surplus();
        if self.unanswered > 0 {
            return;
        }
        self.relieve(now);
        if self.unanswered > 0 {
            return; // the answer comes at once, and leads here again
        }
        self.hand_out(now, 0);
        self.start_workers(now);
        if !self.queue.is_dry() {
            self.hand_out(now, usize::MAX);
            // What idle ones were spared may have gone, and what is left not be brief.
            self.start_workers(now);
        }
        self.rebalance(now);
    }

    /// Sends tasks to workers with room that have at most `load`, the least loaded one first.
    fn hand_out(&mut self, now: Time, load: usize) {
        if self.queue.is_dry() {
            return;
        }
        for id in self.queue.callers() {
            while self.is_called(id, load) && self.send_first(now, id) {}
            if !self.is_called(id, usize::MAX) {
                self.queue.dismiss_caller(id);
            }
        }
        while let Some(id) = self.next_open(now, load)
            && self.send_first(now, id)
        {
            self.latest = Some(id);
        }
    }

    /// Whether tasks wait for this worker, which has room and at most `load`.
    fn is_called(&self, id: WorkerId, load: usize) -> bool {
        let load_of = |worker: &Worker| worker.standing.load;
        let has_room = self.workers.get(id).and_then(load_of).is_some_and(|least| least <= load);
        has_room && self.queue.awaits(id)
    }

    /// The least loaded worker with room that has at most `load`; for a new key, of several idle
    /// ones that with the fewest keys; for a suspect the youngest, so that others keep what runs
    /// already. Idle ones are spared what others will have done before they are awake.
    fn next_open(&self, now: Time, load: usize) -> Option<WorkerId> {
        let mut first = self.workers.first_open()?;
        if self.queue.is_first_suspect() && self.workers.are_several_idle() {
            return self.workers.last_idle();
        }
        if first.0 == 0 && self.tempo.is_brief() && self.queue.is_first_plain() {
            if let Some(latest) = self.latest.filter(|id| self.may_batch(now, *id)) {
                return Some(latest);
            }
            if self.are_enough_brisk() {
                first = self.workers.first_busy_open()?;
            }
        }
        let (least, first) = first;
        if least > load {
            return None;
        }
        if least > 0 || !self.queue.settles() {
            return Some(first);
        }
        self.workers.open_with(0).min_by_key(|id| self.queue.keys_of(*id))
    }

    /// Whether a worker may be sent one more task although others are idle.
    fn may_batch(&self, now: Time, id: WorkerId) -> bool {
        let worker = self.workers.get(id);
        let batch = self.tempo.batch().min(self.config.max_pipeline);
        !self.surplus && worker.is_some_and(|worker| worker.may_batch(now, batch, &self.config))
    }

    /// Sends a worker with room the first of the tasks that it may take; false if none waits.
    fn send_first(&mut self, now: Time, id: WorkerId) -> bool {
        let with_suspects = self.queue.suspects() > 0 && self.may_risk(now, id);
        let Some(task) = self.queue.pop_for(id, with_suspects) else { return false };
        let attempt = task.wishes().attempt;
        self.actions.push_back(Action::Send { worker: id, task: task.id, attempt });
        self.sent.insert(task.id, id);
        let batch = self.tempo.batch();
        let begun = self.update(id, |worker| worker.push(now, task, batch));
        self.begin(begun.flatten());
        self.retire_if_nearly_used_up(now, id);
        true
    }

    /// Whether a worker may be lost to a task that will probably kill it. It has to be idle, and
    /// not the last one that is, as long as another one is about to come up or all others have such
    /// tasks. So whoever sends tasks that crash has all workers but one, and who sends others finds
    /// that one.
    fn may_risk(&self, now: Time, id: WorkerId) -> bool {
        if !self.workers.get(id).is_some_and(Worker::is_idle) {
            return false;
        }
        let may_start = || self.has_place() && self.workers.hosts().may_start(now, Seat::Own);
        self.workers.are_several_idle()
            || (self.coming() == 0 && !may_start() && !self.is_last_for_others())
    }

    /// Whether all places but one are taken by tasks that will probably kill their workers.
    fn is_last_for_others(&self) -> bool {
        let (most, risky) = (self.config.max_workers, self.workers.tally().risky as usize);
        most > 1 && risky + 1 >= most
    }

    fn start_workers(&mut self, now: Time) {
        while let Some((seat, host)) = self.next_start(now) {
            if seat == Seat::Awaited {
                self.counts.worker_restarts += 1;
            } else if self.vacancies > 0 {
                self.vacancies -= 1;
                self.counts.worker_restarts += 1;
            }
            self.start_worker(now, seat, host);
        }
        self.request_hosts(now);
    }

    /// When a worker, a successor and a host are to be started and requested, if nothing else
    /// happens before.
    pub(super) fn start_times(&self) -> [Option<Time>; 3] {
        let start = |wanted: bool, seat| self.workers.hosts().not_before(seat).filter(|_| wanted);
        let worker = start(self.wants_worker(), Seat::Own);
        let successor = start(self.wants_successor(), Seat::Awaited);
        [worker, successor, self.request_at()]
    }

    /// For what a worker is to be started now, and where, if anywhere.
    fn next_start(&self, now: Time) -> Option<(Seat, HostId)> {
        let choose = |seat| Some((seat, self.workers.hosts().choose(now, seat)?));
        let own = self.wants_worker().then(|| choose(Seat::Own)).flatten();
        own.or_else(|| self.wants_successor().then(|| choose(Seat::Awaited)).flatten())
    }

    fn start_worker(&mut self, now: Time, seat: Seat, host: HostId) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.counts.worker_starts += 1;
        let mut worker = Worker::starting(now, host, &self.config);
        worker.seat = seat;
        self.workers.push(id, worker, &self.config, self.surplus);
        self.actions.push_back(Action::Start { worker: id, host });
        #[cfg(test)]
        self.note_change(id);
    }

    /// Whether a further worker would have something to do and may exist.
    #[inline]
    pub(super) fn wants_worker(&self) -> bool {
        self.wants_worker_beside(0)
    }

    /// The same, if there were so many more that start.
    #[inline]
    pub(super) fn wants_worker_beside(&self, promised: usize) -> bool {
        let is_over = !matches!(self.phase, Phase::Open | Phase::Draining { .. });
        if is_over || !self.has_place_beside(promised) {
            return false;
        }
        // What waits beside an idle worker is worth none, and suspects wait beside one that is not
        // for them.
        let wanted = if self.has_idle() { 0 } else { self.queue.wanted() };
        let are_enough = self.queue.suspects() == 0 || self.workers.are_several_idle();
        let wanted = wanted + if are_enough { 0 } else { self.queue.suspects() };
        let wanted = wanted.max(usize::from(self.warm_up));
        let serving = self.serving() - self.workers.hosts().trials().serving;
        let too_few = self.phase == Phase::Open && serving + promised < self.least_workers();
        too_few || self.coming() + promised < wanted
    }

    /// Whether workers start, or would as soon as they may.
    pub(crate) fn wants_workers(&self) -> bool {
        self.starting() > 0 || self.wants_worker()
    }

    /// The ready workers that stay.
    pub(crate) fn up(&self) -> usize {
        self.workers.tally().up as usize
    }

    /// The workers that do nothing with what they were sent.
    pub(crate) fn stuck(&self) -> usize {
        self.workers.tally().stuck as usize
    }

    pub(super) fn starting(&self) -> usize {
        self.workers.tally().starting as usize
    }

    /// The workers that start, and can be counted on.
    fn coming(&self) -> usize {
        self.starting() - self.workers.hosts().trials().all
    }

    /// Whether as many workers are up as are wanted without a task, or one at least.
    pub(super) fn is_warm(&self) -> bool {
        self.workers.tally().up as usize >= self.least_workers().max(1)
    }

    pub(super) fn tell_if_warm(&mut self) {
        if self.is_warm() {
            self.warm_up = false;
            self.actions.push_back(Action::Warm);
        }
    }

    /// An idle worker with nothing left in the queue gets what was sent ahead to a busy one, or a
    /// part of what that one runs. Of the first ones that can give something it is the one that has
    /// most.
    fn rebalance(&mut self, now: Time) {
        let divides = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let helps = !self.are_enough_brisk();
        let is_any_helpable =
            (helps && self.workers.tally().helpable > 0) || divides(self.workers.divides_at());
        if !is_any_helpable || !self.may_help() {
            return;
        }
        let candidates = self.workers.to_be_helped(now, helps);
        let movable = |id: &WorkerId| self.workers.get(*id).map(Worker::movable);
        if let Some(id) = candidates.max_by_key(movable) {
            self.recall(id);
        }
    }

    /// Whether the next task would begin at once.
    pub(crate) fn would_begin(&self) -> bool {
        self.has_idle() && !self.are_enough_brisk()
    }

    /// Whether as many workers as there are CPUs run brief tasks and have more of them. One more
    /// could only take its CPU from another one.
    fn are_enough_brisk(&self) -> bool {
        self.tempo.is_brief() && self.workers.tally().brisk as usize >= self.config.cpus
    }

    fn has_idle(&self) -> bool {
        self.workers.first_open().is_some_and(|(load, _)| load == 0)
    }

    /// Whether an idle worker may be given what a busy one has. That one is asked first, and no
    /// other one before it has answered.
    fn may_help(&self) -> bool {
        self.has_idle() && self.workers.tally().asked == 0
    }

    /// When a busy worker is next to be helped by an idle one.
    pub(super) fn help_at(&self) -> Option<Time> {
        self.workers.divides_at().filter(|_| self.may_help())
    }

    pub(super) fn recall(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.recall != Recall::Asked)
        else {
            return;
        };
        let all = worker.gives_all_back();
        self.unanswered += usize::from(!worker.is_late());
        self.update(id, |worker| (worker.recall, worker.recalled_all) = (Recall::Asked, all));
        self.actions.push_back(Action::Recall { worker: id, all });
    }

    /// A task counts as running from now on.
    fn begin(&mut self, task: Option<TaskId>) {
        if let Some(task) = task {
            self.actions.push_back(Action::Begin(task));
        }
    }

    /// Takes the front task out; the next one becomes the running one.
    pub(super) fn drop_head(&mut self, now: Time, id: WorkerId) {
        let (head, next) = self.update(id, |worker| worker.drop_head(now)).unwrap_or_default();
        if let Some(head) = head {
            self.sent.remove(head.task.id);
        }
        self.head_dropped(now, id, next);
    }

    /// The front task has been taken out, and the next one has become the running one.
    pub(super) fn head_dropped(&mut self, now: Time, id: WorkerId, next: Option<TaskId>) {
        self.release_keys(id);
        self.begin(next);
        self.execute_sentence(now, id);
        self.end_if_spent(id);
        self.leave_if_due(now, id);
    }

    /// Takes a cancelled task out of the pipeline it was sent to.
    pub(super) fn cancel_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        let sent = self.workers.get(id).and_then(|worker| worker.pipeline.get(position));
        if let Some(task) = sent.map(|sent| sent.task.clone()) {
            self.fail(&task, Failure::Cancelled);
        }
        self.take_sent(now, id, position);
    }

    /// Takes a task that will not begin out of the pipeline it was sent to.
    pub(super) fn take_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        let sent = self.workers.get(id).and_then(|worker| worker.pipeline.get(position));
        if let Some(sent) = sent {
            self.queue.account(&sent.task, None);
        }
        if position == 0 {
            self.drop_head(now, id);
        } else {
            let sent = self.update(id, |worker| worker.remove(position)).flatten();
            if let Some(sent) = sent {
                self.sent.remove(sent.task.id);
            }
            self.release_keys(id);
        }
    }

    pub(super) fn find_sent(&self, task: TaskId) -> Option<(WorkerId, usize)> {
        let &id = self.sent.get(task)?;
        let position = self.pipeline(id).position(|sent| sent == task)?;
        Some((id, position))
    }
}
