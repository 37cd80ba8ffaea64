//! A result that can be encoded, and not decoded.

#[derive(serde::Serialize)]
struct Report {
    rows: u64,
}

fn report(rows: u64) -> Report {
    Report { rows }
}

procpool::register!(report);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(report, 7).await;
}

fn main() {}
