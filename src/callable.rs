//! Which functions can be tasks.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::block_on;

/// A function with arguments `A`: any `fn` of zero to eight parameters whose arguments are serde
/// types. One parameter is passed bare, several as a tuple, none as `()`.
///
/// It is implemented for all such functions; `M` only keeps the implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be registered",
    note = "a registered function is a `fn` of up to eight parameters",
    note = "its parameters are owned types that are `serde::Serialize + serde::de::DeserializeOwned`"
)]
pub trait Callable<A, M>: Copy + Send + Sync + 'static {
    /// What the call evaluates to; a future for an `async fn`.
    type Output;

    /// Calls the function.
    fn call(self, args: A) -> Self::Output;
}

macro_rules! impl_callable {
    ($args:ty, $pattern:pat, $($type:ident $arg:ident),*) => {
        #[allow(clippy::many_single_char_names)]
        impl<F, $($type,)* R> Callable<$args, fn($($type),*) -> R> for F
        where
            F: Fn($($type),*) -> R + Copy + Send + Sync + 'static,
            $($type: Serialize + DeserializeOwned + 'static,)*
        {
            type Output = R;

            fn call(self, $pattern: $args) -> R {
                self($($arg),*)
            }
        }
    };
}

impl_callable!((), (),);
impl_callable!(A, a, A a);
impl_callable!((A, B), (a, b), A a, B b);
impl_callable!((A, B, C), (a, b, c), A a, B b, C c);
impl_callable!((A, B, C, D), (a, b, c, d), A a, B b, C c, D d);
impl_callable!((A, B, C, D, E), (a, b, c, d, e), A a, B b, C c, D d, E e);
impl_callable!((A, B, C, D, E, G), (a, b, c, d, e, g), A a, B b, C c, D d, E e, G g);
impl_callable!((A, B, C, D, E, G, H), (a, b, c, d, e, g, h), A a, B b, C c, D d, E e, G g, H h);
impl_callable!(
    (A, B, C, D, E, G, H, I),
    (a, b, c, d, e, g, h, i),
    A a, B b, C c, D d, E e, G g, H h, I i
);

/// A function that can be a task: a [`Callable`], sync or `async`, whose result is a serde type.
///
/// It is implemented for all such functions; `M` only keeps the implementations apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task with the arguments `{A}`",
    note = "a task is a `fn` of up to eight parameters; arguments and result are owned serde types",
    note = "one argument is passed bare, several as a tuple, none as `()`",
    note = "many error types are no serde types, such as `std::io::Error` and `anyhow::Error`: return \
            their text, or a type of your own"
)]
pub trait TaskFn<A, M>: Copy + Send + Sync + 'static {
    /// The result, awaited if the function is `async`.
    type Output: Serialize + DeserializeOwned + 'static;

    #[doc(hidden)]
    fn execute(self, args: A) -> Self::Output;
}

/// Keeps the implementations of [`TaskFn`] apart.
#[doc(hidden)]
pub mod marker {
    /// A plain function.
    #[derive(Debug)]
    pub struct Plain<M>(M);

    /// An `async` function.
    #[derive(Debug)]
    pub struct Async<M>(M);
}

// A future is not `Serialize`, so for each function only one of the two can be meant.
impl<F, A, M, R> TaskFn<A, marker::Plain<M>> for F
where
    F: Callable<A, M, Output = R>,
    R: Serialize + DeserializeOwned + 'static,
{
    type Output = R;

    fn execute(self, args: A) -> R {
        self.call(args)
    }
}

impl<F, A, M, R> TaskFn<A, marker::Async<M>> for F
where
    F: Callable<A, M>,
    F::Output: Future<Output = R>,
    R: Serialize + DeserializeOwned + 'static,
{
    type Output = R;

    fn execute(self, args: A) -> R {
        // The call is made inside the runtime: it may need one before the first await.
        block_on(async { self.call(args).await })
    }
}
