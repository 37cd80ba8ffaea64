//! `tenants`: what the C library does to one formula, no other formula and no other tenant notices.

use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::{Service, soon};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tenants");

/// A number of workers, and the limit of a formula in milliseconds.
async fn start(workers: &str, limit: &str) -> Service {
    Service::start(PROGRAM, &["0", workers, limit]).await
}

fn calculate(
    service: &Service,
    tenant: &str,
    formula: &str,
) -> impl Future<Output = (u16, Value)> + use<> {
    let request = service.request_as(Some(tenant), "POST", "/calculate", formula.into());
    async { request.await.json().await }
}

async fn value(service: &Service, tenant: &str, formula: &str) -> i64 {
    let (status, body) = calculate(service, tenant, formula).await;
    assert_eq!(status, 200, "{tenant}, {formula}: {body}");
    body["value"].as_i64().unwrap()
}

#[tokio::test]
async fn whatever_the_library_does_is_the_error_of_one_formula() {
    let service = start("1", "3000").await;
    for (formula, wanted, printed) in [
        ("sum(2^61)", (422, "worker_death", Some(11), None), ""),
        (&*"(".repeat(500_000), (422, "worker_death", Some(6), None), "has overflowed its stack"),
        ("2 * (3", (422, "worker_death", None, Some(3)), "calc: a ) is missing"),
        ("sum(10^8)", (422, "worker_death", Some(6), None), "calc: out of memory"),
        ("2 ^ -1", (504, "timeout", None, None), ""),
    ] {
        let (status, body) = calculate(&service, "alice", formula).await;
        let code = |name: &str| body[name].as_i64();
        let told = (status, body["error"].as_str().unwrap(), code("signal"), code("exit_code"));
        assert_eq!(told, wanted, "{body}");
        assert!(body["printed"].as_str().unwrap_or_default().contains(printed), "{body}");
        assert_eq!(value(&service, "alice", "x = 3; 2 * (x + 4)").await, 14);
    }
    assert_eq!(calculate(&service, "alice", "1\0").await.0, 400);
    assert_eq!(service.get("/stats").await.1["pool"]["retries"], 0); // it was their own fault
    assert_eq!(service.request("POST", "/calculate", b"1".to_vec()).await.status, 401);
    assert_eq!(calculate(&service, "", "1").await.0, 401);
}

/// The library prints each name with its value. Of these lines, alice is told her own.
#[tokio::test]
async fn what_one_tenant_has_printed_is_not_told_to_another() {
    let service = start("1", "60000").await;
    let (_, own) = calculate(&service, "alice", "token = 4711; token +").await;
    assert!(own["printed"].as_str().unwrap().contains("token is 4711"), "{own}");

    assert_eq!(value(&service, "alice", "token = 4711; 2 * token").await, 9422);
    let (status, body) = calculate(&service, "bob", "limit = 5; limit +").await;
    let wanted = "calc: limit is 5\ncalc: a number or a name is missing\n";
    assert_eq!((status, body["printed"].as_str()), (422, Some(wanted)));
    assert!(!body.to_string().contains("4711"), "{body}");
}

