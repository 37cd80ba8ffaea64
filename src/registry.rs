//! Functions, by type and by name.
//!
//! [`register!`](crate::register) leaves a [`Registration`] for each function in the binary. The
//! parent finds a function by the type of its `fn` item, the worker by the name and the signature
//! that the two agree on in the handshake. No function pointer crosses the pipe.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::child::{Payload, block_on};
use crate::codec::{CodecError, decode, encode};
use crate::wire::FunctionName;

/// A function with arguments `A`: any `fn` of zero to eight parameters whose arguments are serde
/// types. One parameter is passed bare, several as a tuple, none as `()`.
///
/// It is implemented for all such functions; `M` only keeps the implementations apart.
pub trait Callable<A, M>: Copy + Send + 'static {
    /// What the call evaluates to; a future for an `async fn`.
    type Output;

    /// Calls the function.
    fn call(self, args: A) -> Self::Output;
}

macro_rules! impl_callable {
    ($args:ty, $pattern:pat, $($type:ident $arg:ident),*) => {
        impl<F, $($type,)* R> Callable<$args, fn($($type),*) -> R> for F
        where
            F: Fn($($type),*) -> R + Copy + Send + 'static,
            $($type: Serialize + DeserializeOwned + 'static,)*
        {
            type Output = R;

            fn call(self, $pattern: $args) -> R {
                self($($arg),*)
            }
        }
    };
}

impl_callable!((), (), );
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
    note = "one argument is passed bare, several as a tuple, none as `()`"
)]
pub trait TaskFn<A, M>: Copy + Send + 'static {
    /// The result, awaited if the function is `async`.
    type Output: Serialize + DeserializeOwned + 'static;

    #[doc(hidden)]
    fn execute(self, args: A) -> Self::Output;
}

/// Marks the implementation of [`TaskFn`] for sync functions.
#[derive(Debug)]
pub struct Sync<M>(M);

/// Marks the implementation of [`TaskFn`] for `async` functions.
#[derive(Debug)]
pub struct Async<M>(M);

// A future is not `Serialize`, so for each function only one of the two can be meant.
impl<F, A, M, R> TaskFn<A, Sync<M>> for F
where
    F: Callable<A, M, Output = R>,
    R: Serialize + DeserializeOwned + 'static,
{
    type Output = R;

    fn execute(self, args: A) -> R {
        self.call(args)
    }
}

impl<F, A, M, R> TaskFn<A, Async<M>> for F
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

/// A task's function as the worker calls it: arguments in, result appended to the buffer.
pub(crate) type TaskCall =
    Box<dyn Fn(Payload<'_>, Vec<u8>, usize) -> Result<Vec<u8>, CallError> + Send + std::marker::Sync>;

/// An initializer as the worker calls it.
pub(crate) type InitCall =
    Box<dyn Fn(&[u8]) -> Result<Box<dyn Any>, InitError> + Send + std::marker::Sync>;

/// Why a call has no result that can be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    Arguments(CodecError),
    Result(CodecError),
}

/// The text of an initializer's failure.
#[derive(Debug)]
pub struct InitError(pub(crate) String);

/// A registered function.
#[doc(hidden)]
pub struct Function {
    type_id: TypeId,
    type_name: &'static str,
    name: FunctionName,
    /// `None` if its result is no serde type, as an initializer's need not be.
    task: Option<TaskCall>,
    initializer: InitCall,
}

impl Function {
    #[doc(hidden)]
    pub fn new<F: 'static>(
        _function: F,
        place: Option<&str>,
        (task, signature): (Option<TaskCallOf>, &str),
        initializer: InitCallOf,
    ) -> Self {
        let type_name = type_name::<F>();
        let name = match place {
            Some(place) => format!("{type_name} ({place})"),
            None => type_name.to_owned(),
        };
        let name = FunctionName { name, signature: signature.to_owned() };
        let task = task.map(|call| call.0);
        Self { type_id: TypeId::of::<F>(), type_name, name, task, initializer: initializer.0 }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(crate) fn task(&self) -> Option<&TaskCall> {
        self.task.as_ref()
    }

    pub(crate) fn initializer(&self) -> &InitCall {
        &self.initializer
    }
}

