//! The life of a [`Process`](crate::Process): hello, its function, its end.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::call::call;
use super::limits::CallLimits;
use super::original::be_original;
use super::panic::{catch, record_panics};
use super::progress::Reporter;
use super::stream::{FrameReader, FrameWriter, Lending};
use super::worker::{end_without_thread, watch_parent};
use crate::base::log::print;
use crate::base::{ParentLink, TaskId, current_process};
use crate::function::{EncodedArguments, Function, InitError, Registry};
use crate::memory::shared::settle;
use crate::sys::descriptor::close_inherited;
use crate::sys::pipe::set_standard_streams;
use crate::sys::signal::{leave_terminal, shares_group_with};
use crate::sys::socket::{receive_with_descriptors, take_control_socket};
use crate::wire::frame::{VERSION, put_frame, put_task_frame, split_header};
use crate::wire::hello::{ProcessHello, WorkerHello, peek_version};
use crate::wire::message::{Kind, Outcome, PanicReport, Ready, ReplyHeader};

/// What a process ends with that has failed.
const FAILURE: i32 = 1;

/// Runs the function and ends the process.
pub(crate) fn run() -> ! {
    match take_control_socket().and_then(serve) {
        Ok(code) => std::process::exit(code),
        // Perhaps it was started by hand, or its parent has gone before it could say what to run.
        Err(error) => {
            print(format_args!(
                "a process, which a `Process` has to start, has no parent: {error}"
            ));
            std::process::exit(FAILURE)
        }
    }
}

/// Returns the exit code.
fn serve(socket: File) -> io::Result<i32> {
    be_original();
    take_standard_streams(&socket)?;
    let socket = Arc::new(socket);
    let reporter = Reporter::of_process(socket.try_clone()?);
    let mut writer = FrameWriter::new(reporter, Lending::WithFrames);
    let mut reader = FrameReader::new(Arc::clone(&socket))?;
    let mut incoming = reader.read()?;
    let (_, body) = incoming.parse()?;
    if peek_version(body)? != VERSION {
        return refuse(&mut writer, Vec::new());
    }
    let (hello, arguments) = split_header::<ProcessHello>(body)?;
    let arguments = arguments.len();
    let function = match Registry::global().resolve(std::slice::from_ref(&hello.function)) {
        Ok(functions) => functions[0],
        Err(differences) => return refuse(&mut writer, differences),
    };
    if !hello.identity.parent_pid().is_some_and(shares_group_with) {
        leave_terminal();
    }
    let link = ParentLink { input: Arc::clone(&socket), is_silent: true };
    hello.identity.clone().adopt(link);
    if hello.ends_with_parent
        && let Err(error) = watch_parent(socket, &hello.identity, None)
    {
        end_without_thread(&error);
    }
    record_panics(|_| {});
    close_inherited(&hello.pass_fds);
    hello.oom_score.apply();
    hello.limits.apply()?;
    hello.limits.apply_cpu_time()?;
    put_frame(writer.buffer(), Kind::WorkerHello, &answer(Vec::new()), 0)?;
    put_frame(writer.buffer(), Kind::Ready, &Ready::default(), 0)?;
    writer.flush()?;
    let arguments = incoming.payload(arguments);
    if hello.typed {
        run_for_result(function, arguments, hello.max_payload(), &mut writer)
    } else {
        Ok(run_for_code(function, arguments))
    }
}

/// Those that it was started with are in use for something else.
fn take_standard_streams(socket: &File) -> io::Result<()> {
    let (_, streams) = receive_with_descriptors(socket, &mut [0])?;
    match <[_; 2]>::try_from(streams) {
        Ok([stdin, stdout]) => set_standard_streams(stdin, stdout),
        Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn run_for_code(function: &Function, arguments: EncodedArguments<'_>) -> i32 {
    match catch(|| (function.initializer())(arguments)) {
        Ok(Ok(value)) => {
            std::mem::forget(value); // its drop is user code that may panic, and the end is near
            0
        }
        Ok(Err(InitError(message))) => {
            print(format_args!("process `{}` failed: {message}", current_process().name()));
            FAILURE
        }
        Err(panic) => {
            print_panic(&panic.report());
            FAILURE
        }
    }
}

/// What the panic hook leaves out unless `RUST_BACKTRACE` is set.
fn print_panic(report: &PanicReport) {
    let (name, backtrace) = (current_process().name(), &report.backtrace);
    let printed = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    if printed || backtrace.is_empty() {
        print(format_args!("process `{name}` {report}"));
    } else {
        print(format_args!("process `{name}` {report}\nstack backtrace:\n{backtrace}"));
    }
}

fn run_for_result(
    function: &Function,
    arguments: EncodedArguments<'_>,
    limit: usize,
    writer: &mut FrameWriter,
) -> io::Result<i32> {
    let put_header = |out: &mut Vec<u8>, outcome, length| {
        let header = ReplyHeader { run_time: 0, task: TaskId(0), outcome };
        put_task_frame(out, Kind::Reply, &header, length)
    };
    let (outcome, encoded) = call(
        function,
        arguments,
        writer.buffer(),
        limit,
        None,
        &CallLimits::default(),
        put_header,
    )?;
    // If the parent has gone nobody wants it.
    let _ = writer.lend(encoded.kept).and_then(|()| writer.flush());
    settle();
    Ok(if outcome == Outcome::Returned { 0 } else { FAILURE })
}

fn answer(differences: Vec<String>) -> WorkerHello {
    WorkerHello { version: VERSION, no_page: Some(0), differences }
}

/// Says why this is no process for that parent.
fn refuse(writer: &mut FrameWriter, differences: Vec<String>) -> io::Result<i32> {
    put_frame(writer.buffer(), Kind::WorkerHello, &answer(differences), 0)?;
    writer.flush()?;
    Ok(FAILURE)
}
