//! An upload service: pictures come in, thumbnails go out, and no picture can hurt the service.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin uploads -- 8080 &
//! $ url=localhost:8080/thumbnails
//! $ curl --data-binary @cat.jpg "$url?side=200" > small.png
//! $ curl --data-binary @cat.jpg "$url?blur=-1"                      # 422: the library panics
//! $ curl --data-binary @cat.jpg "$url?side=1024&blur=9999&within_ms=500"   # 504: it is too late
//! $ curl localhost:8080/healthz
//! $ curl localhost:8080/stats
//! $ kill %1                         # finishes the running requests, then leaves
//! ```

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::error::Error;
use std::io::Cursor;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures::StreamExt;
use image::ImageFormat;
use procpool::{
    Events, Health, PoolEvent, ProcessPoolExecutor, RunError, Shutdown, TaskErrorKind, WorkerDeath,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};

/// A larger upload is refused before all of it has come.
const UPLOAD_LIMIT: usize = 8 << 20;
/// What a worker may allocate. A few kilobytes can unpack to gigabytes of pixels.
const MEMORY_LIMIT: u64 = 256 << 20;
/// From the head of a request to its answer, in seconds, unless the command line says otherwise. A
/// client may wish for less.
const REQUEST_LIMIT: u32 = 10;
/// What still runs so long after SIGTERM is cut off. Supervisors wait 10 seconds or more.
const DRAIN_LIMIT: Duration = Duration::from_secs(8);
/// The longer side of a thumbnail, in pixels, unless another one is asked for.
const SIDE: u32 = 128;
const LARGEST_SIDE: u32 = 1024;

/// Makes a thumbnail. It runs in a worker, so a picture that is a trap for the decoder, and a
/// `blur` that takes for ever, cost that worker at most.
fn thumbnail(upload: Bytes, side: u32, blur: Option<f32>) -> Result<Bytes, String> {
    let picture = image::load_from_memory(&upload).map_err(|error| error.to_string())?;
    let mut small = picture.thumbnail(side, side);
    if let Some(sigma) = blur {
        small = small.blur(sigma); // panics if it is negative
    }
    let mut png = Vec::new();
    small
        .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
        .map_err(|error| error.to_string())?;
    Ok(png.into())
}

procpool::register!(thumbnail);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some(settings) = Settings::from_args(std::env::args().skip(1)) else {
        eprintln!("usage: uploads [PORT [WORKERS [QUEUE [SECONDS]]]]");
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
    /// How many requests may wait for a worker. Each holds its upload in memory.
    queue: usize,
    /// How long a request may take.
    limit: Duration,
}

impl Settings {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let port = args.next().map_or(Ok(0), |arg| arg.parse()).ok()?;
        let workers = args.next().map(|arg| arg.parse()).transpose().ok()?;
        let queue = args.next().map_or(Ok(100), |arg| arg.parse()).ok()?;
        let seconds = args.next().map_or(Ok(REQUEST_LIMIT), |arg| arg.parse()).ok()?;
        let limit = Duration::from_secs(seconds.into());
        args.next().is_none().then_some(Self { port, workers, queue, limit })
    }
}

#[tokio::main]
async fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?; // before there is anything to lose
    let mut interrupted = signal(SignalKind::interrupt())?;
    let pool = ProcessPoolExecutor::builder()
        .name("uploads")
        .max_workers(settings.workers)
        .queue_capacity(settings.queue)
        .hard_memory_limit(MEMORY_LIMIT)
        .build()?;
    pool.ready().await?; // what is wrong with the workers is better known before the first request
    tokio::spawn(log_deaths(pool.events()));

    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = routes(pool.clone(), settings.limit);
    let server = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());

    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        // It is broken. Whoever watches over this service starts another one.
        reason = pool.closed() => return Err(format!("no pool any more: {reason}").into()),
    }
    println!("stopping; running requests may finish");
    let _ = stop.send(()); // accept no more
    match timeout(DRAIN_LIMIT, server).await {
        Ok(server) => server??,
        Err(_) => println!("some requests took too long"),
    }
    // All requests are answered, or late: there is nothing left to wait for.
    let report = pool.shutdown_with(Shutdown::new().within(Duration::ZERO)).await;
    println!("{} tasks finished, {} were cancelled", report.finished, report.cancelled);
    Ok(())
}

/// A client is not told how a worker died. That is for the log.
async fn log_deaths(mut events: Events) {
    while let Some(event) = events.next().await {
        if let PoolEvent::WorkerDied { death, .. } | PoolEvent::WorkerKilled { death, .. } = event {
            eprintln!("{death}");
        }
    }
}

fn routes(pool: ProcessPoolExecutor, limit: Duration) -> Router {
    Router::new()
        .route("/thumbnails", post(post_thumbnail))
        .layer(Extension(limit))
        .layer(DefaultBodyLimit::max(UPLOAD_LIMIT))
        .route("/healthz", get(get_health))
        .route("/stats", get(get_stats))
        .with_state(pool)
}

/// What a client may wish for.
#[derive(Deserialize)]
struct Wishes {
    side: Option<u32>,
    blur: Option<f32>,
    within_ms: Option<u64>,
}

/// If the client goes away, axum drops this future, and the pool ends the task.
async fn post_thumbnail(
    State(pool): State<ProcessPoolExecutor>,
    Extension(limit): Extension<Duration>,
    Query(wishes): Query<Wishes>,
    request: Request,
) -> Result<Response, Failure> {
    let limit = wishes.within_ms.map_or(limit, Duration::from_millis).min(limit);
    let deadline = Instant::now() + limit; // for the upload, the queue, and the work
    let upload = timeout_at(deadline.into(), Bytes::from_request(request, &())).await;
    let upload = upload.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "slow upload"))??;

    let side = wishes.side.unwrap_or(SIDE).clamp(1, LARGEST_SIDE);
    let task = pool.task(thumbnail, (upload, side, wishes.blur)).deadline(deadline);
    // Where the queue is full this fails at once, rather than let requests pile up. The first `?`
    // is for what happened to the task, the second one for what it returned.
    let made = task.try_run().await?;
    let png = made.map_err(|error| Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error))?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

/// Answered without a worker, so at any time.
async fn get_health(State(pool): State<ProcessPoolExecutor>) -> (StatusCode, Json<Health>) {
    let health = pool.health();
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health))
}

async fn get_stats(State(pool): State<ProcessPoolExecutor>) -> Json<Value> {
    Json(json!({ "pool": pool.stats(), "workers": pool.workers() }))
}

/// What a client is told.
struct Failure(Response);

impl Failure {
    fn new(status: StatusCode, error: &str) -> Self {
        Self((status, Json(json!({ "error": error }))).into_response())
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Self {
        Self::new(rejection.status(), &rejection.body_text())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let is_memory = error.worker_death().is_some_and(WorkerDeath::is_memory_limit);
        let status = match error.kind() {
            TaskErrorKind::QueueFull | TaskErrorKind::ShutDown | TaskErrorKind::Cancelled => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            TaskErrorKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
            TaskErrorKind::WorkerDeath if is_memory => StatusCode::PAYLOAD_TOO_LARGE,
            TaskErrorKind::Panic | TaskErrorKind::WorkerDeath => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut failure = Self::new(status, error.kind().as_str());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            failure.0.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0
    }
}
