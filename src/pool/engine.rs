//! A pool that runs: what it has in common with its handles, its helm, and its supervisor.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::base::{HostId, WorkerId};
use crate::parent::birth::HostSite;
use crate::parent::message::{HostListener, HostsChange, Listener, Message};
use crate::pool::commons::{Command, Commons, HostNews};
use crate::pool::exits::ExitHook;
use crate::pool::helm::{BATCH, Helm, HelmTimer};
use crate::pool::shutdown::ShutdownReport;
use crate::pool::supervisor::Supervisor;

/// A pool, as those who may take its helm hold it.
pub(crate) struct Engine {
    pub(crate) commons: Arc<Commons>,
    helm: Helm<Supervisor>,
}

impl Engine {
    pub(crate) fn new(commons: Arc<Commons>) -> Arc<Self> {
        Arc::new(Self { commons, helm: Helm::default() })
    }

    /// False if the pool has ended.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.commons.send(command)
    }

    /// As [`Self::send`], of a caller who will wait for what comes of it.
    pub(crate) fn send_and_wait(&self, command: Command) -> bool {
        let handed_in = self.helm.hand_in(&self.commons, command);
        handed_in.map_or_else(|command| self.send(command), |()| true)
    }

    /// What its supervisor still keeps of tasks, if it has not ended.
    #[cfg(test)]
    pub(crate) fn leftovers(&self) -> Option<Vec<&'static str>> {
        self.helm.look(Supervisor::leftovers)
    }
}

impl Listener for Engine {
    fn bring(&self, worker: WorkerId, messages: &mut Vec<Message>) {
        self.helm.bring(&self.commons, worker, messages);
    }
}

impl HostListener for Engine {
    fn host_lost(&self, host: HostId, safe_in: Duration) {
        self.commons.host_lost(host, safe_in);
    }

    fn host_has(&self, host: HostId, workers: usize) {
        self.send(Command::HostHas(host, workers));
    }

    fn hosts_changed(&self, hosts: &[HostId], name: &Arc<str>, change: HostsChange) {
        let (hosts, name) = (hosts.to_vec(), Arc::clone(name));
        self.commons.tell_of_hosts(HostNews::Changed { hosts, name, change });
    }
}

/// Runs a pool to its end. The pool also ends if the future is dropped, be it polled or not.
pub(crate) fn run(
    engine: Arc<Engine>,
    sites: Vec<HostSite>,
    hook: Option<Arc<ExitHook>>,
    runtime: Handle,
    commands: mpsc::UnboundedReceiver<Command>,
    closed: watch::Sender<Option<ShutdownReport>>,
) -> impl Future<Output = ()> + Send {
    let (reports, incoming) = mpsc::channel(BATCH);
    let (commons, own) = (Arc::clone(&engine.commons), Arc::clone(&engine));
    let mut supervisor = Supervisor::new(commons, own, sites.clone(), hook, runtime, reports);
    let next_timeout = supervisor.open();
    engine.helm.begin(supervisor, next_timeout, commands, incoming);
    drive(Term(engine), sites, closed)
}

/// How long there is a task that drives the supervisor. Without it the pool ends.
struct Term(Arc<Engine>);

impl Drop for Term {
    fn drop(&mut self) {
        self.0.helm.abandon();
    }
}

async fn drive(term: Term, sites: Vec<HostSite>, closed: watch::Sender<Option<ShutdownReport>>) {
    let Engine { commons, helm } = &*term.0;
    let mut timer = HelmTimer::new(commons.clock);
    poll_fn(|cx| helm.poll(commons, cx, &mut timer)).await;
    join_all(sites.iter().map(|site| site.start.stop())).await;
    join_all(sites.iter().map(|site| site.launch.program.cgroups_removed())).await;
    closed.send_replace(poll_fn(|cx| helm.poll_end(cx)).await);
}
