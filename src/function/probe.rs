//! `register!` and `task!`, and how they find out what a function can be.

/// `register!` must find out what a function can be without naming its types. Method calls on a
/// reference to a `Probe` do that: they take the first trait, counted from the outermost `&`, whose
/// bounds hold.
#[doc(hidden)]
#[derive(Debug)]
pub struct Probe<F>(pub F);

#[doc(hidden)]
pub mod probes {
    use std::any::{Any, type_name};
    use std::fmt::{Debug, Display};
    use std::future::Future;
    use std::sync::Arc;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::Probe;
    use crate::codec::Choice;
    use crate::function::arguments::EncodedArguments;
    use crate::function::callable::marker::OwnsWhatItHolds;
    use crate::function::callable::{Callable, TaskFn};
    use crate::function::registry::{CallError, InitCallOf, InitError, TaskCall, TaskCallOf};
    use crate::function::runtime::block_on;
    use crate::memory::Encoded;

    type Task = (Option<TaskCallOf>, &'static str);

    pub trait AsTask<A, M> {
        fn task(&self) -> Task;
    }

    impl<F, A, M> AsTask<A, M> for &Probe<F>
    where
        F: TaskFn<A, M>,
        A: for<'de> OwnsWhatItHolds<'de>,
    {
        fn task(&self) -> Task {
            task_call(self.0, |_| None)
        }
    }

    pub trait AsFallibleTask<A, M> {
        fn task(&self) -> Task;
    }

    impl<F, A, M, T, E> AsFallibleTask<A, M> for &&&Probe<F>
    where
        F: TaskFn<A, M, Output = Result<T, E>>,
        A: for<'de> OwnsWhatItHolds<'de>,
        E: Debug,
    {
        fn task(&self) -> Task {
            task_call(self.0, |result| Some(format!("`{:?}`", result.as_ref().err()?)))
        }
    }

    pub trait AsOpaqueTask<A, M> {
        fn task(&self) -> Task;
    }

    impl<F, A, M, T, E> AsOpaqueTask<A, M> for &&Probe<F>
    where
        F: TaskFn<A, M, Output = Result<T, E>>,
        A: for<'de> OwnsWhatItHolds<'de>,
    {
        fn task(&self) -> Task {
            task_call(self.0, |result| {
                result.as_ref().err().map(|_| format!("of the type `{}`", type_name::<E>()))
            })
        }
    }

    /// `shown` is the text of an error that the function has returned.
    fn task_call<F: TaskFn<A, M>, A: DeserializeOwned, M>(
        function: F,
        shown: fn(&F::Output) -> Option<String>,
    ) -> Task {
        let form = Arc::new(Choice::of::<F::Output>());
        let result = Arc::clone(&form);
        let call: TaskCall = Box::new(move |args, buffer, limit, sink| {
            let decoded = args
                .decode::<A>()
                .map_err(|error| Box::new(CallError::Arguments(error.of(type_name::<F>()))))?;
            args.release();
            let result = function.execute(decoded);
            Encoded::new(&result, buffer, limit, sink, &form).map_err(|error| {
                let error = error.of(type_name::<F>());
                Box::new(CallError::Result { error, returned: shown(&result) })
            })
        });
        (Some(TaskCallOf { call, result }), type_name::<fn(A) -> F::Output>())
    }

    pub trait NotATask {
        fn task(&self) -> Task;
    }

    impl<F> NotATask for Probe<F> {
        fn task(&self) -> Task {
            (None, "initializer")
        }
    }

    fn init_call<A: Serialize + DeserializeOwned>(
        call: impl Fn(A) -> Result<Box<dyn Any>, InitError> + Send + Sync + 'static,
    ) -> InitCallOf {
        let call = Box::new(move |mut args: EncodedArguments<'_>| {
            let decoded = args
                .decode()
                .map_err(|error| InitError(format!("the arguments cannot be decoded: {error}")))?;
            args.release();
            call(decoded)
        });
        InitCallOf { call, arguments: Choice::of::<A>() }
    }

