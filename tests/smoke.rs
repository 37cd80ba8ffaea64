procpool::test_support!();
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}
fn boom(n: u32) -> u32 {
    panic!("boom {n}")
}
fn die() {
    std::process::exit(3)
}
procpool::register!(power, boom, die);
#[tokio::test]
async fn runs() {
    let pool = procpool::ProcessPoolExecutor::new().unwrap();
    assert_eq!(pool.run(power, (2, 8)).await.unwrap(), 256);
    let e = pool.run(boom, 3).await.unwrap_err();
    println!("{e}\n{}", e.panic().unwrap().backtrace());
    let e = pool.run(die, ()).await.unwrap_err();
    println!("{e}");
    println!("{:?}", pool.workers());
    println!("{:?}", pool.shutdown().await);
}
