//! The connection to the agent of one host, from the launcher's start to its end.
//!
//! ```text
//! launched ─▶ banner ─▶ hello sent ─▶ served ─┬─▶ stopped (the pool has ended)
//!      └──────────┴─ refused, ended           └─▶ lost: the supervisor is told, then all streams end
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::base::sync::Mutex;
use crate::base::timer::{Delay, within};
use crate::base::{log, nanos};
use crate::host::build::own_build;
use crate::host::far::FarWorkers;
use crate::host::greeting::greet;
use crate::host::launcher::Launcher;
use crate::host::lease::Vigil;
use crate::host::mux::{self, Mux, MuxStream, Wanted};
use crate::host::spec::Reach;
use crate::parent::start_child;
use crate::wire::frame::{PREAMBLE, VERSION, put_frame};
use crate::wire::host::{
    AgentBanner, AgentHello, Build, FromAgent, StreamHeader, ToAgent, message_codec, read_message,
};
use crate::wire::message::Kind;

/// How long the end of a connection may take.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// What is done when the host is lost, before anything else is: how long until nothing runs there
/// any more, for sure.
pub(super) type OnLoss = Box<dyn FnOnce(Duration) + Send>;

/// A host that is connected. The connection is closed when this is dropped.
pub(super) struct AgentConnection {
    pub(super) agent: AgentBanner,
    pub(super) workers: Arc<FarWorkers>,
    opener: mpsc::Sender<Wanted>,
    orders: UnboundedSender<ToAgent>,
    ended: watch::Receiver<bool>,
}

impl AgentConnection {
    /// Launches the agent, and tells it how workers are started. An error is for people to read.
    pub(super) async fn open(
        reach: &Reach,
        whose: String,
        launch: &[u8],
        lease: Duration,
        on_loss: OnLoss,
    ) -> Result<Self, String> {
        let build = own_build_elsewhere().await;
        let (command, copy) = reach.command(build).map_err(|error| error.to_string())?;
        // Until it is connected, what it says stands in the error, if there is one.
        let is_connected = Arc::<AtomicBool>::default();
        let is_logged = Arc::clone(&is_connected);
        let hear = move |line: &str| {
            if is_logged.load(Ordering::Relaxed) {
                log::warning!("{whose}: {line}");
            }
        };
        let starting = Launcher::start(command, hear).await;
        let (mut launcher, input, mut output) = starting.map_err(|error| error.to_string())?;
        let mut input = BufReader::with_capacity(64 << 10, input);
        let agent = greet(&mut launcher, &mut input, &mut output, copy).await?;
        let heard = Instant::now();
        if build.0.is_none() {
            return Err("the file of this program cannot be read, so no build can be told".into());
        }
        if build != agent.build {
            return Err("its program is another build than this one's".to_owned());
        }
        let hello = AgentHello { version: VERSION, lease: nanos(lease) };
        let sent = send_hello(&mut output, hello, launch).await;
        sent.map_err(|error| format!("it cannot be told anything: {error}"))?;
        is_connected.store(true, Ordering::Relaxed);
        let (opener, wanted) = mpsc::channel(64);
        let (orders, ordered) = mpsc::unbounded_channel();
        let (ends, ended) = watch::channel(false);
        let workers = Arc::<FarWorkers>::default();
        let served = Served {
            launcher,
            vigil: Mutex::new(Vigil::new(heard, lease)),
            workers: Arc::clone(&workers),
            opener: opener.downgrade(),
            orders: orders.downgrade(),
            on_loss: Some(on_loss),
            ends,
        };
        let mux = Mux::of_service(input, output);
        tokio::spawn(served.run(mux, wanted, ordered).boxed());
        Ok(Self { agent, workers, opener, orders, ended })
    }

    /// A stream, whose header was sent. An error says that the host is lost.
    pub(super) async fn open_stream(&self, header: StreamHeader) -> io::Result<MuxStream> {
        let (wanted, opened) = oneshot::channel();
        self.opener.send(wanted).await.map_err(io::Error::other)?;
        let mut stream = opened.await.map_err(io::Error::other)?;
        mux::send(&mut stream, &header).await?;
        Ok(stream)
    }

    pub(super) fn orders(&self) -> UnboundedSender<ToAgent> {
        self.orders.clone()
    }

    /// Closes it, and waits until the launcher has gone.
    pub(super) async fn close(self) {
        let Self { mut ended, opener, .. } = self;
        drop(opener);
        let _ = ended.wait_for(|is_so| *is_so).await;
    }
}

/// Hashes this program, for which no thread of the runtime is held up.
async fn own_build_elsewhere() -> Build {
    start_child(|| Ok(own_build())).await.unwrap_or(Build(None))
}

async fn send_hello(output: &mut ChildStdin, hello: AgentHello, launch: &[u8]) -> io::Result<()> {
    let mut message = PREAMBLE.to_vec();
    put_frame(&mut message, Kind::AgentHello, &hello, launch.len())?;
    message.extend_from_slice(launch);
    output.write_all(&message).await?;
    output.flush().await
}

/// What the task of a connection has.
struct Served {
    launcher: Launcher,
    vigil: Mutex<Vigil>,
    workers: Arc<FarWorkers>,
    opener: mpsc::WeakSender<Wanted>,
    orders: mpsc::WeakUnboundedSender<ToAgent>,
    /// Until the host is lost, or nobody needs it any more.
    on_loss: Option<OnLoss>,
    ends: watch::Sender<bool>,
}

