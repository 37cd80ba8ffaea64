//! A C library that crashes, hangs, leaks and exits, as a service. What it does to one tenant's
//! formula costs other tenants a short wait at most, and nobody can fill the queue alone.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin tenants -- 8080 &
//! $ curl -H 'x-tenant: alice' -d 'x = 3; 2 * (x + 4)' localhost:8080/calculate
//! $ curl -H 'x-tenant: bob' -d '2 * (3' localhost:8080/calculate         # the library exits
//! $ curl -H 'x-tenant: bob' -d '2 ^ -1' localhost:8080/calculate         # it never ends
//! $ curl -H 'x-tenant: bob' -d 'sum(10^8)' localhost:8080/calculate     # it wants all memory
//! $ kill %1
//! ```
//!
//! `calc.c` is the library. `build.rs` has the system's C compiler build it.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::HashMap;
use std::error::Error;
use std::ffi::{CString, c_char};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use procpool::{ProcessPoolExecutor, RunError, Shutdown, TaskError, TaskErrorKind, WorkerDeath};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// How long the library may take, unless the command line says otherwise.
const LIMIT: u64 = 1_000;
/// More than this a worker never gets, however much its formula asks for.
const MEMORY_LIMIT: u64 = 256 << 20;
/// If the library leaks until the whole worker has more than this, the worker is replaced between
/// two formulas.
const LEAK_LIMIT: u64 = 64 << 20;
/// So many formulas may wait. Each of them is in memory.
const QUEUE: usize = 1_000;
/// So many formulas of one tenant may wait or run. More would take the queue from the others.
const MOST_OF_ONE: usize = 100;
/// After SIGTERM, a client has so long, beside the time of a formula, to send its request and to read
/// its answer. Then it is cut off.
const CLIENT_LIMIT: Duration = Duration::from_secs(1);
/// How the library exits when it has met more names than it has room for.
const TOO_MANY_NAMES: i32 = 4;

#[link(name = "calc", kind = "static")]
#[expect(unsafe_code, reason = "a library in C")]
unsafe extern "C" {
    fn calc(text: *const c_char) -> i64;
}

/// Runs in a worker. What the library breaks there is broken for nobody else.
fn calculate(formula: String) -> Result<i64, String> {
    let text = CString::new(formula).map_err(|error| error.to_string())?;
    #[expect(unsafe_code, reason = "a library in C")]
    // SAFETY: the text ends with a zero, and lives until `calc` returns. What `calc` does with it
    // nobody can vouch for: that is why it has a process to itself.
    let value = unsafe { calc(text.as_ptr()) };
    Ok(value)
}

procpool::register!(calculate);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some(settings) = Settings::from_args(std::env::args().skip(1)) else {
        eprintln!("usage: tenants [PORT [WORKERS [MILLISECONDS]]]");
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
    /// How long a formula may take.
    limit: Duration,
}

impl Settings {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let port = args.next().map_or(Ok(0), |arg| arg.parse()).ok()?;
        let workers = args.next().map(|arg| arg.parse()).transpose().ok()?;
        let limit = Duration::from_millis(args.next().map_or(Ok(LIMIT), |arg| arg.parse()).ok()?);
        args.next().is_none().then_some(Self { port, workers, limit })
    }
}

#[tokio::main]
async fn serve(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?; // before there is anything to lose
    let mut interrupted = signal(SignalKind::interrupt())?;
    let pool = ProcessPoolExecutor::builder()
        .name("tenants")
        .max_workers(settings.workers)
        .queue_capacity(QUEUE)
        .default_timeout(settings.limit)
        .hard_memory_limit(MEMORY_LIMIT)
        .max_memory_per_child(LEAK_LIMIT)
        .build()?;
    pool.ready().await?;

    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let routes = Router::new()
        .route("/calculate", post(post_calculate))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(Extension(Places::default()))
        .route("/stats", get(get_stats))
        .with_state(pool.clone());
    let (stop, stopped) = oneshot::channel::<()>();
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
    let _ = stop.send(()); // accept no more
    // What runs may finish. What has waited too long is cancelled.
    match timeout(settings.limit + CLIENT_LIMIT, server).await {
        Ok(server) => server??,
        Err(_) => println!("some requests took too long"),
    }
    pool.shutdown_with(Shutdown::new().within(Duration::ZERO)).await;
    Ok(())
}

/// The places of each tenant who has a formula here.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl Places {
    /// One for a further formula, until it is dropped. `None` if the tenant has too many.
    fn take(&self, tenant: &str) -> Option<OwnedSemaphorePermit> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, free| free.available_permits() < MOST_OF_ONE);
        let free = places.entry(tenant.to_owned());
        let free = free.or_insert_with(|| Arc::new(Semaphore::new(MOST_OF_ONE)));
        Arc::clone(free).try_acquire_owned().ok()
    }
}

/// The tenant comes with the request. A real service would know it from a key or a session.
async fn post_calculate(
    State(pool): State<ProcessPoolExecutor>,
    Extension(places): Extension<Places>,
    headers: HeaderMap,
    formula: String,
) -> Result<Json<Value>, Failure> {
    let tenant = headers.get("x-tenant").and_then(|tenant| tenant.to_str().ok());
    let tenant = tenant.filter(|tenant| !tenant.is_empty());
    let tenant = tenant.ok_or_else(|| Failure::new(StatusCode::UNAUTHORIZED, "who are you?"))?;
    // If the client goes away, this future is dropped, and the place with it.
    let _place = places.take(tenant).ok_or_else(|| {
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "you have too many formulas here")
    })?;
    // The attempt after a worn-out worker may get another one that is worn out.
    let retries = u32::try_from(pool.stats().max_workers).unwrap_or(u32::MAX);
    let task = pool
        .task(calculate, formula)
        // Tenants share the workers fairly, so one whose formulas hang delays another by those that
        // run at this moment, and by none that waits.
        .tenant(tenant)
        .label(tenant) // for the log
        .retries(retries)
        .retry_if(|value| value.is_err_and(is_worn_out));
    let value = task.try_run().await?;
    let value = value.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, &error))?;
    Ok(Json(json!({ "value": value })))
}

/// The library has filled one of its tables, and has failed a formula that a new process may
/// compute. What is the formula's own fault is not tried again, unless it has more names than the
/// table.
fn is_worn_out(error: &TaskError) -> bool {
    error.worker_death().and_then(WorkerDeath::exit_code) == Some(TOO_MANY_NAMES)
}

async fn get_stats(State(pool): State<ProcessPoolExecutor>) -> Json<Value> {
    Json(json!({ "pool": pool.stats(), "workers": pool.workers() }))
}

/// What a client is told.
struct Failure {
    status: StatusCode,
    body: Value,
}

impl Failure {
    fn new(status: StatusCode, error: &str) -> Self {
        Self { status, body: json!({ "error": error }) }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let status = match error.kind() {
            TaskErrorKind::WorkerDeath => StatusCode::UNPROCESSABLE_ENTITY,
            TaskErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut body = json!({ "error": error.kind() });
        if let Some(death) = error.worker_death() {
            body["signal"] = death.signal().into();
            body["exit_code"] = death.exit_code().into();
            // Of this task alone. `death.stderr_tail()` may have what others have printed.
            body["printed"] = error.output().into();
        }
        Self { status, body }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
