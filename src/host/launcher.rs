//! The command that reaches a host: its standard streams are the connection.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::base::sync::Mutex;
use crate::base::timer::within;
use crate::parent::start_child;
use crate::sys::descriptor::RoomToStart;
use crate::sys::pipe::widen;
use crate::sys::process::{ChildProcess, Exit, Reaper, new_group, require_io_driver};

/// How much of what it says is kept, in bytes.
const TAIL: usize = 2 << 10;
const LONGEST_PIECE: u64 = TAIL as u64 / 2;
/// How long its last words may take to arrive, or it to end once its streams are closed.
const MOMENT: Duration = Duration::from_millis(500);

/// It is killed by being dropped, but not its group: a command such as `srun` has helpers that see
/// to what it leaves behind.
pub(super) struct Launcher {
    program: String,
    reaper: Reaper,
    said: Arc<Mutex<String>>,
    /// Ends when it says nothing more.
    listening: JoinHandle<()>,
}

impl Launcher {
    /// Each line that it says is heard at once.
    pub(super) async fn start(
        mut command: Command,
        hear: impl Fn(&str) + Send + 'static,
    ) -> io::Result<(Self, ChildStdout, ChildStdin)> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (reaper, stdin, stdout, stderr) = start_child(move || {
            let _room = RoomToStart::take()?;
            require_io_driver()?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            new_group(&mut command); // what a terminal sends to this program is not for it
            let mut child = command.spawn()?;
            let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let reaper = Reaper::new(ChildProcess::new(child, false)?)?;
            let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
                return Err(io::Error::other("the child has no pipes"));
            };
            widen(&stdin, &stdout);
            let stdin = ChildStdin::from_std(stdin)?;
            let stdout = ChildStdout::from_std(stdout)?;
            Ok((reaper, stdin, stdout, ChildStderr::from_std(stderr)?))
        })
        .await?;
        let said = Arc::<Mutex<String>>::default();
        let listening = listen(stderr, Arc::clone(&said), Box::new(hear));
        let listening = tokio::spawn(listening.boxed());
        Ok((Self { program, reaper, said, listening }, stdout, stdin))
    }

    /// What it runs has another name than it has itself.
    pub(super) fn called(self, program: &str) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// Waits until it has exited; says how, and what it has said.
    pub(super) async fn exited(&mut self) -> String {
        self.reaper.exited().await;
        let exit = self.reaper.child().reap().unwrap_or_default();
        let _ = within(MOMENT / 2, &mut self.listening).await; // or others hold its standard error
        format!("`{}` {}{}", self.program, how(exit), self.last_words())
    }

    /// As [`Self::exited`], if it does so in a moment, as its streams have ended.
    pub(super) async fn last_moments(&mut self) -> Option<String> {
        within(MOMENT, self.exited()).await
    }

    /// What it has said so far, behind a colon.
    pub(super) fn last_words(&self) -> String {
        let said = self.said.lock();
        let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) }
    }
}

fn how(exit: Exit) -> String {
    match exit {
        Exit { code: Some(code), .. } => format!("has ended with code {code}"),
        Exit { signal: Some(signal), .. } => format!("was ended by signal {signal}"),
        Exit { .. } => "has ended".to_owned(),
    }
}

async fn listen(stderr: ChildStderr, said: Arc<Mutex<String>>, hear: Box<dyn Fn(&str) + Send>) {
    let (mut stderr, mut piece) = (BufReader::new(stderr), Vec::new());
    // A line that is too long comes in pieces.
    while let Ok(1..) = (&mut stderr).take(LONGEST_PIECE).read_until(b'\n', &mut piece).await {
        let line = String::from_utf8_lossy(&piece).trim_end().to_owned();
        piece.clear();
        hear(&line);
        let mut said = said.lock();
        said.push_str(&line);
        said.push('\n');
        while said.len() > TAIL {
            let first = said.find('\n').map_or(said.len(), |end| end + 1);
            said.drain(..first);
        }
    }
}