    fn outcome<T: 'static, E: Display>(result: Result<T, E>) -> Result<Box<dyn Any>, InitError> {
        match result {
            Ok(state) => Ok(Box::new(state)),
            Err(error) => Err(InitError(error.to_string())),
        }
    }

    /// As [`outcome`], for errors without a text.
    fn opaque<T: 'static, E>(result: Result<T, E>) -> Result<Box<dyn Any>, InitError> {
        outcome(
            result.map_err(|_| format!("it returned an error of the type `{}`", type_name::<E>())),
        )
    }

    pub trait AsyncFallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M, T, E> AsyncFallible<A, M> for &&&&&&Probe<F>
    where
        F: Callable<A, M>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
        F::Output: Future<Output = Result<T, E>>,
        T: 'static,
        E: Display,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| outcome(block_on(async { function.call(args).await })))
        }
    }

    pub trait AsyncOpaque<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M, T, E> AsyncOpaque<A, M> for &&&&&Probe<F>
    where
        F: Callable<A, M>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
        F::Output: Future<Output = Result<T, E>>,
        T: 'static,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| opaque(block_on(async { function.call(args).await })))
        }
    }

    pub trait AsyncInfallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M> AsyncInfallible<A, M> for &&&&Probe<F>
    where
        F: Callable<A, M>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
        F::Output: Future<Output: 'static>,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| Ok(Box::new(block_on(async { function.call(args).await }))))
        }
    }

    pub trait Fallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M, T, E> Fallible<A, M> for &&&Probe<F>
    where
        F: Callable<A, M, Output = Result<T, E>>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
        T: 'static,
        E: Display,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| outcome(function.call(args)))
        }
    }

    pub trait Opaque<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M, T, E> Opaque<A, M> for &&Probe<F>
    where
        F: Callable<A, M, Output = Result<T, E>>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
        T: 'static,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| opaque(function.call(args)))
        }
    }

    pub trait Infallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M> Infallible<A, M> for &Probe<F>
    where
        F: Callable<A, M, Output: 'static>,
        A: Serialize + for<'de> OwnsWhatItHolds<'de>,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| Ok(Box::new(function.call(args))))
        }
    }

    pub trait NotAnInitializer {
        fn initializer(&self) -> InitCallOf;
    }

    // So that what cannot be registered is an error of `__check!` alone.
    impl<F> NotAnInitializer for Probe<F> {
        fn initializer(&self) -> InitCallOf {
            let refusal =
                |_: EncodedArguments<'_>| Err(InitError("it is no initializer".to_owned()));
            InitCallOf { call: Box::new(refusal), arguments: Choice::of::<()>() }
        }
    }
}

