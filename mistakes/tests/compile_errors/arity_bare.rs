//! One argument for two parameters.

fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

procpool::register!(power);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(power, 2).await;
}

fn main() {}
