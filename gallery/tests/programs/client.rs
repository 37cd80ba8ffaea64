//! A service as a process, and an HTTP client.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Nothing takes so long, unless it hangs.
const DEADLINE: Duration = Duration::from_mins(1);

/// The result, before it is too late.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it hangs")
}

/// A running program that has said where it listens.
pub(crate) struct Service {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Service {
    pub(crate) async fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = soon(output.next_line()).await.unwrap().expect("it has ended");
        let address = line.strip_prefix("listening on http://").expect(&line).parse().unwrap();
        Self { process, output, address }
    }

    /// Sends a request, and waits for the head of the answer.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Answer> + use<> {
        self.request_as(None, method, path, body)
    }

    /// As [`request`](Self::request), by this tenant.
    pub(crate) fn request_as(
        &self,
        tenant: Option<&str>,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> impl Future<Output = Answer> + use<> {
        let mut request = Request::builder().method(method).uri(path).header("host", "test");
        if let Some(tenant) = tenant {
            request = request.header("x-tenant", tenant);
        }
        let request = request.body(Full::<Bytes>::new(body.into())).unwrap();
        let address = self.address;
        async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let mut connections = JoinSet::new();
            connections.spawn(async { drop(connection.await) }); // it breaks if it is reset
            let answer = soon(sender.send_request(request)).await.expect("no answer");
            let status = answer.status().as_u16();
            let (head, body) = answer.into_parts();
            Answer {
                status,
                headers: head.headers,
                body,
                begun: Vec::new(),
                _connection: connections,
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.request("GET", path, Vec::new()).await.json().await
    }

    /// A request that goes on until it is aborted, as by a client that goes away.
    pub(crate) fn spawn(&self, method: &str, path: &str, body: Vec<u8>) -> JoinHandle<Answer> {
        tokio::spawn(self.request(method, path, body))
    }

    /// The service's own figures, as soon as they are as wanted.
    pub(crate) async fn stats_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let ask = async {
            loop {
                let (_, stats) = self.get("/stats").await;
                if wanted(&stats["pool"]) {
                    return stats;
                }
                sleep(Duration::from_millis(2)).await; // leaves the cores to what is waited for
            }
        };
        soon(ask).await
    }

    pub(crate) async fn next_line(&mut self) -> String {
        soon(self.output.next_line()).await.unwrap().expect("it has ended")
    }

    /// A client that sends half a request, and then nothing.
    pub(crate) async fn stalled_client(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /stats HTTP/1.1\r\n").await.unwrap();
        stream
    }

    pub(crate) fn terminate(&self) {
        send(self.process.id().unwrap(), Signal::TERM);
    }

    /// Everything that it still prints, and its exit code.
    pub(crate) async fn end(mut self) -> (String, Option<i32>) {
        let mut text = String::new();
        while let Some(line) = soon(self.output.next_line()).await.unwrap() {
            text += &(line + "\n");
        }
        (text, soon(self.process.wait()).await.unwrap().code())
    }
}

/// An answer, of which the body may not have come yet. Its connection is closed when it is dropped.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// What has come of the next event.
    begun: Vec<u8>,
    _connection: JoinSet<()>,
}

impl Answer {
    /// The name and the data of the next server-sent event; `None` when the body is over.
    pub(crate) async fn next_event(&mut self) -> Option<(String, Value)> {
        const END: &[u8] = b"\n\n";
        loop {
            if let Some(end) = self.begun.windows(END.len()).position(|bytes| bytes == END) {
                let rest = self.begun.split_off(end + END.len());
                let text = String::from_utf8(std::mem::replace(&mut self.begun, rest)).unwrap();
                let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
                let data = serde_json::from_str(field("data: ").expect(&text)).unwrap();
                return Some((field("event: ").expect(&text).to_owned(), data));
            }
            let frame = soon(self.body.frame()).await?.expect("it breaks off");
            self.begun.extend(frame.into_data().unwrap());
        }
    }

    pub(crate) async fn bytes(self) -> (u16, Bytes) {
        let body = soon(self.body.collect()).await.expect("it breaks off");
        (self.status, body.to_bytes())
    }

    pub(crate) async fn json(self) -> (u16, Value) {
        let (status, body) = self.bytes().await;
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{status} {body:?}")))
    }
}

pub(crate) fn send<P: TryInto<i32, Error: Debug>>(pid: P, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

pub(crate) fn worker_pids(stats: &Value) -> Vec<u64> {
    let workers = stats["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["pid"].as_u64().unwrap()).collect()
}

/// A zombie has no command line, so it does not count.
pub(crate) fn is_worker(pid: u64) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("--procpool-worker")
}
