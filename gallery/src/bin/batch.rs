//! Calls a function with each line of a file, and goes on where it stopped: after Ctrl-C, and
//! after SIGKILL.
//!
//! ```console
//! $ seq 200000 > numbers
//! $ cargo run --release -p procpool-gallery --bin batch -- numbers steps        # press Ctrl-C
//! $ cargo run --release -p procpool-gallery --bin batch -- numbers steps        # goes on
//! $ paste numbers steps | sort -nk 2 | tail -1
//! ```
//!
//! Each line of the input becomes one line of the output, in the same order. So the number of lines
//! in the output says where to go on, and no other record is kept.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::Cell;
use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use procpool::{ProcessPoolExecutor, TaskError, WorkerOutput};
use tokio::signal::unix::{SignalKind, signal};

/// A line that takes longer is given up.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// So many results are written at once, if there are as many.
const MOST_AT_ONCE: usize = 10_000;
/// What a shell calls a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;
/// And one that SIGTERM has ended.
const TERMINATED: u8 = 143;
/// What the line of a failure begins with.
const FAILED: &str = "error: ";

/// Halve what is even, else triple it and add one: how many steps are there to one? Nobody has
/// thought of all lines: a text is refused, a huge number panics, and zero never ends.
fn steps(line: String) -> Result<u32, String> {
    let mut number: u128 = line.parse().map_err(|error| format!("{line:?}: {error}"))?;
    let mut steps = 0;
    while number != 1 {
        number = if number.is_multiple_of(2) {
            number / 2
        } else {
            number.checked_mul(3).expect("the number gets too large") + 1
        };
        steps += 1;
    }
    Ok(steps)
}

procpool::register!(steps);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some(settings) = Settings::from_args(std::env::args().skip(1)) else {
        eprintln!("usage: batch INPUT OUTPUT [SECONDS], which is the most that a line may take");
        return ExitCode::from(2);
    };
    match run(&settings) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    input: PathBuf,
    output: PathBuf,
    limit: Duration,
}

impl Settings {
    fn from_args(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (input, output) = (args.next()?.into(), args.next()?.into());
        let seconds = args.next().map(|arg| arg.parse()).transpose().ok()?;
        let limit = seconds.map_or(Some(LINE_LIMIT), |s| Duration::try_from_secs_f64(s).ok())?;
        args.next().is_none().then_some(Self { input, output, limit })
    }
}

#[tokio::main]
async fn run(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    // Workers are in process groups of their own, so Ctrl-C reaches this process alone.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let total = lines(&settings.input)?.try_fold(0_u64, |count, line| line.map(|_| count + 1))?;
    let mut output = Output::open(&settings.output, total)?;
    if output.lines > 0 {
        eprintln!("{} of {total} lines are done already", output.lines);
    }
    let mut display = Display::new(total, output.lines);

    // What lines print would disturb the bar. Why one fails is reported with its number.
    let pool = ProcessPoolExecutor::builder().worker_output(WorkerOutput::Null).build()?;
    let unread = Cell::new(None);
    let inputs = lines(&settings.input)?
        .skip(usize::try_from(output.lines)?)
        .map_while(|line| line.map_err(|error| unread.set(Some(error))).ok());
    // Lazy: a file of any size takes little memory. Each line that hangs costs its own result.
    let results = pool.map(steps, inputs).timeout(settings.limit);
    let mut results = results.ready_chunks(MOST_AT_ONCE);
    let stopped_by = loop {
        let chunk = tokio::select! {
            chunk = results.next() => chunk,
            _ = interrupted.recv() => break Some(INTERRUPTED),
            _ = terminated.recv() => break Some(TERMINATED),
        };
        let Some(chunk) = chunk else { break None };
        output.append(chunk, |number, why| display.report(number, why))?;
        display.advance(output.lines);
    };
    drop(results); // aborts the lines that run: nobody wants their results
    pool.shutdown().await;
    output.file.sync_data()?;
    drop(display);
    if let Some(error) = unread.take() {
        return Err(error.into());
    }
    if let Some(code) = stopped_by {
        eprintln!("interrupted after {} of {total} lines; run it again to go on", output.lines);
        return Ok(ExitCode::from(code));
    }
    if output.lines < total {
        return Err(format!(
            "{}: only {} of {total} lines could be read again: has it changed?",
            settings.input.display(),
            output.lines
        )
        .into());
    }
    println!("{} lines, of which {} failed", output.lines, output.failed);
    Ok(ExitCode::SUCCESS)
}

