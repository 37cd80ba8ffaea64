//! `Process` as in Python's reference of `multiprocessing.Process`: a name, an exit code, and an end that
//! comes early.
//!
//! ```console
//! $ cargo run --release --example process
//! ```

#![allow(clippy::needless_pass_by_value, reason = "processes own their arguments")]

use std::process::exit;
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

fn main() -> Result<(), ProcessError> {
    procpool::init();
    run()
}

#[tokio::main]
async fn run() -> Result<(), ProcessError> {
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
    process.terminate()?;
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
