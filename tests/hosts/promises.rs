//! What a pool promises holds on a host that `ssh` reaches.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use procpool::{OutputLine, ProcessPoolExecutor, StartMethod, WorkerOutput, current};

use crate::common::{exit_at_first_attempt, in_time, pid};
use crate::far::{Far, Trace, let_go, nothing_runs, stay};

pub(crate) fn double(n: u64) -> u64 {
    n * 2
}

fn panic_of(text: String) {
    panic!("{text}");
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

pub(crate) fn die_of(signal: i32, last_words: String) {
    eprintln!("{last_words}");
    let pid = rustix::process::getpid();
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    std::thread::park();
}

fn tell(values: u64) -> u64 {
    for n in 0..values {
        current().progress(n + 1, values, "telling");
        current().emit(n).unwrap();
        println!("line {n}");
    }
    values
}

procpool::register!(double, panic_of, echo, die_of, tell, exit_at_first_attempt);

#[tokio::test]
async fn tasks_run_on_a_host_of_ssh_as_they_do_here() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let keep = move |line: OutputLine<'_>| seen.lock().unwrap().push(line.text.to_owned());
    let builder = ProcessPoolExecutor::builder().hosts([far.host(2)]);
    let builder = builder.worker_output(WorkerOutput::lines(keep));
    let pool = builder.start_method(StartMethod::ForkServer).build().unwrap();
    let doubled: Vec<_> = in_time(pool.map(double, 0..1_000).collect()).await;
    assert!(doubled.into_iter().map(Result::unwrap).eq((0..1_000).map(|n| n * 2)));
    let large: Vec<u8> = (0..3_u32 << 20).map(|n| (n >> 8).to_le_bytes()[0]).collect();
    assert!(in_time(pool.run(echo, large.clone())).await.unwrap() == large);
    let error = in_time(pool.run(panic_of, "on purpose".to_owned())).await.unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("on purpose"), "{error}");

    let task = pool.submit(tell, 50).await.unwrap();
    let (values, progress) = (task.emitted::<u64>(), task.progress());
    let (told, values, reports) =
        tokio::join!(in_time(task), values.collect::<Vec<_>>(), progress.collect::<Vec<_>>());
    assert_eq!(told.unwrap(), 50);
    assert!(values.into_iter().map(Result::unwrap).eq(0..50));
    let last = reports.last().unwrap();
    assert_eq!((last.done, last.total, &*last.message), (50, 50, "telling"));

    assert_eq!(in_time(pool.task(exit_at_first_attempt, ()).retries(1).run()).await.unwrap(), 2);
    let mut homes = BTreeSet::new();
    for _ in 0..10 {
        homes.insert(in_time(pool.task(pid, ()).sticky("key").run()).await.unwrap());
    }
    assert_eq!(homes.len(), 1);
    in_time(pool.shutdown()).await;
    nothing_runs(&far).await;
    assert!(far.clients().is_empty());
    let lines = lines.lock().unwrap();
    let printed = lines.iter().filter(|line| line.starts_with("line "));
    assert!(printed.eq(&(0..50).map(|n| format!("line {n}")).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_death_on_a_host_of_ssh_is_told_as_it_was() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let (place, seen) = (Far::place(), far.seen());
    let pool = ProcessPoolExecutor::builder().hosts([far.host(2)]).build().unwrap();
    let task = pool.submit(stay, (place, "beside".to_owned())).await.unwrap();
    let beside = Trace::of(&seen, "beside", 1).await;
    let victim = in_time(pool.run(pid, ())).await.unwrap();
    for signal in [9, 6] {
        let words = format!("last words before {signal}");
        let error = in_time(pool.run(die_of, (signal, words.clone()))).await.unwrap_err();
        let death = error.worker_death().unwrap_or_else(|| panic!("{error}"));
        assert_eq!((death.signal(), death.host()), (Some(signal), Some("node1")), "{error}");
        assert!(death.stderr_tail().contains(&words), "{death:?}");
        assert_eq!(death.pid() == victim, signal == 9, "it is called so there");
        assert!(error.to_string().contains("node1"), "{error}");
    }
    let_go(&seen);
    assert_eq!(in_time(task).await.unwrap(), beside.pid, "the others have not noticed");
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_task_on_a_host_of_ssh_can_be_ended_and_comes_in_its_turn() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let (place, seen) = (Far::place(), far.seen());
    let builder = ProcessPoolExecutor::builder().grace_period(Duration::from_millis(20));
    let pool = builder.hosts([far.host(1)]).build().unwrap();
    let stay = |name: &str| pool.task(stay, (place.clone(), name.to_owned()));
    let task = stay("late").timeout(Duration::from_millis(50)).submit().await.unwrap();
    assert!(in_time(task).await.unwrap_err().is_timeout());
    let task = stay("aborted").submit().await.unwrap();
    Trace::of(&seen, "aborted", 1).await;
    let low = stay("low").submit().await.unwrap();
    let high = stay("high").priority(1).submit().await.unwrap();
    task.abort();
    assert!(in_time(task).await.unwrap_err().is_cancelled());
    let_go(&seen);
    let pids = [in_time(low).await.unwrap(), in_time(high).await.unwrap()];
    assert_eq!(pids[0], pids[1]);
    let [low, high] = ["low", "high"].map(|name| Trace::find(&seen, name, 1).unwrap());
    assert!(high.last < low.first, "{high:?} {low:?}");
    for name in ["late", "aborted"] {
        let ended = Trace::find(&seen, name, 1).unwrap();
        assert!(!ended.has_ended && ended.last < high.first, "{ended:?} {high:?}");
    }
    in_time(pool.shutdown()).await;
}
