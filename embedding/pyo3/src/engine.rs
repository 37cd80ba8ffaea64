//! What runs beside the interpreter: a runtime, and a thread that tells Python of results.

use std::sync::{Mutex, PoisonError, mpsc};

use bytes::Bytes;
use pyo3::prelude::*;
use tokio::runtime::Runtime;

/// A future of Python's, and what has become of its task.
type Done = (Py<PyAny>, Result<Bytes, String>);

pub(crate) struct Engine {
    process: u32,
    pub(crate) runtime: Runtime,
    pub(crate) done: mpsc::Sender<Done>,
}

impl Engine {
    /// That of this process: neither a runtime nor a thread survives `os.fork()`, so a copy has its
    /// own, and leaves that of its parent alone for ever.
    pub(crate) fn of_this_process() -> &'static Self {
        static ENGINE: Mutex<Option<&Engine>> = Mutex::new(None);
        let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        match *engine {
            Some(engine) if engine.process == std::process::id() => engine,
            _ => engine.insert(Box::leak(Box::new(Self::start()))),
        }
    }

    fn start() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system has threads and descriptors");
        let (done, receiver) = mpsc::channel();
        std::thread::spawn(move || tell(&receiver));
        Self { process: std::process::id(), runtime, done }
    }
}

/// Takes the interpreter's lock for each result, which may take long.
fn tell(done: &mpsc::Receiver<Done>) {
    for (future, result) in done {
        Python::attach(|py| {
            let value = result.map_err(crate::failed).and_then(|bytes| crate::load(py, &bytes));
            let told = match value {
                Ok(value) => future.call_method1(py, "set_result", (value,)),
                Err(error) => future.call_method1(py, "set_exception", (error.into_value(py),)),
            };
            let _ = told; // who has cancelled it wants to know nothing
        });
    }
}
