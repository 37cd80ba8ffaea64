//! Functions, by type and by name.
//!
//! [`register!`](crate::register) leaves a [`Registration`] for each function in the binary. The
//! parent finds a function by the type of its `fn` item, the worker by the name and the signature
//! that the two agree on in the handshake. No function pointer crosses the pipe.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::base::maps::IdHasher;
use crate::codec::{AskedForm, Choice, CodecError, Sink, ValueForm};
use crate::function::arguments::EncodedArguments;
use crate::function::callable::TaskFn;
use crate::memory::Encoded;
use crate::wire::hello::FunctionName;
use crate::wire::role::CopyId;

/// A task's function as the worker calls it: arguments in, result appended to the buffer, or put
/// into the sink if it is large. What it returns fits into two registers.
pub(crate) type TaskCall = Box<
    dyn Fn(
            &mut EncodedArguments<'_>,
            &mut Vec<u8>,
            usize,
            Option<&mut dyn Sink>,
        ) -> Result<Encoded, Box<CallError>>
        + Send
        + Sync,
>;

/// An initializer as the worker calls it.
type InitCall = Box<dyn Fn(EncodedArguments<'_>) -> Result<Box<dyn Any>, InitError> + Send + Sync>;

/// Why a call has no result that can be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    Arguments(CodecError),
    Result {
        error: CodecError,
        /// What the function has returned, if that is an error.
        returned: Option<String>,
    },
}

/// The text of an initializer's failure.
#[derive(Debug)]
pub(crate) struct InitError(pub(crate) String);

/// A task's call, for `register!` to carry from the probe to the [`Function`].
#[doc(hidden)]
pub struct TaskCallOf {
    pub(crate) call: TaskCall,
    /// The form of its results, which the call goes by.
    pub(crate) result: Arc<Choice>,
}

/// An initializer's call, for `register!` to carry from the probe to the [`Function`].
#[doc(hidden)]
pub struct InitCallOf {
    pub(crate) call: InitCall,
    /// The form of the arguments.
    pub(crate) arguments: Choice,
}

/// A registered function.
#[doc(hidden)]
pub struct Function {
    type_id: TypeId,
    /// What errors call it.
    path: &'static str,
    name: FunctionName,
    /// What `register!` says of it.
    form: Option<AskedForm>,
    /// `None` if its result is no serde type, as an initializer's need not be.
    task: Option<TaskCallOf>,
    initializer: InitCallOf,
}

impl Function {
    #[doc(hidden)]
    pub fn new<F: 'static>(
        _function: F,
        place: Option<&str>,
        form: Option<AskedForm>,
        task: (Option<TaskCallOf>, &str),
        initializer: InitCallOf,
    ) -> Self {
        Self::of_type((TypeId::of::<F>(), type_name::<F>()), place, form, task, initializer)
    }

    /// Not generic, so users' crates do not compile it for each of their functions.
    fn of_type(
        (type_id, path): (TypeId, &'static str),
        place: Option<&str>,
        form: Option<AskedForm>,
        (task, signature): (Option<TaskCallOf>, &str),
        initializer: InitCallOf,
    ) -> Self {
        let name = match place {
            Some(place) => format!("{path} ({place})"),
            None => path.to_owned(),
        };
        let name = FunctionName { name, signature: signature.to_owned() };
        let function = Self { type_id, path, name, form, task, initializer };
        if let Some(form) = form {
            function.ask(form);
        }
        function
    }

    fn ask(&self, form: AskedForm) {
        self.arguments().ask(form);
        if let Some(task) = &self.task {
            task.result.ask(form);
        }
    }

    pub(crate) fn name(&self) -> &FunctionName {
        &self.name
    }

    pub(crate) fn task(&self) -> Option<&TaskCall> {
        self.task.as_ref().map(|task| &task.call)
    }

    /// The form of its arguments.
    #[inline]
    pub(crate) fn arguments(&self) -> &Choice {
        &self.initializer.arguments
    }

    fn forms(&self) -> Option<ValueForms> {
        let arguments = self.arguments().form();
        Some(ValueForms { arguments, result: self.task.as_ref()?.result.form() })
    }

    pub(crate) fn initializer(&self) -> &InitCall {
        &self.initializer.call
    }
}

/// In which forms the values of a function are sent; what [`value_forms`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueForms {
    /// That of its arguments.
    pub arguments: ValueForm,
    /// That of its result.
    pub result: ValueForm,
}

/// In which forms the arguments and the results of a registered function are sent, as far as this
/// process knows. Each form is the compact one until something in a type, or in a value, has shown
/// that it needs names.
///
/// Results are encoded by a worker. It may have met a value that needs names, of which this process
/// does not know. `None` if the function is not registered as a task.
///
/// ```
/// use procpool::ValueForm;
///
/// fn area(width: f64, height: f64) -> f64 {
///     width * height
/// }
///
/// fn keys(document: serde_json::Value) -> usize {
///     document.as_object().map_or(0, serde_json::Map::len)
/// }
///
/// procpool::register!(area, keys);
///
/// # fn main() {
/// assert_eq!(procpool::value_forms(area).unwrap().arguments, ValueForm::Compact);
/// let ValueForm::Named { reason } = procpool::value_forms(keys).unwrap().arguments else {
///     panic!("it has no names");
/// };
/// assert!(reason.contains("serde_json"), "{reason}");
/// # }
/// ```
pub fn value_forms<F: TaskFn<A, M>, A, M>(_function: F) -> Option<ValueForms> {
    Registry::global().lookup::<F>()?.1.forms()
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
    by_type: HashMap<TypeId, u32, BuildHasherDefault<IdHasher>>,
}

