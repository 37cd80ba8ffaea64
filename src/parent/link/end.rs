//! How a link ends: with what its worker has left behind.

use super::{Arc, Duration, Ended, Link, LinkFailure, LinkStage, PoolProcess, Why};
use crate::error::{DeathReport, HostLoss, WorkerDeath};
use crate::parent::output::Drained;

/// How long a worker that has left waits for its output to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Link<'_> {
    /// Reads what the worker has left behind, and reaps it.
    pub(super) async fn end(mut self) -> Ended {
        let before = self.inbox.len();
        let _ = self.stdout.read_available(&mut self.inbox);
        let count = self.inbox.len() - before;
        if let Some(window) = &mut self.window {
            window.receive(&mut self.inbox, count);
            window.take(&mut self.inbox);
        }
        self.receive().await;
        drop(self.exited.take());
        let drained = (&mut self.stderr).await.ok();
        if matches!(self.stage, LinkStage::Goodbye(_)) {
            return self.end_well(drained).await;
        }
        if let Some(reason) = self.body.lost() {
            return self.end_lost(reason);
        }
        let exit = self.body.reap().await;
        let Drained { tail: stderr_tail, own: task_output, .. } = drained.unwrap_or_default();
        let remark = match (&self.stage, self.told.killed) {
            (LinkStage::Failed(LinkFailure::Protocol(remark)), _) => Some(remark.clone()),
            (_, Some(reason)) => Some(reason.remark().to_owned()),
            _ => self.launch.unknown_end(exit),
        };
        let process = PoolProcess::Worker(self.pid);
        let death = DeathReport {
            process,
            worker: self.uplink.worker,
            exit: exit.unwrap_or_default(),
            stderr_tail,
            task_output,
            limits: self.launch.program.limits,
            task_limits: None,
            host: None,
            remark,
        };
        let death = WorkerDeath::new(death).in_own_cgroup(|| self.body.was_oom());
        if self.was_ready {
            let is_heard = !matches!(self.stage, LinkStage::Failed(_));
            let page = self.body.last_words().map(Box::new);
            return Ended::Died { death, is_heard, page };
        }
        let silent = self.is_silent();
        Ended::NotStarted(match self.stage {
            LinkStage::Failed(LinkFailure::Start(error)) => error,
            _ if self.told.killed == Some(Why::TooLate) => self.launch.timed_out(process, !silent),
            _ => self.launch.died(death, silent),
        })
    }

    /// It was lost with its host.
    fn end_lost(&self, reason: Arc<str>) -> Ended {
        let host = self.launch.host.clone().unwrap_or_default();
        let loss = HostLoss::new(host, reason, self.uplink.worker, self.pid);
        if self.was_ready { Ended::HostLost(loss) } else { Ended::NotStarted(loss.into()) }
    }

    /// It has said goodbye, so nobody asks how its process has ended.
    async fn end_well(mut self, drained: Option<Drained>) -> Ended {
        self.body.reap_later();
        // The program may end after a shutdown, and what was printed must not end with it.
        if let Some(written) = drained.and_then(|drained| drained.written) {
            futures::future::select(written, self.uplink.clock.sleep(LAST_WORDS)).await;
        }
        match self.stage {
            LinkStage::Goodbye(exit_reply) => Ended::Left(exit_reply),
            _ => Ended::Left(None), // not reached
        }
    }
}