/// Forty formulas that never end would keep both workers for twenty times the limit.
#[tokio::test]
async fn a_quiet_tenant_does_not_wait_for_the_queue_of_a_noisy_one() {
    let service = start("2", "400").await;
    assert_eq!(value(&service, "bob", "1").await, 1);
    let endless = |_| tokio::spawn(calculate(&service, "mallory", "2 ^ -1"));
    let noisy: Vec<JoinHandle<_>> = (0..40).map(endless).collect();
    let over = || noisy.iter().filter(|task| task.is_finished()).count();
    service.stats_when(|pool| pool["outcomes"]["timed_out"].as_u64() >= Some(2)).await;

    for _ in 0..3 {
        let before = over();
        assert_eq!(value(&service, "bob", "6 * 7").await, 42);
        // One on each worker, and what ends while the answers travel on a busy machine.
        let waited = over() - before;
        assert!(waited <= 4, "bob has waited for {waited} tasks");
    }
    assert!(over() < 20);
    noisy.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_tenant_with_too_many_formulas_is_refused_and_no_other_is() {
    let service = start("2", "1000").await;
    let mut noisy = JoinSet::new();
    for _ in 0..120 {
        noisy.spawn(calculate(&service, "mallory", "2 ^ -1"));
    }
    while soon(noisy.join_next()).await.expect("none is refused").unwrap().0 != 429 {}
    assert_eq!(value(&service, "bob", "6 * 7").await, 42);
}

/// Each formula leaves a megabyte behind.
#[tokio::test]
async fn a_leak_costs_no_formula_and_a_bounded_amount_of_memory() {
    let service = start("1", "60000").await;
    for number in 0..100 {
        assert_eq!(value(&service, "alice", &format!("x = {number}; x")).await, number);
    }
    let stats = service.stats_when(|pool| pool["workers_stopping"] == 0).await;
    let counts = ["worker_starts", "worker_deaths"].map(|name| stats["pool"][name].as_u64());
    assert_eq!(counts, [Some(2), Some(0)]);
    let memory = stats["workers"][0]["memory"].as_u64().unwrap();
    assert!(memory < 80 << 20, "{memory}");
}

/// The library has room for 32 names, and keeps those of all formulas.
#[tokio::test]
async fn a_formula_that_meets_a_worn_out_worker_is_tried_again() {
    let service = start("1", "60000").await;
    for number in 0..33 {
        assert_eq!(value(&service, "alice", &format!("x{number} = {number}")).await, number);
    }
    let (_, stats) = service.get("/stats").await;
    let counts = ["completed", "worker_deaths", "retries"].map(|name| stats["pool"][name].as_u64());
    assert_eq!(counts, [Some(33), Some(1), Some(1)]);
}

/// Two of them, one after the other.
#[tokio::test]
async fn a_formula_that_meets_only_worn_out_workers_is_computed_all_the_same() {
    let service = start("2", "60000").await;
    // All names that there is room for; then it works on, so that the other worker gets the other.
    let names: Vec<_> = (0..32).map(|number| format!("x{number};")).collect();
    let formula = format!("{} 1 ^ {}", names.concat(), 10_i64.pow(8));
    let has_worked = |worker: &Value| worker["tasks_completed"].as_u64() > Some(0);
    loop {
        let both =
            ["alice", "bob"].map(|tenant| tokio::spawn(calculate(&service, tenant, &formula)));
        for answer in both {
            assert_eq!(answer.await.unwrap().0, 200);
        }
        let (_, stats) = service.get("/stats").await;
        let workers = stats["workers"].as_array().unwrap();
        if workers.len() == 2 && workers.iter().all(has_worked) {
            break;
        }
    }
    assert_eq!(value(&service, "alice", "y = 6; y * 7").await, 42);
    let (_, stats) = service.get("/stats").await;
    let counts = ["worker_deaths", "retries"].map(|name| stats["pool"][name].as_u64());
    assert_eq!(counts, [Some(2), Some(2)]);
}

#[tokio::test]
async fn sigterm_does_not_wait_for_ever_for_a_client() {
    let service = start("1", "100").await;
    let _client = service.stalled_client().await;
    service.get("/stats").await; // so the first one is accepted, too
    service.terminate();
    assert_eq!(service.end().await, ("some requests took too long\n".to_owned(), Some(0)));
}

#[tokio::test]
async fn sigterm_finishes_what_runs() {
    let service = start("1", "1000").await;
    let endless = tokio::spawn(calculate(&service, "alice", "2 ^ -1"));
    service.stats_when(|pool| pool["submitted"] == 1).await;
    service.terminate();
    assert_eq!(soon(endless).await.unwrap().0, 504); // an answer all the same
    assert_eq!(service.end().await, (String::new(), Some(0)));
}