impl Registry {
    pub(crate) fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::new(registered().collect()))
    }

    /// Which copy of this crate this is. It must be the same in each process of a program, so what
    /// libraries register that are opened later makes no difference, once it was asked for.
    pub(crate) fn copy_id() -> &'static CopyId {
        static ID: OnceLock<CopyId> = OnceLock::new();
        ID.get_or_init(|| CopyId::new(digest(registered().map(|function| function.type_id))))
    }

    fn new(mut functions: Vec<Function>) -> Self {
        functions.sort_by(|a, b| (&a.name, a.type_id).cmp(&(&b.name, b.type_id)));
        // Some are registered more than once; what any of the lines says of the form holds.
        functions.dedup_by(|again, function| {
            let is_same = again.type_id == function.type_id;
            if let Some(form) = again.form.filter(|_| is_same) {
                function.ask(form);
            }
            is_same
        });
        let by_type =
            (0..).zip(&functions).map(|(index, function)| (function.type_id, index)).collect();
        Self { functions, by_type }
    }

    /// The function with this position.
    pub(crate) fn get(&self, position: u32) -> Option<&Function> {
        self.functions.get(position as usize)
    }

    /// What errors call the function with this position.
    pub(crate) fn path(&self, position: u32) -> &'static str {
        self.get(position).map_or("", |function| function.path)
    }

    /// A function, and its position, by which tasks name it.
    pub(crate) fn lookup<F: 'static>(&self) -> Option<(u32, &Function)> {
        self.lookup_type(TypeId::of::<F>())
    }

    fn lookup_type(&self, function: TypeId) -> Option<(u32, &Function)> {
        let position = *self.by_type.get(&function)?;
        Some((position, self.get(position)?))
    }

    /// What the other process is told in the handshake.
    pub(crate) fn names(&self) -> Vec<FunctionName> {
        self.functions.iter().map(|function| function.name.clone()).collect()
    }

    /// A name that two functions share, if there is one.
    pub(crate) fn ambiguity(&self) -> Option<&str> {
        let twins =
            self.functions.windows(2).find(|pair| pair[0].name.name == pair[1].name.name)?;
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

fn registered() -> impl Iterator<Item = Function> {
    inventory::iter::<Registration>.into_iter().map(|registration| (registration.make)())
}

/// Says which functions there are, in whichever order and how often. Their types differ if they
/// have the same names in two crates.
fn digest(types: impl Iterator<Item = TypeId>) -> u64 {
    let mut types: Vec<_> = types.collect();
    types.sort_unstable();
    types.dedup();
    let mut hasher = DefaultHasher::new();
    types.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Fault, decode, encode_compact};
    use crate::function::probe::Probe;
    use crate::function::probe::probes::*;

    fn power(base: u64, exponent: u32) -> u64 {
        base.pow(exponent)
    }

    fn function<F: 'static>(f: F, name: &str, signature: &str) -> Function {
        let mut function =
            Function::new(f, None, None, (&&Probe(power)).task(), (&&Probe(power)).initializer());
        function.name = FunctionName { name: name.into(), signature: signature.into() };
        function
    }

    fn registry() -> Registry {
        Registry::new(vec![function(power, "power", "a"), function(power, "power", "a")])
    }

    #[test]
    fn a_function_is_found_by_its_type_and_called_by_position() {
        let registry = registry();
        assert!(registry.lookup::<fn()>().is_none());
        let power = &registry.functions[0];
        let (mut args, mut result) = (Vec::new(), Vec::new());
        encode_compact(&(2_u64, 10_u32), &mut args, 100).unwrap();
        let call = power.task().unwrap();
        let encoded = call(&mut EncodedArguments::new(&mut args), &mut result, 100, None).unwrap();
        assert!(encoded.kept.is_empty() && !encoded.in_sink);
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
    fn a_digest_tells_functions_and_not_their_order() {
        let [one, two] = [TypeId::of::<u8>(), TypeId::of::<u16>()];
        let digest = |types: &[TypeId]| digest(types.iter().copied());
        assert_eq!(digest(&[one, two]), digest(&[two, one, two]));
        assert_ne!(digest(&[one]), digest(&[two]));
        assert_ne!(digest(&[one]), digest(&[one, two]));
        assert_ne!(digest(&[]), digest(&[one]));
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
        let call = registry.functions[0].task().unwrap();
        let (mut args, mut out) = (Vec::new(), Vec::new());
        let result = call(&mut EncodedArguments::new(&mut args), &mut out, 9, None);
        assert!(matches!(*result.unwrap_err(), CallError::Arguments(_)));
        encode_compact(&(2_u64, 60_u32), &mut args, 100).unwrap();
        let error = Fault::TooLarge { limit: 3 }.into();
        let too_large = CallError::Result { error, returned: None };
        assert_eq!(
            call(&mut EncodedArguments::new(&mut args), &mut out, 3, None).unwrap_err(),
            Box::new(too_large)
        );
    }
}
