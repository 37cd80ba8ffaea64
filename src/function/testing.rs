//! Pools in tests.

/// Lets the tests of a test binary use pools: write it once, at the top of the file (or of
/// `lib.rs`, behind `#[cfg(test)]`).
///
/// A test binary has no `main` that could call [`init`](crate::init). This adds a test named
/// `procpool_worker` that does; workers are started as "run this one test". In a normal run it
/// passes at once. Works under `cargo test` and `cargo nextest run`, in unit and in integration
/// tests, with one thread or many.
///
/// ```
/// procpool::test_support!();
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// procpool::register!(double);
///
/// #[tokio::test]
/// async fn doubles() {
///     let pool = procpool::ProcessPoolExecutor::new().unwrap();
///     assert_eq!(pool.run(double, 21).await.unwrap(), 42);
/// }
/// # fn main() {}
/// ```
///
/// The chapter on [testing](crate::guide::testing) shows a pool for several tests, an example in
/// documentation, and a benchmark.
#[macro_export]
macro_rules! test_support {
    () => {
        $crate::__private::inventory::submit! {
            $crate::__private::TestWorker { module: ::core::module_path!() }
        }

        #[test]
        fn procpool_worker() {
            $crate::init();
        }
    };
}
