//! An allocation of Slurm that is made for a pool, and held until the pool is over.
//!
//! ```text
//!            request                    granted: its hosts come
//! none ──────────────────▶ `salloc` waits ─────────────────────▶ held
//!  ▲                           │ it ends: its hosts are refused    │ it ends: its hosts are gone
//!  └───────────────────────────┴───────────────────────────────────┘
//! ```
//!
//! `salloc` ends when the input of its [`SCRIPT`] does, which this process has in hands. So nothing
//! is left of an allocation, or of a request, whose service was killed.

use std::ffi::OsString;
use std::fmt;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::HostId;
use crate::base::sync::Mutex;
use crate::base::timer::{Delay, within};
use crate::host::launcher::Launcher;
use crate::parent::message::{HostListener, HostsChange};

/// Its arguments are those of `salloc`. Once there is an allocation, it prints its number and its
/// nodes. The pipe that it reads says when the allocation is not needed any more: then its command
/// ends, by which it is given back; if `salloc` was killed, the command cancels it. A request that
/// waits is withdrawn by a signal. One that comes before `salloc` knows the number of its job is
/// lost, so none is sent in the first moments. As `salloc` may hang for ever if a signal comes
/// while it gives an allocation back, its command removes the file that asks for the signal.
const SCRIPT: &str = r#"
exec 3<&0 4>&1 </dev/null >&2
waits=$(mktemp) || exit 73
salloc --kill-command=TERM "$@" /bin/sh -c '
    rm -f "$0"; echo "$SLURM_JOB_ID $SLURM_JOB_NODELIST" >&4; exec 4>&-; cat <&3 >/dev/null
    kill -0 "$PPID" 2>/dev/null || scancel "$SLURM_JOB_ID"
' "$waits" &
salloc=$!
exec 4>&-
{ sleep 2 & cat <&3; wait; [ -e "$waits" ] && kill "$salloc"; rm -f "$waits"; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$salloc"; code=$?
kill "$watcher"; rm -f "$waits"
exit "$code"
"#;

/// How long the release of an allocation may take before nobody waits for it any more.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// When it is first asked why a request waits, and how often at the least.
const FIRST_QUESTION: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long an answer may take, and be.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST: u64 = 64 << 10;

/// See the [module](self). If it is dropped the allocation is released.
pub(crate) struct Allocation {
    arguments: Vec<OsString>,
    requester: Arc<Requester>,
    hold: Mutex<Hold>,
}

/// Each is another one.
impl PartialEq for Allocation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Allocation {}

/// What the task of an allocation has of it.
struct Requester {
    /// What its hosts are called together.
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hosts: Vec<HostId>,
    listener: Option<Arc<dyn HostListener>>,
    /// Somebody is at it.
    is_requested: bool,
    /// Its number, while it is held.
    job: Option<String>,
}

#[derive(Default)]
struct Hold {
    /// Hosts that are not needed any more.
    left: usize,
    /// Dropped to end the last request; and the end of that.
    request: Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>,
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation").field("name", &self.requester.name).finish_non_exhaustive()
    }
}

impl Allocation {
    pub(super) fn new(
        name: Arc<str>,
        nodes: usize,
        workers: Option<usize>,
        options: Vec<OsString>,
    ) -> Self {
        let size = match workers {
            Some(workers) => format!("--cpus-per-task={workers}"),
            None => "--exclusive".to_owned(), // as there are to be workers for all CPUs
        };
        // What the user says comes last, and counts.
        let own = [
            format!("--job-name={name}"),
            format!("--nodes={nodes}"),
            "--ntasks-per-node=1".to_owned(),
            size,
        ];
        let arguments = own.into_iter().map(OsString::from).chain(options).collect();
        let requester = Arc::new(Requester { name, state: Mutex::default() });
        Self { arguments, requester, hold: Mutex::default() }
    }

    /// This host comes and goes with it, which the listener is told.
    pub(super) fn join(&self, host: HostId, listener: &Arc<dyn HostListener>) {
        let mut state = self.requester.state.lock();
        state.hosts.push(host);
        state.listener = Some(Arc::clone(listener));
    }

    /// Its number, while it is held.
    pub(super) fn job(&self) -> Option<String> {
        self.requester.state.lock().job.clone()
    }

    /// Has it made, if nobody is at it.
    pub(super) fn request(&self, runtime: &Handle) {
        if std::mem::replace(&mut self.requester.state.lock().is_requested, true) {
            return;
        }
        let (release, released) = oneshot::channel();
        let (ends, ended) = oneshot::channel();
        self.hold.lock().request = Some((release, ended));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).args(&self.arguments);
        runtime.spawn(Arc::clone(&self.requester).run(command, released, ends).boxed());
    }

    /// A host is not needed any more. With the last one it is released, which is waited for.
    pub(super) async fn leave(&self) {
        let hosts = self.requester.state.lock().hosts.len();
        let request = {
            let mut hold = self.hold.lock();
            hold.left += 1;
            if hold.left >= hosts { hold.request.take() } else { None }
        };
        if let Some((release, ended)) = request {
            drop(release);
            let _ = ended.await; // or its runtime ends
        }
    }
}

