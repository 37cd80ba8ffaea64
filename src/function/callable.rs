//! Which functions can be tasks.

use std::future::Future;
use std::panic::UnwindSafe;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::function::runtime::block_on;

/// A function with arguments `A`: any `fn` of zero to eight parameters. One argument is passed
/// bare, several as a tuple, none as `()`.
///
/// It is implemented for all such functions; `M` only keeps the implementations apart.
/// [`register!`](crate::register!) demands besides that all parameters are serde types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called in another process with the arguments `{A}`",
    label = "no `fn` with these arguments",
    note = "what is called is a registered `fn` of up to eight parameters, or a closure in `task!`",
    note = "neither captures variables or `self`: what it needs comes by its arguments",
    note = "one argument is passed bare, several as a tuple, none as `()`"
)]
pub trait Callable<A, M>: Copy + Send + Sync + 'static {
    /// What the call evaluates to; a future for an `async fn`.
    type Output;

    /// Calls the function.
    fn call(self, args: A) -> Self::Output;
}

/// A `fn`, or a closure that captures nothing. One that captures values that are `Copy` counts,
/// too: it is refused when it is submitted, as it is not registered.
///
/// `UnwindSafe` is here for closures that borrow. A reference is so if what it refers to cannot be
/// changed through it, as `self` of a service can that has a pool. Without this bound the compiler
/// would say later, and in words that are fixed, that the borrow does not live long enough.
#[diagnostic::on_unimplemented(
    message = "`{Self}` captures something, so it cannot be called in another process",
    label = "no `fn`, and no closure that captures nothing",
    note = "what it needs must be among its arguments; it can be written in place by `task!`"
)]
#[doc(hidden)]
pub trait CapturesNothing: Copy + Send + Sync + UnwindSafe + 'static {}

#[diagnostic::do_not_recommend]
impl<F: Copy + Send + Sync + UnwindSafe + 'static> CapturesNothing for F {}

macro_rules! impl_callable {
    ($count:literal, $args:ty, $pattern:pat, $($type:ident $arg:ident),*) => {
        #[allow(clippy::many_single_char_names)]
        impl<F, $($type,)* R> Callable<$args, marker::Parameters<$count>> for F
        where
            F: Fn($($type),*) -> R + CapturesNothing,
        {
            type Output = R;

            fn call(self, $pattern: $args) -> R {
                self($($arg),*)
            }
        }
    };
}

impl_callable!(0, (), (),);
impl_callable!(1, A, a, A a);
impl_callable!(2, (A, B), (a, b), A a, B b);
impl_callable!(3, (A, B, C), (a, b, c), A a, B b, C c);
impl_callable!(4, (A, B, C, D), (a, b, c, d), A a, B b, C c, D d);
impl_callable!(5, (A, B, C, D, E), (a, b, c, d, e), A a, B b, C c, D d, E e);
impl_callable!(6, (A, B, C, D, E, G), (a, b, c, d, e, g), A a, B b, C c, D d, E e, G g);
impl_callable!(7, (A, B, C, D, E, G, H), (a, b, c, d, e, g, h), A a, B b, C c, D d, E e, G g, H h);
impl_callable!(
    8,
    (A, B, C, D, E, G, H, I),
    (a, b, c, d, e, g, h, i),
    A a, B b, C c, D d, E e, G g, H h, I i
);

/// A function that can be a task: a [`Callable`], sync or `async`, whose result is a serde type.
///
/// It is implemented for all such functions; `M` only keeps the implementations apart.
///
/// A function that hands its parameter on to a pool is generic over this trait:
///
/// ```
/// use procpool::{ProcessPoolExecutor, RunError, TaskFn};
///
/// async fn twice<F, M>(pool: &ProcessPoolExecutor, f: F, x: u64) -> Result<u64, RunError>
/// where
///     F: TaskFn<u64, M, Output = u64>,
/// {
///     pool.run(f, pool.run(f, x).await?).await
/// }
/// ```
///
/// What a closure captures does not come to another process. [`task!`](crate::task!) says what to
/// write for a closure that uses variables or `self`, and [`register!`](crate::register!) what to
/// write for a reference.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task with the arguments `{A}`",
    label = "no `fn` with these arguments",
    note = "a task is a registered `fn` of up to eight parameters, or a closure in `task!`",
    note = "neither captures variables or `self`: what it needs comes by its arguments, as in \
            `pool.run(procpool::task!(|x: u64, step: u64| -> u64 {{ x + step }}), (41, step))`",
    note = "one argument is passed bare, several as a tuple, none as `()`",
    note = "a generic function that hands on what can be a task takes `F: procpool::TaskFn<A, M>`"
)]
pub trait TaskFn<A, M>: Copy + Send + Sync + 'static {
    /// The result, awaited if the function is `async`.
    type Output: Serialize + DeserializeOwned + 'static;

    #[doc(hidden)]
    fn execute(self, args: A) -> Self::Output;
}

