//! `simulation`: what a task emits is on its way to the browser while the task still runs, and a
//! browser that goes away ends it.

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Answer, Service, send, soon, worker_pids};

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulation");

/// This takes years.
const ENDLESS: &str = "/run?planets=3&steps=1000000000000";

async fn start(args: &[&str]) -> Service {
    Service::start(PROGRAM, &[&["0"], args].concat()).await
}

async fn run(service: &Service, path: &str) -> Answer {
    let answer = service.request("GET", path, Vec::new()).await;
    assert_eq!(
        (answer.status, &answer.headers["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    answer
}

/// The next one that is no progress.
async fn next(answer: &mut Answer) -> (String, Value) {
    loop {
        let (name, data) = answer.next_event().await.expect("the stream has ended");
        if name != "progress" {
            return (name, data);
        }
    }
}

/// The first one that is neither a frame nor progress.
async fn end(answer: &mut Answer) -> (String, Value) {
    let last = async {
        loop {
            let (name, data) = next(answer).await;
            if name != "frame" {
                return (name, data);
            }
        }
    };
    soon(last).await
}

async fn assert_frames(answer: &mut Answer, steps: impl IntoIterator<Item = u64>) {
    for step in steps {
        let (name, data) = next(answer).await;
        assert_eq!((name.as_str(), &data["step"]), ("frame", &step.into()), "{data}");
    }
}

#[tokio::test]
async fn all_frames_come_in_order_and_then_the_result() {
    let service = start(&["1"]).await;
    let mut answer = run(&service, "/run?planets=2&steps=45").await;
    assert_frames(&mut answer, [0, 10, 20, 30, 40]).await;
    let (name, data) = next(&mut answer).await;
    assert_eq!(
        (name.as_str(), &data["steps"], &data["complete"]),
        ("end", &45.into(), &true.into())
    );
    assert!(data["drift"].as_f64().unwrap().abs() < 1e-3, "{data}");
    assert!(answer.next_event().await.is_none());

    let (status, page) = service.request("GET", "/", Vec::new()).await.bytes().await;
    let page = str::from_utf8(&page).unwrap();
    assert!(status == 200 && page.contains("new EventSource(\"/run\""), "{page}");
    // Without it a visitor who is refused would look at an empty page.
    assert!(page.contains("source.onerror = "), "{page}");
}

#[tokio::test]
async fn a_client_sees_frames_and_progress_while_the_task_runs() {
    let service = start(&["1"]).await;
    let mut answer = run(&service, ENDLESS).await;
    let (mut frames, mut reports) = (0, 0);
    while frames < 3 || reports < 1 {
        match answer.next_event().await.unwrap() {
            (name, data) if name == "progress" => {
                assert_eq!(data["total"], 1_000_000_000_000_u64);
                reports += 1;
            }
            (name, _) => frames += u32::from(name == "frame"),
        }
    }
    service.stats_when(|pool| pool["running"] == 1).await;
}

/// The task sees that nobody looks any more, and returns. So its worker serves the next client.
#[tokio::test]
async fn a_client_that_leaves_ends_the_task_and_spares_its_worker() {
    let service = start(&["1"]).await;
    let mut answer = run(&service, ENDLESS).await;
    assert_frames(&mut answer, [0, 10]).await;
    let workers = worker_pids(&service.stats_when(|pool| pool["running"] == 1).await);
    drop(answer);
    let stats = service.stats_when(|pool| pool["running"] == 0).await;
    assert_eq!((worker_pids(&stats), &stats["pool"]["worker_deaths"]), (workers, &0.into()));
    assert_frames(&mut run(&service, "/run?steps=1").await, [0]).await;
}

#[tokio::test]
async fn nobody_is_promised_more_than_the_workers_can_do() {
    let service = start(&["1"]).await;
    let _running = run(&service, ENDLESS).await;
    service.stats_when(|pool| pool["running"] == 1).await;
    let waiting = run(&service, ENDLESS).await;
    service.stats_when(|pool| pool["waiting"] == 1).await;
    let (status, text) = service.request("GET", "/run", Vec::new()).await.bytes().await;
    assert!(status == 503 && str::from_utf8(&text).unwrap().contains("queue is full"), "{text:?}");

    drop(waiting); // who leaves the queue gives its place to others
    let left = |pool: &Value| pool["waiting"] == 0 && pool["cancelled"] == 1;
    assert_eq!(service.stats_when(left).await["pool"]["running"], 1);
}

#[tokio::test]
async fn a_failure_comes_after_what_was_emitted_before_it() {
    let service = start(&["1"]).await;
    let mut answer = run(&service, "/run?planets=1&push=0&steps=100000").await; // it falls
    assert_frames(&mut answer, (0..5).map(|frame| frame * 10)).await;
    assert_eq!(
        end(&mut answer).await,
        ("failure".to_owned(), "planet 1 has fallen into the sun".into())
    );

    let mut answer = run(&service, ENDLESS).await;
    assert_frames(&mut answer, [0, 10]).await;
    let stats = service.stats_when(|pool| pool["running"] == 1).await;
    send(worker_pids(&stats)[0], Signal::KILL);
    assert_eq!(end(&mut answer).await, ("failure".to_owned(), "worker_death".into()));
}

#[tokio::test]
async fn sigterm_ends_simulations_in_good_order() {
    let mut service = start(&["1", "0"]).await;
    let mut answer = run(&service, ENDLESS).await;
    assert_frames(&mut answer, [0]).await;
    service.terminate();
    assert_eq!(service.next_line().await, "stopping; simulations may go on for 0ns");
    let (name, data) = end(&mut answer).await;
    assert_eq!((name.as_str(), &data["complete"]), ("end", &false.into()));
    assert!(answer.next_event().await.is_none());
    let (output, code) = service.end().await;
    assert_eq!((code, output.as_str()), (Some(0), "1 simulations finished, 0 were killed\n"));
}

#[tokio::test]
async fn sigterm_does_not_wait_for_ever_for_a_client() {
    let mut service = start(&["1", "0"]).await;
    let _client = service.stalled_client().await;
    service.get("/stats").await; // so the first one is accepted, too
    service.terminate();
    assert_eq!(service.next_line().await, "stopping; simulations may go on for 0ns");
    let (output, code) = service.end().await;
    assert!(code == Some(0) && output.starts_with("some clients took too long\n"), "{output}");
}