/// What `register!` leaves in the binary.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration {
    pub make: fn() -> Function,
}

inventory::collect!(Registration);

/// What `test_support!` leaves in the binary: the path of the test that is the worker.
#[doc(hidden)]
#[derive(Debug)]
pub struct TestWorker {
    pub module: &'static str,
}

inventory::collect!(TestWorker);

impl TestWorker {
    /// The test's name as the test harness knows it, if this is a test binary.
    pub(crate) fn name() -> Option<String> {
        let module = inventory::iter::<Self>.into_iter().next()?.module;
        // The harness leaves out the crate.
        let path = module.split_once("::").map(|(_, path)| format!("{path}::"));
        Some(path.unwrap_or_default() + "procpool_worker")
    }
}

/// Every function that was registered in this binary.
pub(crate) struct Registry {
    /// In order of name.
    functions: Vec<Function>,
    by_type: HashMap<TypeId, u32>,
}

impl Registry {
    pub(crate) fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(|| {
            let registrations = inventory::iter::<Registration>.into_iter();
            Self::new(registrations.map(|registration| (registration.make)()).collect())
        })
    }

    fn new(mut functions: Vec<Function>) -> Self {
        functions.sort_by(|a, b| (&a.name, a.type_id).cmp(&(&b.name, b.type_id)));
        functions.dedup_by_key(|function| function.type_id); // registered more than once
        let by_type =
            (0..).zip(&functions).map(|(index, function)| (function.type_id, index)).collect();
        Self { functions, by_type }
    }

    /// The position of a function that tasks name it by.
    pub(crate) fn position<F: 'static>(&self) -> Option<u32> {
        self.by_type.get(&TypeId::of::<F>()).copied()
    }

    pub(crate) fn get(&self, position: u32) -> Option<&Function> {
        self.functions.get(position as usize)
    }

    /// What the other process is told in the handshake.
    pub(crate) fn names(&self) -> Vec<FunctionName> {
        self.functions.iter().map(|function| function.name.clone()).collect()
    }

    /// A name that two functions share, if there is one.
    pub(crate) fn ambiguity(&self) -> Option<&str> {
        let twins = self.functions.windows(2).find(|pair| pair[0].name.name == pair[1].name.name)?;
        Some(&twins[0].name.name)
    }

    /// Finds the functions that the other process asks for, or says what differs.
    pub(crate) fn resolve(&self, wanted: &[FunctionName]) -> Result<Vec<&Function>, Vec<String>> {
        let (mut found, mut differences) = (Vec::new(), Vec::new());
        for wanted in wanted {
            match self.functions.iter().find(|function| function.name.name == wanted.name) {
                Some(function) if function.name == *wanted => found.push(function),
                Some(function) => differences.push(format!(
                    "`{}` is `{}` here and `{}` in the worker",
                    wanted.name, wanted.signature, function.name.signature
                )),
                None => differences.push(format!("`{}` is missing in the worker", wanted.name)),
            }
        }
        if differences.is_empty() { Ok(found) } else { Err(differences) }
    }
}

/// `register!` must find out what a function can be without naming its types. Method calls on a
/// reference to a `Probe` do that: they take the first trait, counted from the outermost `&`, whose
/// bounds hold.
#[doc(hidden)]
#[derive(Debug)]
pub struct Probe<F>(pub F);

/// A task's call, for `register!` to carry from the probe to the [`Function`].
#[doc(hidden)]
pub struct TaskCallOf(TaskCall);

/// An initializer's call, for `register!` to carry from the probe to the [`Function`].
#[doc(hidden)]
pub struct InitCallOf(InitCall);

#[doc(hidden)]
pub mod probes {
    use super::*;