/// Keeps the implementations of [`Callable`] and [`TaskFn`] apart, and gives names to what the
/// compiler says.
#[doc(hidden)]
pub mod marker {
    use serde::Deserialize;

    /// `Deserialize` by another name. That it holds for all lifetimes is what the compiler checks
    /// last, and what it says then has a fixed wording: "implementation of … is not general
    /// enough". This name is the only word in it that is ours.
    pub trait OwnsWhatItHolds<'de>: Deserialize<'de> {}

    #[diagnostic::do_not_recommend]
    impl<'de, T: Deserialize<'de>> OwnsWhatItHolds<'de> for T {}

    /// A function of so many parameters.
    #[derive(Debug)]
    pub struct Parameters<const COUNT: usize>;

    /// A function that is not `async`.
    #[derive(Debug)]
    pub struct NotAsync;

    /// An `async` function.
    #[derive(Debug)]
    pub struct Async;
}

// It is the only implementation, so an error is about that bound of it that does not hold.
impl<F, A, M, K, R> TaskFn<A, (M, K)> for F
where
    F: Callable<A, M>,
    F::Output: Evaluate<K, Output = R>,
    R: TaskResult,
{
    type Output = R;

    fn execute(self, args: A) -> R {
        F::Output::evaluate(|| self.call(args))
    }
}

/// What two traits say where they are not implemented. Which of them is asked for the result of a
/// task depends on whether the function is `async`.
macro_rules! explained {
    ($($item:tt)*) => {
        #[diagnostic::on_unimplemented(
            message = "`{Self}` cannot be the result of a task",
            label = "a result must be both `serde::Serialize` and `serde::de::DeserializeOwned`",
            note = "for an error such as `std::io::Error`, `anyhow::Error` or `Box<dyn Error>`: \
                    its text, as in `Result<T, String>`, or an error type of your own",
            note = "for a type of your own: `#[derive(serde::Serialize, serde::Deserialize)]`",
            note = "for a type of another crate: its feature for serde, which most call `serde`",
            note = "for `Arc<T>` or `Rc<T>`: serde's feature `rc`, or `String` or `Vec<T>` in its \
                    place",
            note = "for an array of more than 32 elements: `Vec<T>` in its place",
            note = "for a reference: `String`, `Vec<T>`, or what else owns it in its place"
        )]
        $($item)*
    };
}

explained! {
    /// What a call evaluates to: a result, or, of an `async fn`, a future of one.
    ///
    /// It is implemented for all results that are serde types, and for all futures; `K` only keeps
    /// the implementations apart.
    pub trait Evaluate<K>: Sized {
        /// The result, awaited if this is a future.
        type Output;

        #[doc(hidden)]
        fn evaluate(call: impl FnOnce() -> Self) -> Self::Output;
    }
}

// A future is not `Serialize`, so for each type only one of the two can be meant.
impl<R> Evaluate<marker::NotAsync> for R
where
    R: Serialize + for<'de> marker::OwnsWhatItHolds<'de> + 'static,
{
    type Output = R;

    fn evaluate(call: impl FnOnce() -> R) -> R {
        call()
    }
}

impl<T: Future> Evaluate<marker::Async> for T {
    type Output = T::Output;

    fn evaluate(call: impl FnOnce() -> T) -> T::Output {
        // The call is made inside the runtime: it may need one before the first await.
        block_on(async { call().await })
    }
}

explained! {
    /// What may cross the pipe from a worker.
    #[doc(hidden)]
    pub trait TaskResult: Serialize + DeserializeOwned + 'static {}
}

#[diagnostic::do_not_recommend]
impl<R: Serialize + for<'de> marker::OwnsWhatItHolds<'de> + 'static> TaskResult for R {}
