//! The ready-made hooks for generators of random numbers.
//!
//! A binary of its own: it needs their features.

#![cfg(target_os = "linux")]

mod common;

use procpool::{Builder, ProcessPoolExecutor, StartMethod, reseed};
use rand010::RngExt as _;

use common::in_time;

procpool::test_support!();

/// The next number of each generator.
fn draw() -> [u64; 3] {
    use rand09::Rng as _;
    [fastrand2::u64(..), rand09::rng().random(), rand010::rng().random()]
}

procpool::register!(draw);

/// Two workers of a pool whose preload has drawn numbers.
async fn drawn_twice(builder: Builder) -> [[u64; 3]; 2] {
    let pool = builder.max_workers(1).max_tasks_per_child(1).build().unwrap();
    [in_time(pool.run(draw, ())).await.unwrap(), in_time(pool.run(draw, ())).await.unwrap()]
}

fn builder() -> Builder {
    let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    builder.preload(draw, ())
}

#[tokio::test]
async fn each_hook_mends_its_generator_and_no_other() {
    let [first, second] = drawn_twice(builder()).await;
    assert_eq!(first, second, "without hooks all of them are duplicated");
    let with = [
        builder().after_fork(reseed::fastrand2, ()),
        builder().after_fork(reseed::rand09, ()),
        builder().after_fork(reseed::rand010, ()),
    ];
    for (mended, builder) in with.into_iter().enumerate() {
        let [first, second] = drawn_twice(builder).await;
        let same = [0, 1, 2].map(|generator| first[generator] == second[generator]);
        let expected = [0, 1, 2].map(|generator| generator != mended);
        assert_eq!(same, expected, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn all_hooks_together_mend_all() {
    let builder = builder().after_fork(reseed::fastrand2, ()).after_fork(reseed::rand09, ());
    let [first, second] = drawn_twice(builder.after_fork(reseed::rand010, ())).await;
    assert!((0..3).all(|generator| first[generator] != second[generator]));
}
