//! `service`, as its clients see it.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests
#![allow(clippy::similar_names)] // `status` and `stats` are what the service calls them

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_mins(1);

const PROGRAM: &str = env!("CARGO_BIN_EXE_service");

/// The running program.
struct Service {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Service {
    async fn start(workers: &str, queue: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["0", workers, queue]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, output.next_line()).await.unwrap().unwrap().unwrap();
        let address = line.strip_prefix("listening on http://").expect(&line).parse().unwrap();
        Self { process, output, address }
    }

    /// Sends a request; the connection stays open as long as the stream lives.
    async fn send(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        receive(self.send(path).await).await
    }

    /// Asks for the statistics until they are as wanted.
    async fn stats_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (status, stats) = self.get("/stats").await;
            assert_eq!(status, 200);
            if wanted(&stats) {
                return stats;
            }
            assert!(start.elapsed() < DEADLINE, "never {what}: {stats}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().unwrap().try_into().unwrap());
        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM).unwrap();
    }

    /// Everything that it still prints, and its exit code.
    async fn end(mut self) -> (String, Option<i32>) {
        let mut text = String::new();
        while let Some(line) = timeout(DEADLINE, self.output.next_line()).await.unwrap().unwrap() {
            text += &(line + "\n");
        }
        let status = timeout(DEADLINE, self.process.wait()).await.unwrap().unwrap();
        (text, status.code())
    }
}

async fn receive(mut stream: TcpStream) -> (u16, Value) {
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect(&response);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).expect(&response))
}

fn worker_pids(stats: &Value) -> Vec<u64> {
    let workers = stats["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["pid"].as_u64().unwrap()).collect()
}

fn busy_pids(stats: &Value) -> Vec<u64> {
    let workers = stats["workers"].as_array().unwrap().iter();
    let busy = workers.filter(|worker| worker["state"] == "Busy");
    busy.map(|worker| worker["pid"].as_u64().unwrap()).collect()
}

/// A zombie has no command line, so it does not count.
fn is_worker(pid: u64) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("--procpool-worker")
}

#[tokio::test]
async fn a_computation_is_answered() {
    let service = Service::start("1", "10").await;
    let (status, body) = service.get("/factor/600851475143").await;
    assert_eq!(status, 200);
    assert_eq!(body["factors"], serde_json::json!([71, 839, 1471, 6857]));
}

#[tokio::test]
async fn a_crash_is_one_failed_request_and_the_others_go_on() {
    let service = Service::start("3", "10").await;
    let _endless = service.send("/slow?ms=600000").await;
    let stats = service.stats_when("running", |stats| stats["running"] == 1).await;
    let busy = busy_pids(&stats);
    let slow = service.send("/slow?ms=500").await;

    let (status, body) = service.get("/crash").await;
    assert_eq!(status, 500);
    assert_eq!(body["signal"], 6);
    let (pid, message) = (&body["pid"], body["error"].as_str().unwrap());
    assert!(pid.is_u64() && message.contains(&format!("pid {pid}")), "{body}");

    let stats = service.get("/stats").await.1;
    assert!(busy_pids(&stats).contains(&busy[0]), "{busy:?} no longer runs: {stats}");
    let (status, body) = receive(slow).await;
    assert_eq!((status, &body["ms"]), (200, &Value::from(500)));
    assert_eq!(service.get("/factor/35").await.0, 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_task() {
    let service = Service::start("1", "10").await;
    let slow = service.send("/slow?ms=600000").await;
    service.stats_when("running", |stats| stats["running"] == 1).await;
    drop(slow);
    let ended = |stats: &Value| stats["running"] == 0 && stats["cancelled"] == 1;
    service.stats_when("cancelled", ended).await;
    assert_eq!(service.get("/factor/35").await.0, 200);
}

#[tokio::test]
async fn a_full_queue_is_a_503_at_once() {
    let service = Service::start("1", "1").await;
    let _running = service.send("/slow?ms=600000").await;
    service.stats_when("running", |stats| stats["running"] == 1).await;
    let _waiting = service.send("/slow?ms=600000").await;
    service.stats_when("waiting", |stats| stats["waiting"] == 1).await;
    let (status, body) = service.get("/factor/35").await;
    assert_eq!(status, 503);
    assert!(body["error"].as_str().unwrap().contains("queue is full"), "{body}");
}

#[tokio::test]
async fn sigterm_finishes_what_runs_and_leaves_no_worker() {
    let service = Service::start("2", "10").await;
    let slow = service.send("/slow?ms=1500").await;
    let stats = service.stats_when("running", |stats| stats["running"] == 1).await;
    let pids = worker_pids(&stats);
    assert!(!pids.is_empty() && pids.iter().any(|&pid| is_worker(pid)), "{stats}");

    service.terminate();
    assert_eq!(receive(slow).await.0, 200);
    let (output, code) = service.end().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("tasks: 1 finished, 0 cancelled"), "{output}");
    let left: Vec<_> = pids.into_iter().filter(|&pid| is_worker(pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn wrong_arguments_are_explained() {
    let output = Command::new(PROGRAM).arg("http").output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage:"), "{output:?}");
}
