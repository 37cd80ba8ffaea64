//! The end of a service that has workers on another host: nothing runs for nobody.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use procpool::{Host, ProcessPoolExecutor};

use crate::common::{in_time, kill, pid, process_exited, wait_until};
use crate::far::{Far, LEASE, Trace, nothing_runs, stay};

/// The words that reach the host, one a line.
const WORDS: &str = "PROCPOOL_TEST_WORDS";
/// Where its task leaves a file.
const PLACE: &str = "PROCPOOL_TEST_PLACE";
/// Its lease.
const SECONDS: &str = "PROCPOOL_TEST_LEASE";

/// The tests below run this in a process of its own, which they kill.
#[tokio::test]
#[ignore = "it waits until it is killed"]
async fn a_service_that_is_killed() {
    let [words, place, seconds] = [WORDS, PLACE, SECONDS].map(|name| std::env::var(name).unwrap());
    let host = Host::command(words.lines())
        .workers(2)
        .lease(Duration::from_secs(seconds.parse().unwrap()));
    let pool = ProcessPoolExecutor::builder().hosts([host]).build().unwrap();
    let busy = pool.submit(stay, (place.into(), "busy".to_owned())).await.unwrap();
    in_time(busy.started()).await;
    in_time(pool.run(pid, ())).await.unwrap(); // which leaves an idle worker
    busy.await.unwrap();
}

/// A service as it is killed, and not before.
pub(crate) struct Service(Child);

impl Service {
    pub(crate) fn start(words: &str, place: &Path, lease: Duration) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "service::a_service_that_is_killed"]);
        command.env(WORDS, words).env(PLACE, place).env(SECONDS, lease.as_secs().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(&mut self) -> Instant {
        self.0.kill().unwrap();
        let killed = Instant::now();
        self.0.wait().unwrap();
        killed
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        self.0.wait().unwrap();
    }
}

/// A service with a busy worker and an idle one there.
async fn serve(far: &Far, lease: Duration) -> Service {
    let words = far.words().into_iter().map(|word| word.into_string().unwrap());
    let service = Service::start(&words.collect::<Vec<_>>().join("\n"), &Far::place(), lease);
    Trace::of(&far.seen(), "busy", 1).await;
    wait_until("there are an agent and two workers", || {
        let ours = far.processes();
        ours.iter().filter(|process| process.command.contains("--procpool-")).count() == 3
    })
    .await;
    service
}

#[tokio::test]
async fn nothing_is_left_of_a_service_that_is_killed() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let mut service = serve(&far, 30 * LEASE).await;
    let killed = service.kill();
    let took = nothing_runs(&far).await - killed;
    assert!(took < 2 * LEASE, "it took {took:?}, as if nobody had told the host");
    wait_until("no `ssh` is left", || far.clients().is_empty()).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_service_that_is_killed_while_its_network_is_lost() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let mut service = serve(&far, LEASE).await;
    far.drop_packets();
    let killed = service.kill();
    let clients = far.clients();
    let took = nothing_runs(&far).await - killed;
    assert!(took < 2 * LEASE, "it took {took:?}");
    // It waits for an answer, as it was not told for how long.
    for client in &clients {
        kill(*client);
    }
    wait_until("no `ssh` is left", || clients.iter().all(|client| process_exited(*client))).await;
}
