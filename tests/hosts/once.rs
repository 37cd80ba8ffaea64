//! Every task is resolved once, and begun as often as it may be, whatever befalls its hosts.

use std::path::PathBuf;
use std::time::Duration;

use procpool::{Host, ProcessPoolExecutor, TaskHandle};

use crate::common::{in_time, kill, wait_until};
use crate::far::{Far, LEASE, Trace, let_go, take};

const TASKS: u32 = 60;
/// More than it takes: a task is lost with its host, and not often.
const RETRIES: u32 = 5;
/// What takes so long ends when it is let go, or with its worker.
const LONG: Duration = Duration::from_mins(2);

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

struct Asked {
    name: String,
    retries: u32,
    handle: TaskHandle<u32>,
}

/// Each task is quick, but for one in ten, of which the first attempt never ends by itself.
async fn ask(pool: &ProcessPoolExecutor, dice: &mut Dice) -> Vec<Asked> {
    let mut asked = Vec::new();
    for number in 0..TASKS {
        let (name, is_long) = (format!("task-{number}"), number % 10 == 0);
        let retries = if is_long || dice.below(2) == 0 { RETRIES } else { 0 };
        let first = if is_long { LONG } else { Duration::from_millis(dice.below(60)) };
        let task = pool.task(take, (Far::place(), name.clone(), first)).retries(retries);
        asked.push(Asked { name, retries, handle: task.submit().await.unwrap() });
    }
    asked
}

/// The attempts of a task that have begun, on any host.
fn attempts(seen: &[PathBuf], name: &str) -> Vec<Trace> {
    let of = |attempt| seen.iter().filter_map(move |seen| Trace::find(seen, name, attempt));
    let all: Vec<_> = (1..=RETRIES + 1).flat_map(of).collect();
    assert!(all.iter().all(|trace| trace.begins == 1), "{name}: {all:?}");
    all
}

/// The process that has the workers there.
fn agent(far: &Far) -> Option<u32> {
    let all = far.processes().into_iter();
    let mut agents = all.filter(|process| process.command.contains("--procpool-agent"));
    agents.next().map(|agent| agent.pid)
}

/// At a random moment for each, the first loses its network for ever, the second only for longer
/// than its lease, the third its agent, and the last goes down.
async fn befall(hosts: &mut [Far; 4], dice: &mut Dice) {
    let mut moment = || tokio::time::sleep(Duration::from_millis(dice.below(100)));
    let [first, second, third, last] = hosts;
    moment().await;
    first.drop_packets();
    moment().await;
    second.drop_packets();
    moment().await;
    wait_until("there is an agent", || agent(third).is_some()).await;
    kill(agent(third).unwrap());
    moment().await;
    last.end_processes();
    tokio::time::sleep(LEASE + LEASE / 4).await;
    second.pass_packets();
}

#[tokio::test]
async fn every_task_is_resolved_once_whatever_befalls_its_hosts() {
    let Some(mut hosts) = Far::start_all(["node1", "node2", "node3", "node4"]) else {
        return;
    };
    let number = u64::from(std::process::id());
    let mut dice = Dice(number);
    let seen: Vec<_> = hosts.iter().map(Far::seen).collect();
    let leased: [Host; 4] = std::array::from_fn(|n| hosts[n].leased(2));
    let pool = ProcessPoolExecutor::builder().hosts(leased).build().unwrap();
    let asked = ask(&pool, &mut dice).await;
    // All hosts are at work.
    wait_until("all hosts are at work", || {
        seen.iter().all(|seen| std::fs::read_dir(seen).is_ok_and(|files| files.count() > 2))
    })
    .await;
    befall(&mut hosts, &mut dice).await;
    seen[1..3].iter().for_each(|seen| let_go(seen)); // those that are there again
    let mut lost = 0;
    for Asked { name, retries, handle } in asked {
        let result = in_time(handle).await;
        let all = attempts(&seen, &name);
        let told = format!("dice {number}, {name} with {retries} retries, {result:?}: {all:?}");
        assert!(all.len() <= retries as usize + 1, "{told}");
        let in_turn = |pair: &[Trace]| pair[0].last < pair[1].first; // a reply may be lost
        assert!(all.windows(2).all(in_turn), "{told}");
        match result {
            Ok(pid) => {
                assert!(all.last().is_some_and(|it| it.has_ended && it.pid == pid), "{told}");
            }
            Err(error) => {
                assert!(error.is_host_lost() && retries == 0, "{told}");
                lost += 1;
            }
        }
    }
    let outcomes = pool.stats().outcomes;
    assert_eq!((outcomes.returned, outcomes.host_lost), (u64::from(TASKS) - lost, lost));
    assert!(lost <= 8, "there were only two workers on each host, and {lost} tasks were lost");
    in_time(pool.shutdown()).await;
}