/// Why a connection has ended.
enum ConnectionEnd {
    /// Nobody needs it any more.
    Stopped,
    Lost(String),
}

impl Served {
    async fn run(
        mut self,
        mut mux: Mux<ChildStdout, ChildStdin>,
        mut wanted: mpsc::Receiver<Wanted>,
        ordered: UnboundedReceiver<ToAgent>,
    ) {
        let end = {
            let Self { launcher, vigil, workers, opener, orders, .. } = &mut self;
            let (vigil, workers) = (&*vigil, &*workers);
            let control = control(opener.upgrade(), orders.clone(), ordered, vigil, workers);
            tokio::select! {
                biased;
                error = mux.serve(&mut wanted) => {
                    if wanted.is_closed() { ConnectionEnd::Stopped } else { ConnectionEnd::Lost(text_of_end(&error)) }
                }
                end = control => end,
                () = silence(vigil) => ConnectionEnd::Lost(silent_for(vigil)),
                text = launcher.exited() => ConnectionEnd::Lost(text),
            }
        };
        match end {
            ConnectionEnd::Stopped => {
                self.on_loss = None;
                let _ = within(LAST_MOMENTS, mux.close()).await; // closes the agent's input
                let _ = within(LAST_MOMENTS, self.launcher.exited()).await; // or it is killed
            }
            ConnectionEnd::Lost(text) => self.lose(text, mux).await,
        }
    }

    /// The supervisor is told first: no task is sent to a worker of which is known that it is gone.
    async fn lose(&mut self, mut text: String, mux: Mux<ChildStdout, ChildStdin>) {
        self.tell_of_loss(); // how the launcher has ended may take a moment
        if text.starts_with(CLOSED)
            && let Some(how) = self.launcher.last_moments().await
        {
            text = how;
        }
        self.workers.lose(&text);
        drop(mux); // ends all streams
    }

    fn tell_of_loss(&mut self) {
        if let Some(on_loss) = self.on_loss.take() {
            let safe_in = self.vigil.lock().safe_in(Instant::now());
            on_loss(safe_in);
        }
    }
}

impl Drop for Served {
    /// Also when its runtime ends, and after a panic: no link waits for ever.
    fn drop(&mut self) {
        self.tell_of_loss();
        self.workers.lose(CLOSED); // or it has been said before
        self.ends.send_replace(true);
    }
}

/// What is said if nothing else is known.
const CLOSED: &str = "its connection has ended";

fn text_of_end(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionAborted => CLOSED.to_owned(),
        _ => format!("{CLOSED}: {error}"),
    }
}

fn silent_for(vigil: &Mutex<Vigil>) -> String {
    format!("nothing was heard of it for {:?}", vigil.lock().limit())
}

/// Ends when nothing was heard for too long.
async fn silence(vigil: &Mutex<Vigil>) {
    loop {
        let left = vigil.lock().lost_at().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        Delay::new(left).await;
    }
}

/// Says that the service lives, says what is to be done, and hears what has happened.
async fn control(
    opener: Option<mpsc::Sender<Wanted>>,
    orders: mpsc::WeakUnboundedSender<ToAgent>,
    ordered: UnboundedReceiver<ToAgent>,
    vigil: &Mutex<Vigil>,
    workers: &FarWorkers,
) -> ConnectionEnd {
    let Some(stream) = open_control(opener).await else { return ConnectionEnd::Stopped };
    let (reader, writer) = split(stream);
    let reader = FramedRead::new(reader, message_codec());
    tokio::select! {
        end = listen(reader, vigil, workers) => end,
        () = speak(writer, ordered) => ConnectionEnd::Lost(CLOSED.to_owned()),
        () = beat(orders, vigil) => ConnectionEnd::Stopped,
    }
}

async fn open_control(opener: Option<mpsc::Sender<Wanted>>) -> Option<MuxStream> {
    let (wanted, coming) = oneshot::channel();
    opener?.send(wanted).await.ok()?;
    let mut stream = coming.await.ok()?;
    mux::send(&mut stream, &StreamHeader::Control).await.ok()?;
    Some(stream)
}

async fn listen(
    mut reader: FramedRead<ReadHalf<MuxStream>, LengthDelimitedCodec>,
    vigil: &Mutex<Vigil>,
    workers: &FarWorkers,
) -> ConnectionEnd {
    while let Some(bytes) = reader.next().await {
        match bytes.and_then(|bytes| read_message::<FromAgent>(&bytes)) {
            Ok(FromAgent::Pong { clock }) => vigil.lock().heard(Instant::now(), clock),
            Ok(message) => workers.tell(message),
            Err(error) => {
                return ConnectionEnd::Lost(format!("its agent broke the protocol: {error}"));
            }
        }
    }
    ConnectionEnd::Lost(CLOSED.to_owned())
}

async fn speak(mut writer: WriteHalf<MuxStream>, mut ordered: UnboundedReceiver<ToAgent>) {
    while let Some(order) = ordered.recv().await {
        if mux::send(&mut writer, &order).await.is_err() {
            return;
        }
    }
}

/// Ends when nobody needs the connection any more.
async fn beat(orders: mpsc::WeakUnboundedSender<ToAgent>, vigil: &Mutex<Vigil>) {
    loop {
        let seen = *vigil.lock();
        let Some(orders) = orders.upgrade() else { return };
        let _ = orders.send(ToAgent::Ping { echo: seen.echo() });
        drop(orders);
        Delay::new(seen.beat()).await;
    }
}
