//! `Process` as in Python's reference of `multiprocessing.Process`: a name, an exit code, and an
//! end that comes early.
//!
//! ```console
//! $ cargo run --release --example process
//! $ cargo run --release --example process -- 3    # seconds until one of them is told to end
//! ```

#![allow(clippy::needless_pass_by_value, reason = "processes own their arguments")]

use std::process::{ExitCode, exit};
use std::thread::sleep;
use std::time::Duration;

use procpool::{Process, ProcessError, current_process, parent_process};

/// Says who it is.
fn greet(name: String) {
    let (this, parent) = (current_process(), parent_process());
    println!("hello {name}, this is {}", this.name());
    println!("  my parent is {}", parent.map_or("nobody", |parent| parent.name()));
}

fn give_up() {
    exit(8);
}

fn wait_long() {
    sleep(Duration::from_secs(1_000));
}

fn fail() -> Result<(), String> {
    Err("there is nothing to be done".to_owned())
}

procpool::register!(greet, give_up, wait_long, fail);

fn main() -> ExitCode {
    procpool::init(); // a child process stops here and never returns

    let seconds = std::env::args().nth(1).map_or(Ok(0), |arg| arg.parse());
    let Ok(seconds) = seconds else {
        eprintln!("usage: process [SECONDS]");
        return ExitCode::from(2);
    };
    match run(Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(patience: Duration) -> Result<(), ProcessError> {
    let process = Process::new(greet, "Bob".to_owned());
    process.start().await?;
    process.join().await?;

    let process = Process::builder(greet, "Eve".to_owned()).name("night shift").build();
    process.start().await?;
    process.join().await?;

    let process = Process::new(wait_long, ());
    tell(&process);
    process.start().await?;
    tell(&process);
    if process.join_within(patience).await?.is_none() {
        process.terminate()?;
    }
    process.join().await?;
    tell(&process);

    for process in [Process::new(give_up, ()), Process::new(fail, ())] {
        process.start().await?;
        process.join().await?;
        tell(&process);
    }
    Ok(())
}

fn tell(process: &Process) {
    let (name, alive) = (process.name(), process.is_alive());
    println!("{name}: alive {alive}, exit code {:?}", process.exitcode());
}
