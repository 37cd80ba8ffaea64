//! Planets on their ways, computed in a worker and drawn by a browser while they are computed.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin simulation -- 8080    # and open localhost:8080
//! $ curl -N 'localhost:8080/run?planets=2&steps=500'                     # the same as text
//! $ curl localhost:8080/stats
//! ```
//!
//! Close the page, or press Ctrl-C in `curl`, and the simulation ends: its worker is free again.

use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream::{self, Stream, StreamExt};
use procpool::{EmitError, ProcessPoolExecutor, Shutdown, TaskHandle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

mod planets;
use planets::System;

/// So many steps are one frame.
const STEPS_PER_FRAME: u64 = 10;
/// Between two frames: a quicker one could not be watched.
const FRAME_TIME: Duration = Duration::from_millis(10);
/// So many frames may be computed ahead of what is watched.
const FRAMES_AHEAD: usize = 8;

/// A client that has not read the end of its stream so long after the last simulation, or that has
/// not sent all of its request, is cut off.
const CLIENT_LIMIT: Duration = Duration::from_secs(1);

/// Where everything is after so many steps; the sun comes first.
#[derive(Serialize, Deserialize)]
struct Frame {
    step: u64,
    bodies: Vec<[f64; 2]>,
}

/// What a simulation returns.
#[derive(Serialize, Deserialize)]
struct Summary {
    steps: u64,
    /// Whether it has come as far as it was to come.
    complete: bool,
    /// How much energy was lost or won by errors, as a part of all.
    drift: f64,
}

/// Runs in a worker, and emits frames for who watches. A slow client holds it up, as `emit` waits
/// while nobody takes them: so no memory fills with frames.
fn simulate(planets: u32, push: f64, steps: u64) -> Result<Summary, String> {
    let current = procpool::current();
    let mut system = System::new(planets, push);
    let energy = system.energy();
    let summary = |system: &System, steps, complete| {
        let drift = (system.energy() - energy) / energy;
        Summary { steps, complete, drift }
    };
    for step in 0..steps {
        if step.is_multiple_of(STEPS_PER_FRAME) {
            match current.emit(Frame { step, bodies: system.places() }) {
                Ok(true) => {}
                // The client has gone, or the service ends. To return spares the worker, which
                // would be killed otherwise.
                Ok(false) | Err(EmitError::Cancelled) => return Ok(summary(&system, step, false)),
                Err(error) => return Err(error.to_string()),
            }
            current.progress(step, steps, format!("energy {:.9}", system.energy()));
        }
        system.step()?;
    }
    Ok(summary(&system, steps, true))
}

procpool::register!(simulate);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some(settings) = Settings::from_args(std::env::args().skip(1)) else {
        eprintln!("usage: simulation [PORT [WORKERS [SECONDS]]]");
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
    /// As many as there are CPUs, unless given. So many simulations run at a time.
    workers: Option<usize>,
    /// How long simulations may go on after SIGTERM.
    drain: Duration,
}

impl Settings {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let port = args.next().map_or(Ok(0), |arg| arg.parse()).ok()?;
        let workers = args.next().map(|arg| arg.parse()).transpose().ok()?;
        let seconds = args.next().map_or(Ok(5), |arg| arg.parse()).ok()?;
        let drain = Duration::from_secs(seconds);
        args.next().is_none().then_some(Self { port, workers, drain })
    }
}

#[tokio::main]
async fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?; // before there is anything to lose
    let mut interrupted = signal(SignalKind::interrupt())?;
    let pool = ProcessPoolExecutor::builder()
        .name("simulation")
        .max_workers(settings.workers)
        .queue_capacity(1) // whoever comes later is told so, rather than look at an empty page
        .build()?;
    pool.ready().await?;

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
        // It is broken. Whoever watches over this service starts another one.
        reason = pool.closed() => return Err(format!("no pool any more: {reason}").into()),
    }
    println!("stopping; simulations may go on for {:?}", settings.drain);
    let _ = stop.send(()); // accept no more
    // A stream ends with its simulation, and the server with the last client. So it is the pool that
    // has to end first.
    let report = pool.shutdown_with(Shutdown::new().within(settings.drain)).await;
    match timeout(CLIENT_LIMIT, server).await {
        Ok(server) => server??,
        Err(_) => println!("some clients took too long"),
    }
    println!("{} simulations finished, {} were killed", report.finished, report.killed);
    Ok(())
}

fn routes(pool: ProcessPoolExecutor) -> Router {
    Router::new()
        .route("/", get(Html(include_str!("index.html"))))
        .route("/run", get(get_run))
        .route("/stats", get(get_stats))
        .with_state(pool)
}

#[derive(Deserialize)]
struct Wishes {
    planets: Option<u32>,
    /// How fast the planets are; 1 is just right for a circle.
    push: Option<f64>,
    steps: Option<u64>,
}

/// Starts a simulation, and answers with what comes of it, as server-sent events.
async fn get_run(
    State(pool): State<ProcessPoolExecutor>,
    Query(wishes): Query<Wishes>,
) -> impl IntoResponse {
    let planets = wishes.planets.unwrap_or(4).min(50);
    let args = (planets, wishes.push.unwrap_or(1.0), wishes.steps.unwrap_or(20_000));
    // If the client goes away axum drops the stream, and the handle in it ends the task.
    let task = pool.task(simulate, args).emit_capacity(FRAMES_AHEAD).abort_on_drop(true);
    match task.try_submit() {
        Ok(handle) => Ok(Sse::new(events(handle)).keep_alive(KeepAlive::default())),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

/// `frame` and `progress` while it runs, and one `end` or `failure`.
fn events(
    handle: TaskHandle<Result<Summary, String>>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let frames = handle.emitted::<Frame>().then(|frame| async {
        sleep(FRAME_TIME).await;
        match frame {
            Ok(frame) => event("frame", &frame),
            Err(error) => event("failure", &error.to_string()),
        }
    });
    let progress = handle.progress().map(|report| event("progress", &report));
    // What was emitted before a crash has been sent already.
    let end = async {
        match handle.await {
            Ok(Ok(summary)) => event("end", &summary),
            Ok(Err(reason)) => event("failure", &reason),
            Err(error) => event("failure", &error.kind()), // the text would tell how we are built
        }
    };
    stream::select(frames, progress).chain(stream::once(end)).map(Ok)
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    let event = Event::default().event(name);
    event.json_data(data).unwrap_or_else(|error| Event::default().comment(error.to_string()))
}

async fn get_stats(State(pool): State<ProcessPoolExecutor>) -> Json<Value> {
    Json(json!({ "pool": pool.stats(), "workers": pool.workers() }))
}
