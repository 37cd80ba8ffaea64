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
/// A task's function can also be called like any other in a test, without a pool:
/// [`current`](crate::current) works there, too.
///
/// # One pool for several tests
///
/// A pool ends with the runtime that it was built on, and each `#[tokio::test]` has a runtime of
/// its own. So a pool in a `static` is built on a runtime that is in a `static`, too:
///
/// ```
/// use std::sync::LazyLock;
///
/// use procpool::ProcessPoolExecutor;
/// use tokio::runtime::Runtime;
///
/// static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// static POOL: LazyLock<ProcessPoolExecutor> = LazyLock::new(|| {
///     let _on_this_one = RUNTIME.enter();
///     ProcessPoolExecutor::new().unwrap()
/// });
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// procpool::register!(double);
///
/// # /*
/// #[tokio::test]
/// # */
/// async fn doubles() {
///     assert_eq!(POOL.run(double, 21).await.unwrap(), 42);
/// }
/// # fn main() {
/// #     procpool::init();
/// #     for _ in 0..2 {
/// #         Runtime::new().unwrap().block_on(doubles());
/// #     }
/// # }
/// ```
///
/// # Examples in documentation
///
/// An example in a comment is a program of its own, so it has a `main` that calls `init`:
///
/// ```
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// procpool::register!(double);
///
/// fn main() {
///     procpool::init();
///     tokio::runtime::Runtime::new().unwrap().block_on(async {
///         let pool = procpool::ProcessPoolExecutor::new().unwrap();
///         assert_eq!(pool.run(double, 21).await.unwrap(), 42);
///     });
/// }
/// ```
///
/// # Benchmarks
///
/// A benchmark is a program with `harness = false`. `criterion_main!` makes a `main` without
/// [`init`](crate::init), so that is written out in its place:
///
/// ```
/// # /*
/// use criterion::Criterion;
/// # */
/// use procpool::ProcessPoolExecutor;
/// use tokio::runtime::Runtime;
/// # // As much of it as is used here: the crate takes long to build.
/// # #[derive(Default)]
/// # struct Criterion;
/// # struct Bencher;
/// # impl Criterion {
/// #     fn configure_from_args(self) -> Self { self }
/// #     fn bench_function(&mut self, _: &str, mut run: impl FnMut(&mut Bencher)) { run(&mut Bencher) }
/// #     fn final_summary(&self) {}
/// # }
/// # impl Bencher {
/// #     fn iter<R>(&mut self, mut run: impl FnMut() -> R) { drop(run()); }
/// # }
///
/// fn double(x: u32) -> u32 {
///     2 * x
/// }
///
/// procpool::register!(double);
///
/// fn round_trip(criterion: &mut Criterion) {
///     let runtime = Runtime::new().unwrap();
///     let pool = runtime.block_on(async { ProcessPoolExecutor::new().unwrap() });
///     criterion.bench_function("round trip", |bencher| {
///         bencher.iter(|| runtime.block_on(pool.run(double, 21)).unwrap());
///     });
/// }
///
/// fn main() {
///     procpool::init();
///     let mut criterion = Criterion::default().configure_from_args();
///     round_trip(&mut criterion);
///     criterion.final_summary();
/// }
/// ```
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
