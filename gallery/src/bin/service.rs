//! An HTTP service that leaves its computing to worker processes.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin service -- 8080 &
//! $ curl localhost:8080/factor/600851475143
//! $ curl localhost:8080/crash                  # 500, and everybody else is served as before
//! $ curl -m 1 'localhost:8080/slow?ms=5000'    # the client gives up, so the task is ended
//! $ curl localhost:8080/stats
//! $ kill %1                                    # finishes the running requests, then leaves
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use procpool::{ProcessPoolExecutor, Shutdown, SubmitError, SubmitErrorKind, TaskError, TaskFn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

#[path = "../../../examples/factoring/mod.rs"]
mod factoring;

/// A request that takes longer is given up, and its task is ended.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// What still runs so long after SIGTERM is cut off.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A task that stands for a long computation.
fn slow(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// A task that takes its process with it.
fn crash() {
    std::process::abort()
}

procpool::register!(factoring::factors, slow, crash);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some(settings) = Settings::from_args(std::env::args().skip(1)) else {
        eprintln!("usage: service [PORT [WORKERS [QUEUE]]]");
        return ExitCode::from(2);
    };
    match serve(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    /// Zero lets the system choose.
    port: u16,
    /// As many as there are CPUs, unless given.
    workers: Option<usize>,
    /// How many requests may wait for a worker; all others are told to come back later.
    queue: usize,
}

impl Settings {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let port = args.next().map_or(Ok(0), |arg| arg.parse()).ok()?;
        let workers = args.next().map(|arg| arg.parse()).transpose().ok()?;
        let queue = args.next().map_or(Ok(100), |arg| arg.parse()).ok()?;
        args.next().is_none().then_some(Self { port, workers, queue })
    }
}

#[tokio::main]
async fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut builder = ProcessPoolExecutor::builder().queue_capacity(settings.queue);
    if let Some(workers) = settings.workers {
        builder = builder.max_workers(workers);
    }
    let pool = builder.build()?;
    pool.ready().await?; // what is wrong with the workers is better known before the first request

    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes(pool.clone())).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());

    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    println!("stopping; running requests may finish");
    let _ = stop.send(()); // accept no more
    if timeout(DRAIN_LIMIT, server).await.is_err() {
        println!("some requests took too long");
    }
    let report = pool.shutdown_with(Shutdown::new().within(DRAIN_LIMIT)).await;
    println!(
        "tasks: {} finished, {} cancelled, {} of them killed at the end",
        report.finished, report.cancelled, report.killed
    );
    Ok(())
}

fn routes(pool: ProcessPoolExecutor) -> Router {
    Router::new()
        .route("/factor/{n}", get(get_factors))
        .route("/slow", get(get_slow))
        .route("/crash", get(get_crash))
        .route("/stats", get(get_stats))
        .with_state(pool)
}

async fn get_factors(
    State(pool): State<ProcessPoolExecutor>,
    Path(n): Path<u64>,
) -> Result<Json<Value>, Failure> {
    let factors = offload(&pool, factoring::factors, n).await?;
    Ok(Json(json!({ "n": n, "factors": factors })))
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn get_slow(
    State(pool): State<ProcessPoolExecutor>,
    Query(Slow { ms }): Query<Slow>,
) -> Result<Json<Value>, Failure> {
    let ms = offload(&pool, slow, ms).await?;
    Ok(Json(json!({ "ms": ms })))
}

async fn get_crash(State(pool): State<ProcessPoolExecutor>) -> Result<Json<Value>, Failure> {
    offload(&pool, crash, ()).await?;
    Ok(Json(json!({})))
}

/// Answered without a worker, so at any time.
async fn get_stats(State(pool): State<ProcessPoolExecutor>) -> Json<Value> {
    let stats = pool.stats();
    let workers = pool.workers().into_iter().map(|worker| {
        let doing = format!("{:?}", worker.state);
        json!({ "pid": worker.pid, "state": doing, "tasks_completed": worker.tasks_completed })
    });
    Json(json!({
        "waiting": stats.waiting,
        "running": stats.running,
        "completed": stats.completed,
        "failed": stats.failed,
        "cancelled": stats.cancelled,
        "workers": workers.collect::<Vec<_>>(),
    }))
}

/// Has a worker do it. Where the queue is full it fails at once, rather than let requests pile up.
///
/// If the client goes away axum drops this future, and the task is ended; so it is by the time
/// limit.
async fn offload<F, A, M>(pool: &ProcessPoolExecutor, f: F, args: A) -> Result<F::Output, Failure>
where
    F: TaskFn<A, M>,
    A: Serialize,
{
    let task = pool.try_submit(f, args)?.abort_on_drop(true);
    Ok(timeout(REQUEST_LIMIT, task).await.map_err(|_| Failure::too_slow())??)
}

/// What a client is told.
struct Failure {
    status: StatusCode,
    body: Value,
}

impl Failure {
    fn too_slow() -> Self {
        let body = json!({ "error": format!("it took longer than {REQUEST_LIMIT:?}") });
        Self { status: StatusCode::GATEWAY_TIMEOUT, body }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        let status = match error.kind() {
            SubmitErrorKind::QueueFull | SubmitErrorKind::ShutDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, body: json!({ "error": error.to_string() }) }
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let mut body = json!({ "error": error.to_string(), "kind": error.kind() });
        if let Some(death) = error.worker_death() {
            body["pid"] = death.pid().into();
            body["signal"] = death.signal().into();
        }
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, body }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