/// The lines of a file. What is no text is left to the function to refuse.
fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
    let name = path.display().to_string();
    let named = move |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    // To open a pipe again, after it was read to its end, would wait for another writer.
    if !fs::metadata(path).map_err(&named)?.is_file() {
        return Err(named(io::Error::other("it is no file, so it could not be read again")));
    }
    let file = File::open(path).map_err(&named)?;
    let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
    Ok(BufReader::new(file).split(b'\n').map(move |line| line.map(text).map_err(&named)))
}

/// The file of results.
struct Output {
    file: File,
    lines: u64,
    failed: u64,
}

impl Output {
    /// Counts what is there, which is of at most so many lines. A line that was half written is cut
    /// off, to be made again.
    fn open(path: &Path, total: u64) -> Result<Self, Box<dyn Error>> {
        let options = File::options().read(true).write(true).create(true).clone();
        let file = options.open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Two that append would mix their lines. The system unlocks it when this process ends.
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{} is being written by another batch", path.display()).into());
            }
            locked => locked?,
        }
        let mut output = Self { file, lines: 0, failed: 0 };
        let (mut reader, mut end) = (BufReader::new(&output.file), 0);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            output.lines += 1;
            output.failed += u64::from(line.starts_with(FAILED.as_bytes()));
            end += line.len() as u64;
            line.clear();
        }
        if output.lines > total {
            let lines = output.lines;
            return Err(format!("{lines} results of {total} lines: is it another file?").into());
        }
        output.file.set_len(end)?;
        output.file.seek(SeekFrom::Start(end))?;
        Ok(output)
    }

    /// Writes these results in one piece, and tells of those that have failed.
    fn append(
        &mut self,
        results: Vec<Result<Result<u32, String>, TaskError>>,
        mut report: impl FnMut(u64, &str),
    ) -> Result<(), Box<dyn Error>> {
        let mut text = Vec::new();
        let mut end = Ok(());
        for result in results {
            let why = match result {
                Ok(Ok(steps)) => {
                    writeln!(text, "{steps}")?;
                    self.lines += 1;
                    continue;
                }
                // The function's own error. Each result is one line, or the next run would go on
                // at the wrong one.
                Ok(Err(refusal)) => refusal.replace('\n', "\\n"),
                Err(error) if error.is_broken() => {
                    end = Err(error.into()); // that is not the line's fault
                    break;
                }
                Err(error) => error.to_string(), // a panic, a timeout, or a death: it is one line
            };
            self.lines += 1;
            self.failed += 1;
            report(self.lines, &why);
            writeln!(text, "{FAILED}{why}")?;
        }
        self.file.write_all(&text)?;
        end
    }
}

/// A bar on a terminal. Elsewhere, as in a log, a line for each tenth.
struct Display {
    bar: ProgressBar,
    total: u64,
    tenths: u64,
}

impl Display {
    fn new(total: u64, done: u64) -> Self {
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {per_sec}, {eta}");
        let bar = ProgressBar::new(total).with_position(done);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta(); // what was done before says nothing about the speed of today
        Self { bar, total, tenths: done * 10 / total.max(1) }
    }

    fn advance(&mut self, done: u64) {
        self.bar.set_position(done);
        let tenths = done * 10 / self.total.max(1);
        if self.bar.is_hidden() && tenths > self.tenths {
            eprintln!("{done} of {} lines", self.total);
        }
        self.tenths = tenths;
    }

    /// Above the bar.
    fn report(&self, line: u64, why: &str) {
        self.bar.suspend(|| eprintln!("line {line}: {why}"));
    }
}

impl Drop for Display {
    /// Leaves the bar as it is.
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
