//! One call in a process that is thrown away: whatever the function does, it costs nothing but its
//! result.
//!
//! ```console
//! $ cargo run --release --example throwaway
//! $ cargo run --release --example throwaway -- 10    # seconds that an answer may take
//! ```

#![allow(clippy::needless_pass_by_value, reason = "processes own their arguments")]

use std::process::ExitCode;
use std::time::Duration;

use procpool::{Process, ProcessError};
use tokio::time::timeout;

/// Measures a text, by code that is not to be trusted.
fn measure(text: String) -> usize {
    match &*text {
        "crash" => std::process::abort(),
        "hang" => loop {
            std::thread::park();
        },
        "panic" => panic!("I do not like it"),
        _ => text.chars().count(),
    }
}

procpool::register!(measure);

fn main() -> ExitCode {
    procpool::init(); // a child process stops here and never returns

    let seconds = std::env::args().nth(1).map_or(Ok(3), |arg| arg.parse());
    let Ok(seconds) = seconds else {
        eprintln!("usage: throwaway [SECONDS]");
        return ExitCode::from(2);
    };
    run(Duration::from_secs(seconds));
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "current_thread")]
async fn run(patience: Duration) {
    for text in ["a text", "crash", "hang", "panic", "another text"] {
        // If the time is up the call is dropped, and its process with it.
        let call = Process::spawn(measure, text.to_owned()).abort_on_drop(true);
        match timeout(patience, call).await {
            Ok(Ok(length)) => println!("{text}: {length} characters"),
            Ok(Err(error)) => println!("{text}: {}", explain(&error)),
            Err(_) => println!("{text}: no answer within {patience:?}"),
        }
    }
}

fn explain(error: &ProcessError) -> String {
    match (error.panic(), error.exitcode()) {
        (Some(panic), _) => format!("it panicked: {}", panic.message()),
        (None, Some(code)) => format!("it ended with {code}"),
        (None, None) => error.to_string(),
    }
}