    type Task = (Option<TaskCallOf>, &'static str);

    pub trait AsTask<A, M> {
        fn task(&self) -> Task;
    }

    impl<F, A, M> AsTask<A, M> for &Probe<F>
    where
        F: TaskFn<A, M> + std::marker::Sync,
        A: DeserializeOwned,
    {
        fn task(&self) -> Task {
            let function = self.0;
            let call: TaskCall = Box::new(move |args, buffer, limit| {
                let decoded = decode::<A>(args.bytes()).map_err(CallError::Arguments)?;
                args.release();
                encode(&function.execute(decoded), buffer, limit).map_err(CallError::Result)
            });
            (Some(TaskCallOf(call)), type_name::<fn(A) -> F::Output>())
        }
    }

    pub trait NotATask {
        fn task(&self) -> Task;
    }

    impl<F> NotATask for Probe<F> {
        fn task(&self) -> Task {
            (None, "initializer")
        }
    }

    fn init_call<A: DeserializeOwned>(
        call: impl Fn(A) -> Result<Box<dyn Any>, InitError> + Send + std::marker::Sync + 'static,
    ) -> InitCallOf {
        InitCallOf(Box::new(move |args| {
            let args = decode(args).map_err(|error| {
                InitError(format!("its arguments cannot be decoded: {error}"))
            })?;
            call(args)
        }))
    }

    fn outcome<T: 'static, E: Display>(result: Result<T, E>) -> Result<Box<dyn Any>, InitError> {
        match result {
            Ok(state) => Ok(Box::new(state)),
            Err(error) => Err(InitError(error.to_string())),
        }
    }

    pub trait AsyncFallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M, T, E> AsyncFallible<A, M> for &&&Probe<F>
    where
        F: Callable<A, M> + std::marker::Sync,
        A: DeserializeOwned,
        F::Output: Future<Output = Result<T, E>>,
        T: 'static,
        E: Display,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| outcome(block_on(async { function.call(args).await })))
        }
    }

    pub trait AsyncInfallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M> AsyncInfallible<A, M> for &&Probe<F>
    where
        F: Callable<A, M> + std::marker::Sync,
        A: DeserializeOwned,
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

    impl<F, A, M, T, E> Fallible<A, M> for &Probe<F>
    where
        F: Callable<A, M, Output = Result<T, E>> + std::marker::Sync,
        A: DeserializeOwned,
        T: 'static,
        E: Display,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| outcome(function.call(args)))
        }
    }

    pub trait Infallible<A, M> {
        fn initializer(&self) -> InitCallOf;
    }

    impl<F, A, M> Infallible<A, M> for Probe<F>
    where
        F: Callable<A, M, Output: 'static> + std::marker::Sync,
        A: DeserializeOwned,
    {
        fn initializer(&self) -> InitCallOf {
            let function = self.0;
            init_call(move |args| Ok(Box::new(function.call(args))))
        }
    }
}

/// Names the functions that a worker may run.
///
/// Takes paths of `fn` items: plain or `async` functions of up to eight parameters, whose arguments
/// and results are serde types. It works in any module, in any crate of the binary, and any number
/// of times; a generic function is registered once for each type it is used with. The result of a
/// function that serves only as an [initializer](crate::Builder::initializer) need not be a serde
/// type.
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
/// Functions are known by their path, so two of the same path (in two blocks of one function, say)
/// are told apart only if they are made by [`task!`](crate::task). A pool is not built where that is
/// violated.
#[macro_export]
macro_rules! register {
    ($($function:path),+ $(,)?) => {
        $($crate::__register!($function, ::core::option::Option::None);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($function:path, $place:expr) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Registration {
                make: || {
                    #[allow(unused_imports)] // which ones are needed depends on the function
                    use $crate::__private::probes::{
                        AsTask as _, AsyncFallible as _, AsyncInfallible as _, Fallible as _,
                        Infallible as _, NotATask as _,
                    };
                    let probe = $crate::__private::Probe($function);
                    $crate::__private::Function::new(
                        $function,
                        $place,
                        (&&probe).task(),
                        (&&&&probe).initializer(),
                    )
                },
            }
        }
    };
}