impl Requester {
    async fn run(
        self: Arc<Self>,
        command: Command,
        released: oneshot::Receiver<()>,
        ends: oneshot::Sender<()>,
    ) {
        let end = self.hold(command, released).await;
        let was_held = {
            let mut state = self.state.lock();
            state.is_requested = false; // who is told may want it again at once
            state.job.take().is_some()
        };
        match end {
            None => {}
            Some(text) if was_held => self.tell(HostsChange::Gone(text)),
            Some(text) => self.tell(HostsChange::Refused(text)),
        }
        let _ = ends.send(()); // or nobody waits for it
    }

    /// Says why it is over, unless it was released.
    async fn hold(&self, command: Command, mut released: oneshot::Receiver<()>) -> Option<String> {
        // Unbounded, but `salloc` says no more than some lines, which are taken at once.
        let (said, mut lines) = mpsc::unbounded_channel();
        let hear = move |line: &str| {
            let _ = said.send(line.to_owned()); // or nobody listens any more
        };
        let (launcher, stdout, stdin) = match Launcher::start(command, hear).await {
            Ok(started) => started,
            Err(error) => return Some(format!("`salloc` cannot be started: {error}")),
        };
        let mut launcher = launcher.called("salloc");
        let mut exited = pin!(launcher.exited());
        let (queued, in_queue) = watch::channel(None);
        let mut asking = pin!(self.ask_why_it_waits(in_queue));
        let mut grants = BufReader::new(stdout.take(LONGEST)).lines();
        loop {
            tokio::select! {
                biased;
                _ = &mut released => break,
                Some(line) = lines.recv() => self.hear(&line, &queued),
                Ok(Some(line)) = grants.next_line() => self.granted(&line),
                () = &mut asking => {}
                text = &mut exited => return Some(text),
            }
        }
        drop(stdin);
        let _ = within(LAST_MOMENTS, exited).await; // or `salloc` goes on without its script
        None
    }

    fn hear(&self, line: &str, queued: &watch::Sender<Option<String>>) {
        // What the shell says is no reason to wait. It is told with the end.
        let Some(line) = line.strip_prefix("salloc: ") else { return };
        if let Some(job) = line.strip_prefix("Pending job allocation ") {
            queued.send_replace(Some(job.to_owned()));
        }
        self.await_on(line);
    }

    /// It waits for that, if it does.
    fn await_on(&self, text: &str) {
        if self.state.lock().job.is_none() {
            self.tell(HostsChange::Awaited(text.to_owned()));
        }
    }

    fn granted(&self, line: &str) {
        let Some((job, nodes)) = line.split_once(' ') else { return };
        self.state.lock().job = Some(job.to_owned());
        self.tell(HostsChange::Came(format!("job {job} on {nodes}")));
    }

    /// Tells why it waits, each time that this is another reason. It never ends.
    async fn ask_why_it_waits(&self, mut queued: watch::Receiver<Option<String>>) {
        let job = queued.wait_for(Option::is_some).await.ok().and_then(|job| job.clone());
        let (mut pause, mut known) = (FIRST_QUESTION, None);
        while let Some(job) = &job
            && self.state.lock().job.is_none()
        {
            Delay::new(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let reason = reason(job).await;
            if let Some(reason) = &reason
                && reason != known.as_deref().unwrap_or_default()
            {
                self.await_on(&format!("job {job} is pending: {reason}"));
            }
            known = reason.or(known);
        }
        std::future::pending::<()>().await;
    }

    fn tell(&self, change: HostsChange) {
        let (hosts, listener) = {
            let state = self.state.lock();
            (state.hosts.clone(), state.listener.clone())
        };
        if let Some(listener) = listener {
            listener.hosts_changed(&hosts, &self.name, change);
        }
    }
}

/// Why a job waits, as the queue says it.
async fn reason(job: &str) -> Option<String> {
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--format=%r"]).arg(format!("--jobs={job}"));
    let (mut launcher, stdout, stdin) = Launcher::start(command, |_| ()).await.ok()?;
    drop(stdin);
    let mut text = String::new();
    let reading = async {
        stdout.take(LONGEST).read_to_string(&mut text).await.ok()?;
        Some(launcher.exited().await)
    };
    within(PATIENCE, reading).await??;
    let reason = text.trim();
    (!matches!(reason, "" | "None")).then(|| reason.to_owned())
}