/// Names the functions that a worker may run.
///
/// Takes paths of `fn` items: plain or `async` functions of up to eight parameters, whose arguments
/// and results are serde types that own what they hold: `String` instead of `&str`. It works in any
/// module, in any crate of the binary, and any number of times. A private function is registered
/// beside it. The result of a function that serves only as an
/// [initializer](crate::Builder::initializer) need not be a serde type.
///
/// ```
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
///
/// async fn fetch(url: String) -> Result<String, String> {
///     # drop(url);
///     Ok(String::new())
/// }
///
/// procpool::register!(power, fetch);
/// # fn main() {}
/// ```
///
/// An `async` function runs on a tokio runtime of its worker, which has one thread. A plain
/// function has no runtime: make one in it, or make it `async`, if it wants to spawn.
///
/// A generic function is registered once for each type it is used with, and a function of a type or
/// a trait by its full path, as in the example. A method must take `self`, not `&self`, because all
/// parameters own what they hold.
///
/// ```
/// fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
///     items.into_iter().max()
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Model {
///     weight: f64,
/// }
///
/// impl Model {
///     fn score(self, x: f64) -> f64 {
///         self.weight * x
///     }
/// }
///
/// trait Job {
///     fn go() -> u32;
/// }
///
/// impl Job for Model {
///     fn go() -> u32 {
///         7
///     }
/// }
///
/// procpool::register!(largest::<u64>, Model::score, <Model as Job>::go);
/// # fn main() {}
/// ```
///
/// # Errors of the compiler
///
/// Most say what to write. Some have a fixed wording:
///
/// | message | what to write |
/// |---|---|
/// | ``implementation of `procpool::marker::OwnsWhatItHolds` is not general enough``, or the same of `Deserialize` | The type in its first note borrows: it has a lifetime or a reference. Write one that owns what it holds: `String` instead of `&str`, `Vec<T>` instead of `&[T]`, a structure without a lifetime. |
/// | E0283: `type annotations needed`, for a generic function | `largest::<u64>` instead of `largest` |
/// | E0433, E0425: `cannot find … in this scope` | The path from where `register!` is. In the crate of the function, that path begins with `crate::`. |
///
/// # Forms
///
/// By default, values are sent in the compact form, or in the named form if they need names. The
/// pool finds that out by trying out their types. To choose a form for the arguments and the
/// result, write it after the path:
///
/// ```
/// # fn power(base: u64, exponent: u32) -> u64 { base.pow(exponent) }
/// # fn keys(document: serde_json::Value) -> usize { document.as_object().map_or(0, |map| map.len()) }
/// procpool::register!(power => compact, keys => named);
/// # fn main() {}
/// ```
///
/// With `=> compact` a value that needs names is an error of its task.
/// [Values](crate::guide::values) says when to write either.
///
/// # Names
///
/// Functions are known by their paths. Two functions can have the same path, for example in two
/// blocks of one function. Then no pool can be built. Make such functions by
/// [`task!`](crate::task!), which tells them apart.
#[macro_export]
macro_rules! register {
    ($($function:tt)*) => {
        $crate::__register_all!($($function)*; $($function)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register_all {
    // As paths they are checked, as expressions they are passed on: errors point at those.
    (
        $($(<$self:ty $(as $trait:path)?>::)? $path:path $(=> $asked:ident)?),+ $(,)?;
        $($function:expr $(=> $form:ident)?),+ $(,)?
    ) => {
        $($crate::__register!(
            $function,
            ::core::option::Option::None,
            $crate::__form!($($form)?)
        );)+
    };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "`register!` takes paths of functions; a closure is registered in place by `task!`"
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __form {
    () => {
        ::core::option::Option::None
    };
    (compact) => {
        ::core::option::Option::Some($crate::__private::AskedForm::Compact)
    };
    (named) => {
        ::core::option::Option::Some($crate::__private::AskedForm::Named)
    };
    ($other:ident) => {
        ::core::compile_error!("a function is registered as it is, or `=> named`, or `=> compact`")
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($function:expr, $place:expr, $form:expr) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Registration {
                make: || {
                    $crate::__check!($function);
                    $crate::__parameters_and_results_must_own_what_they_hold!(
                        $function, $place, $form
                    )
                },
            }
        }
    };
}

/// Its name is what the compiler says of a type that borrows: that the implementation of
/// `OwnsWhatItHolds` is not general enough, and in which macro that originates.
#[doc(hidden)]
#[macro_export]
macro_rules! __parameters_and_results_must_own_what_they_hold {
    ($function:expr, $place:expr, $form:expr) => {{
        #[allow(unused_imports)] // which ones are needed depends on the function
        use $crate::__private::probes::{
            AsFallibleTask as _, AsOpaqueTask as _, AsTask as _, AsyncFallible as _,
            AsyncInfallible as _, AsyncOpaque as _, Fallible as _, Infallible as _, NotATask as _,
            NotAnInitializer as _, Opaque as _,
        };
        let probe = $crate::__private::Probe($function);
        $crate::__private::Function::new(
            $function,
            $place,
            $form,
            (&&&&probe).task(),
            (&&&&&&&probe).initializer(),
        )
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __check {
    ($function:expr) => {
        // It is compiled and never called; see `check.rs`.
        let _ = || {
            #[allow(unused_imports)] // as those of the probes
            use $crate::__private::search::{
                ReturnsNoReference as _, ReturnsReference as _, ReturnsUnknown as _,
                TakesNoReference as _, TakesReference as _, TakesUnknown as _,
            };
            let types = $crate::__private::check($function);
            (&&&types).parameters().refuse_as_parameter($function);
            (&&&&&types).result().refuse_as_result($function);
        };
    };
}

/// Registers a non-capturing closure in place, and evaluates to a function that
/// [`submit`](crate::ProcessPoolExecutor::submit) takes.
///
/// The types of the parameters and of the result must be written out. An `async` closure is written
/// `async |x: u64| -> u64 { … }`.
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// let next = pool.run(procpool::task!(|x: u64| -> u64 { x + 1 }), 41).await?;
/// assert_eq!(next, 42);
/// # Ok(())
/// # }
/// ```
///
/// # What it needs
///
/// It runs in another process, so it cannot capture variables. Pass what it needs as arguments:
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// let step = 1;
/// let next = pool.run(procpool::task!(|x: u64, step: u64| -> u64 { x + step }), (41, step)).await?;
/// assert_eq!(next, 42);
/// # Ok(())
/// # }
/// ```
///
/// In a method, pass the fields that are needed, or `self` itself if it is a serde type:
///
/// ```
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Model {
///     weight: f64,
/// }
///
/// impl Model {
///     fn score(&self, x: f64) -> f64 {
///         self.weight * x
///     }
///
///     async fn score_elsewhere(
///         &self,
///         pool: &procpool::ProcessPoolExecutor,
///     ) -> Result<f64, procpool::RunError> {
///         let score = procpool::task!(|model: Model, x: f64| -> f64 { model.score(x) });
///         pool.run(score, (self.clone(), 2.0)).await
///     }
/// }
/// ```
///
/// # Errors of the compiler
///
/// Some of its messages have a fixed wording, and propose what does not help here. Each of these
/// means that the closure uses something from outside of it:
///
/// | message | what it uses | what to write |
/// |---|---|---|
/// | E0434: `can't capture dynamic environment in a fn item`; it proposes "the closure form" | in `task!`, a variable or `self` | pass it as an argument |
/// | E0373: `closure may outlive the current function`; it proposes `move` | without `task!`, a variable | `task!`, and pass it as an argument |
/// | E0521: `borrowed data escapes outside of method` | without `task!`, `self` | the same |
/// | E0597: `borrowed value does not live long enough` | without `task!`, a reference | the same |
/// | E0401: `can't use generic parameters from outer item` | in `task!`, a type parameter | a generic function, [registered](crate::register!) for each type |
#[macro_export]
macro_rules! task {
    (| $(&)? $(mut)? self $($rest:tt)*) => { $crate::__no_self!() };
    (async | $(&)? $(mut)? self $($rest:tt)*) => { $crate::__no_self!() };
    // `||` is one token, so it takes rules of its own.
    (|| $(-> $result:ty)? $body:block) => { $crate::task!(| | $(-> $result)? $body) };
    (async || $(-> $result:ty)? $body:block) => { $crate::task!(async | | $(-> $result)? $body) };
    (|$($arg:ident: $type:ty),* $(,)?| $(-> $result:ty)? $body:block) => {{
        // The compiler shows this line to who uses a type parameter.
        fn task($($arg: $type),*) $(-> $result)? $body // for a generic one: `register!(f::<u64>)`
        $crate::__register_here!(task);
        task
    }};
    (async |$($arg:ident: $type:ty),* $(,)?| $(-> $result:ty)? $body:block) => {{
        async fn task($($arg: $type),*) $(-> $result)? $body // or: `register!(f::<u64>)`
        $crate::__register_here!(task);
        task
    }};
    (move $($rest:tt)*) => {
        ::core::compile_error!(
            "`task!` captures nothing, so it is written without `move`; what it needs are its \
             arguments, as in `pool.run(task!(|x: u64, step: u64| -> u64 { x + step }), (41, step))`"
        )
    };
    (async move $($rest:tt)*) => { $crate::task!(move) };
    ($($other:tt)*) => {
        ::core::compile_error!(
            "`task!` takes a closure with the types of its parameters and of its result, and with \
             braces: `task!(|x: u64| -> u64 { x + 1 })`, or `task!(async |x: u64| -> u64 { x + 1 })`; \
             each parameter is a name, without `mut`"
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __no_self {
    () => {
        ::core::compile_error!(
            "`task!` has no `self`: give the parameter a name and a type, and pass `self` as the \
             argument, as in `pool.run(task!(|model: Model| -> f64 { model.weight }), self.clone())`"
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register_here {
    ($function:path) => {
        $crate::__register!(
            $function,
            ::core::option::Option::Some(::core::concat!(
                ::core::file!(),
                ":",
                ::core::line!(),
                ":",
                ::core::column!()
            )),
            ::core::option::Option::None
        );
    };
}