/// Registers a non-capturing closure in place, and evaluates to a function that
/// [`submit`](crate::ProcessPoolExecutor::submit) takes.
///
/// The types must be written out. An `async` closure is written `async |x: u64| -> u64 { … }`.
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// let next = pool.run(procpool::task!(|x: u64| -> u64 { x + 1 }), 41).await?;
/// assert_eq!(next, 42);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! task {
    (|$($arg:ident: $type:ty),* $(,)?| $(-> $result:ty)? $body:block) => {{
        fn task($($arg: $type),*) $(-> $result)? $body
        $crate::__register_here!(task);
        task
    }};
    (async |$($arg:ident: $type:ty),* $(,)?| $(-> $result:ty)? $body:block) => {{
        async fn task($($arg: $type),*) $(-> $result)? $body
        $crate::__register_here!(task);
        task
    }};
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
            ))
        );
    };
}

#[cfg(test)]
mod tests {
    use super::probes::*;
    use super::*;

    fn power(base: u64, exponent: u32) -> u64 {
        base.pow(exponent)
    }

    fn function<F: 'static>(f: F, name: &str, signature: &str) -> Function {
        let mut function =
            Function::new(f, None, (&&Probe(power)).task(), (&&&&Probe(power)).initializer());
        function.name = FunctionName { name: name.into(), signature: signature.into() };
        function
    }

    fn registry() -> Registry {
        Registry::new(vec![function(power, "power", "a"), function(power, "power", "a")])
    }

    #[test]
    fn a_function_is_found_by_its_type_and_called_by_position() {
        let registry = registry();
        let position = registry.position::<fn()>();
        assert_eq!(position, None);
        let power = registry.get(registry.functions.len() as u32 - 1).unwrap();
        let mut args = encode(&(2_u64, 10_u32), Vec::new(), 100).unwrap();
        let result = power.task().unwrap()(Payload::new(&mut args), Vec::new(), 100).unwrap();
        assert_eq!(decode::<u64>(&result).unwrap(), 1024);
    }

    #[test]
    fn registering_twice_is_registering_once() {
        assert_eq!(registry().functions.len(), 1);
        assert_eq!(registry().ambiguity(), None);
    }

    #[test]
    fn two_functions_of_one_name_are_an_ambiguity() {
        let functions = vec![function(power, "f", "a"), function(|| (), "f", "a")];
        assert_eq!(Registry::new(functions).ambiguity(), Some("f"));
    }

    #[test]
    fn differences_are_listed() {
        let wanted = |name: &str, signature: &str| FunctionName {
            name: name.into(),
            signature: signature.into(),
        };
        let registry = registry();
        assert!(registry.resolve(&[wanted("power", "a")]).is_ok());
        let result = registry.resolve(&[wanted("power", "b"), wanted("root", "a")]);
        let differences = result.err().unwrap();
        assert_eq!(differences.len(), 2);
        assert!(differences[0].contains("`b` here and `a` in the worker"), "{differences:?}");
        assert!(differences[1].contains("`root` is missing"), "{differences:?}");
    }

    #[test]
    fn undecodable_arguments_and_too_large_results_are_told_apart() {
        let registry = registry();
        let call = registry.get(0).unwrap().task().unwrap();
        let result = call(Payload::new(&mut Vec::new()), Vec::new(), 9);
        assert!(matches!(result, Err(CallError::Arguments(_))));
        let mut args = encode(&(2_u64, 60_u32), Vec::new(), 100).unwrap();
        let too_large = Err(CallError::Result(CodecError::TooLarge { limit: 3 }));
        assert_eq!(call(Payload::new(&mut args), Vec::new(), 3), too_large);
    }
}
