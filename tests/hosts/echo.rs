//! A program on a host that says what it is told.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::common::LIMIT;

/// Long for a host that is next door.
pub(crate) const SHORT: Duration = Duration::from_millis(250);

pub(crate) struct Echo {
    client: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<String>,
}

impl Echo {
    /// Waits until the program, such as `cat`, has answered.
    pub(crate) fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        let input = client.stdin.take().unwrap();
        let (answer, answers) = mpsc::channel();
        let lines = BufReader::new(client.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|it| answer.send(it)));
        let mut echo = Self { client, input, answers };
        echo.say("hello");
        assert_eq!(echo.answer(), "hello");
        echo
    }

    pub(crate) fn say(&mut self, word: &str) {
        self.input.write_all(format!("{word}\n").as_bytes()).unwrap();
    }

    pub(crate) fn answer(&self) -> String {
        self.answers.recv_timeout(LIMIT).unwrap()
    }

    /// Whether the client is there, and nothing is said for a short time.
    pub(crate) fn is_silent(&mut self) -> bool {
        let answer = self.answers.recv_timeout(SHORT);
        answer == Err(RecvTimeoutError::Timeout) && self.client.try_wait().unwrap().is_none()
    }

    /// The exit code of the client, which ends without a further answer.
    pub(crate) fn end(&mut self) -> Option<i32> {
        assert_eq!(self.answers.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
        self.client.wait().unwrap().code()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.client.kill(); // it may have ended
        self.client.wait().unwrap();
    }
}
