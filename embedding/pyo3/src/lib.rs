//! A Python module with a pool of processes that call Python functions.
//!
//! ```python
//! import crunch
//! from tasks import resize # a function that the workers can import, too
//!
//! pool = crunch.Pool(4) # or crunch.Pool(4, preload=["tasks"]): the workers are forked then
//! assert pool.submit(resize, image).result() # a `concurrent.futures.Future`
//! pool.shutdown()
//! ```

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod engine;
mod hooks;

use bytes::Bytes;
use procpool::{ProcessPoolExecutor, StartMethod, WorkerOutput};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::engine::Engine;

procpool::register!(call, import_modules);

/// In a fork server, from which workers inherit them.
fn import_modules(names: Vec<String>) -> Result<(), String> {
    Python::attach(|py| {
        names.iter().try_for_each(|name| py.import(name).map(drop)).map_err(|e| describe(py, &e))
    })
}

/// In a worker: unpickles a function and its arguments, calls it, and pickles what it returns.
fn call(pickled: Bytes) -> Result<Bytes, String> {
    Python::attach(|py| {
        let result = load(py, &pickled).and_then(|task| {
            let (function, arguments): (Bound<'_, PyAny>, Bound<'_, PyTuple>) = task.extract()?;
            dump(py, &function.call1(arguments)?)
        });
        result.map_err(|error| describe(py, &error))
    })
}

fn dump(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let pickled = py.import("pickle")?.call_method1("dumps", (value,))?;
    Ok(Bytes::copy_from_slice(pickled.cast::<PyBytes>()?.as_bytes()))
}

fn load<'py>(py: Python<'py>, pickled: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    py.import("pickle")?.call_method1("loads", (PyBytes::new(py, pickled),))
}

/// With its traceback.
fn describe(py: Python<'_>, error: &PyErr) -> String {
    let lines = py.import("traceback").and_then(|traceback| {
        let lines = traceback.call_method1("format_exception", (error.value(py),))?;
        lines.extract::<Vec<String>>()
    });
    lines.map_or_else(|_| error.to_string(), |lines| lines.concat())
}

fn failed(error: impl std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Runs Python functions in processes of their own.
#[pyclass(frozen)]
struct Pool {
    pool: ProcessPoolExecutor,
    /// To which the pool belongs.
    engine: &'static Engine,
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (max_workers = None, *, preload = None))]
    fn new(
        py: Python<'_>,
        max_workers: Option<usize>,
        preload: Option<Vec<String>>,
    ) -> PyResult<Self> {
        // This program is the interpreter: another one is a worker once it loads this module, and
        // calls what becomes a worker. It prints at once, so that no line waits in its buffer.
        let python: String = py.import("sys")?.getattr("executable")?.extract()?;
        let worker = [&*python, "-u", "-c", "import crunch; crunch.worker_main()"];
        let mut builder = ProcessPoolExecutor::builder()
            .name("crunch")
            .worker_command(worker)
            .worker_output(WorkerOutput::Stdout)
            .exit_hook(hooks::end_python, ());
        if let Some(workers) = max_workers {
            builder = builder.max_workers(workers);
        }
        if let Some(modules) = preload {
            builder = builder
                .start_method(StartMethod::ForkServer)
                .preload(import_modules, modules)
                .before_fork(hooks::before_fork, ())
                .after_fork_in_parent(hooks::after_fork_in_parent, ())
                .after_fork(hooks::after_fork, ());
        }
        let engine = Engine::of_this_process();
        let _entered = engine.runtime.enter();
        Ok(Self { pool: builder.build().map_err(failed)?, engine })
    }

    /// A `concurrent.futures.Future` of what `function(*arguments)` returns in a worker.
    #[pyo3(signature = (function, *arguments))]
    fn submit(
        &self,
        py: Python<'_>,
        function: Bound<'_, PyAny>,
        arguments: Bound<'_, PyTuple>,
    ) -> PyResult<Py<PyAny>> {
        let name: String = function.getattr("__qualname__").and_then(|name| name.extract())?;
        let pickled = dump(py, (function, arguments).into_pyobject(py)?.as_any())?;
        let future = py.import("concurrent.futures")?.getattr("Future")?.call0()?.unbind();
        let (pool, told) = (self.pool.clone(), future.clone_ref(py));
        let done = self.engine.done.clone();
        self.engine.runtime.spawn(async move {
            // What a task is called in errors, instead of `crunch::call`.
            let result = pool.task(call, pickled).label(name).run().await;
            // A runtime's thread must not wait for the lock of the interpreter: another one does.
            let _ = done.send((told, result.map_err(|error| error.to_string()).flatten()));
        });
        Ok(future)
    }

    /// Waits until all tasks are over, and ends the workers.
    fn shutdown(&self, py: Python<'_>) {
        py.detach(|| self.engine.runtime.block_on(self.pool.shutdown()));
    }
}

/// What a worker runs instead of a program; it does not return.
#[pyfunction]
fn worker_main(py: Python<'_>) {
    // While it waits for tasks, Python's other threads run.
    py.detach(|| procpool::worker_main());
}

#[pymodule]
fn crunch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Pool>()?;
    module.add_function(wrap_pyfunction!(worker_main, module)?)
}
