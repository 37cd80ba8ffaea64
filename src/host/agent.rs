//! What has the workers of a service on another host: this program in one more role.
//!
//! The agent starts processes, ends them, and moves bytes between them and its connection. It looks
//! after the claims of its workers, where tasks are numbers; it knows nothing else of them, and no
//! schedule. It ends, with all of its workers, when its standard input ends or nothing was heard of
//! its service for the length of the [lease](super::lease).

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, split};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::base::WorkerId;
use crate::base::log::print;
use crate::base::timer::{Delay, within};
use crate::error::StartError;
use crate::host::build::own_build;
use crate::host::greeting::read_frame;
use crate::host::lease::AgentLease;
use crate::host::mux::{self, Mux, MuxStream};
use crate::host::pump::pump;
use crate::memory::page::NumberedClaims;
use crate::parent::Launch;
use crate::parent::StartMethod;
use crate::parent::birth::FarLaunch;
use crate::parent::birth::{ClaimsPage, Spawn, Start, fork_server};
use crate::parent::message::{Order, Why};
use crate::sys::memory::SharedPageRef;
use crate::sys::pipe::{FramePipes, take_frame_pipes};
use crate::wire::frame::{
    MAX_PAYLOAD, PREAMBLE, PreambleSearch, VERSION, put_frame, split_header, split_kind,
};
use crate::wire::hello::{FarFailure, FarFailureClass};
use crate::wire::host::{
    AgentBanner, AgentHello, FromAgent, StreamHeader, ToAgent, message_codec, read_message,
};
use crate::wire::message::Kind;

/// How long a service has for its first words. It says them when it has heard the banner.
const FIRST_WORDS: Duration = Duration::from_mins(10);
/// How long workers have to be gone once the agent ends.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// Serves, and ends the process.
pub(crate) fn run() -> ! {
    let served = take_frame_pipes().and_then(|pipes| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(pipes))
    });
    match served {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            print(format_args!("the agent on this host cannot serve its service: {error}"));
            std::process::exit(1)
        }
    }
}

async fn serve(pipes: FramePipes) -> io::Result<()> {
    let (input, mut output) = pipes.watched()?;
    let mut banner = PREAMBLE.to_vec();
    let (build, pid) = (own_build(), std::process::id());
    let began = Instant::now(); // not before: to hash a large program takes a while
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    let words = AgentBanner { version: VERSION, build, pid, cpus };
    put_frame(&mut banner, Kind::AgentBanner, &words, 0)?;
    output.write_all(&banner).await?;
    output.flush().await?;
    let mut input = BufReader::with_capacity(64 << 10, input);
    let hello = within(FIRST_WORDS, read_hello(&mut input)).await.transpose()?.flatten();
    let Some((hello, launch)) = hello else { return Ok(()) };
    let launch = Arc::new(launch.into_launch());
    let lease = AgentLease::new(began, Duration::from_nanos(hello.lease));
    Agent::new(launch, lease).run(Mux::of_agent(input, output)).await;
    Ok(())
}

/// `None` if the service is gone before.
async fn read_hello(
    input: &mut BufReader<ChildStdout>,
) -> io::Result<Option<(AgentHello, FarLaunch)>> {
    let mut search = PreambleSearch::default();
    loop {
        let piece = input.fill_buf().await?;
        if piece.is_empty() {
            return Ok(None);
        }
        let (length, found) = (piece.len(), search.advance(piece));
        input.consume(found.unwrap_or(length));
        if found.is_some() {
            break;
        }
    }
    let frame = read_frame(input, MAX_PAYLOAD).await?; // it obeys its service in all else, too
    let (kind, body) = split_kind(&frame)?;
    if kind != Kind::AgentHello {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (hello, launch) = split_header::<AgentHello>(body)?;
    Ok(Some((hello, FarLaunch::from_bytes(launch)?)))
}

/// The page of a worker that has not opened it yet.
struct SharedClaims {
    name: SharedPageRef,
    claims: NumberedClaims,
}

impl SharedClaims {
    fn of(page: &io::Result<ClaimsPage>) -> Option<Self> {
        let Ok(ClaimsPage::Shared(page, file)) = page else { return None };
        let name = SharedPageRef::new(page, file).ok()?;
        Some(Self { name, claims: NumberedClaims::new(Arc::clone(page)) })
    }
}

/// What there is of a worker.
#[derive(Default)]
struct ComingStreams {
    frames: Option<MuxStream>,
    output: Option<MuxStream>,
}

struct Agent {
    launch: Arc<Launch>,
    start: Arc<dyn Start>,
    lease: AgentLease,
    /// Workers of which not both streams are there.
    coming: BTreeMap<WorkerId, ComingStreams>,
    /// Those that were started. When an end of these is dropped the worker is killed.
    orders: BTreeMap<WorkerId, UnboundedSender<Order>>,
    workers: JoinSet<WorkerId>,
    /// What is to be told.
    said: UnboundedSender<FromAgent>,
    unsaid: Option<UnboundedReceiver<FromAgent>>,
}

impl Agent {
    fn new(launch: Arc<Launch>, lease: AgentLease) -> Self {
        let start: Arc<dyn Start> = match launch.start_method {
            StartMethod::Spawn => Arc::new(Spawn),
            StartMethod::ForkServer => {
                let (server, work) = fork_server(Arc::clone(&launch));
                tokio::spawn(work.boxed());
                Arc::new(server)
            }
        };
        let (said, unsaid) = mpsc::unbounded_channel();
        Self {
            launch,
            start,
            lease,
            coming: BTreeMap::new(),
            orders: BTreeMap::new(),
            workers: JoinSet::new(),
            said,
            unsaid: Some(unsaid),
        }
    }

    /// Serves until the connection ends or the lease is over.
    async fn run(mut self, mut mux: Mux<ChildStdout, ChildStdin>) {
        let (named, mut streams) = mpsc::channel(16);
        let mut control = Control::default();
        loop {
            let left = self.lease.ends().saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                order = control.read() => match order {
                    Ok(order) => self.obey(order),
                    Err(_) => break,
                },
                stream = mux.accept() => match stream {
                    Some(stream) => drop(tokio::spawn(name(stream, named.clone()).boxed())),
                    None => break,
                },
                Some((header, stream)) = streams.recv() => match header {
                    StreamHeader::Control => {
                        if let Some(unsaid) = self.unsaid.take() {
                            control = Control::new(stream, unsaid);
                        }
                    }
                    header => self.take(header, stream),
                },
                Some(ended) = self.workers.join_next() => match ended {
                    Ok(worker) => drop(self.orders.remove(&worker)),
                    Err(_) => break, // it has panicked, and its link waits for an end
                },
                () = Delay::new(left) => {
                    let text = "nothing was heard of the service for the length of the lease";
                    print(format_args!("the agent on this host ends its workers: {text}"));
                    break;
                }
            }
        }
        drop((mux, control)); // who writes to a stream would wait for them
        self.end().await;
    }

    fn obey(&mut self, order: ToAgent) {
        match order {
            ToAgent::Ping { echo } => {
                let now = Instant::now();
                self.lease.renew(now, echo);
                let _ = self.said.send(FromAgent::Pong { clock: self.lease.clock(now) });
            }
            ToAgent::Terminate(worker) => self.order(worker, Order::Terminate),
            ToAgent::Kill(worker) => self.order(worker, Order::Kill(Why::Text("it was told to"))),
            ToAgent::Ask(worker, question) => self.order(worker, Order::Ask(question)),
        }
    }

    fn order(&self, worker: WorkerId, order: Order) {
        if let Some(orders) = self.orders.get(&worker) {
            let _ = orders.send(order); // or it has just ended
        }
    }

    /// A stream of a worker, which is started when both are there.
    fn take(&mut self, header: StreamHeader, stream: MuxStream) {
        let (worker, part): (_, fn(&mut ComingStreams) -> &mut Option<MuxStream>) = match header {
            StreamHeader::Frames(worker) => (worker, |streams| &mut streams.frames),
            StreamHeader::Output(worker) => (worker, |streams| &mut streams.output),
            StreamHeader::Control => return,
        };
        let streams = self.coming.entry(worker).or_default();
        *part(streams) = Some(stream);
        if streams.frames.is_none() || streams.output.is_none() {
            return;
        }
        let Some(ComingStreams { frames: Some(frames), output: Some(output) }) =
            self.coming.remove(&worker)
        else {
            return;
        };
        let (orders, mut obeyed) = mpsc::unbounded_channel();
        self.orders.insert(worker, orders);
        let (start, launch) = (Arc::clone(&self.start), Arc::clone(&self.launch));
        let said = self.said.clone();
        let work = async move {
            let message = match start.start(worker, &launch, &mut obeyed).await {
                Ok(spawned) => {
                    let (pid, shared) = (spawned.body.pid(), SharedClaims::of(&spawned.claims));
                    let page = shared.as_ref().map(|shared| shared.name);
                    let _ = said.send(FromAgent::Started { worker, pid, page });
                    let claims = shared.map(|shared| shared.claims);
                    let answer = |answer| drop(said.send(FromAgent::Answer(worker, answer)));
                    let end = pump(spawned, (frames, output), (claims, &mut obeyed), answer).await;
                    FromAgent::Exited { worker, end }
                }
                Err(error) => FromAgent::NotStarted { worker, failure: failure(&error) },
            };
            let _ = said.send(message);
            worker
        };
        self.workers.spawn(work.boxed());
    }

    /// Ends all workers, and waits a moment for that.
    async fn end(mut self) {
        self.orders.clear(); // which kills them
        let all = async { while self.workers.join_next().await.is_some() {} };
        let _ = within(LAST_MOMENTS, all).await;
        let _ = within(LAST_MOMENTS, self.start.stop()).await;
        self.launch.program.cgroups_removed().await;
    }
}

/// The stream by which the service says what it wants, once there is one.
#[derive(Default)]
struct Control(Option<FramedRead<ReadHalf<MuxStream>, LengthDelimitedCodec>>);

impl Control {
    fn new(stream: MuxStream, mut unsaid: UnboundedReceiver<FromAgent>) -> Self {
        let (reader, mut writer) = split(stream);
        let writing = async move {
            while let Some(message) = unsaid.recv().await {
                if mux::send(&mut writer, &message).await.is_err() {
                    break; // the service is gone
                }
            }
        };
        tokio::spawn(writing.boxed());
        Self(Some(FramedRead::new(reader, message_codec())))
    }

    /// The next message. An error says that there will be none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    async fn read(&mut self) -> io::Result<ToAgent> {
        let Some(reader) = &mut self.0 else { return pending().await };
        match reader.next().await {
            Some(bytes) => read_message(&bytes?),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads what a stream is for.
async fn name(mut stream: MuxStream, named: mpsc::Sender<(StreamHeader, MuxStream)>) {
    // One that does not say it is closed by being dropped.
    if let Ok(header) = mux::receive(&mut stream).await
        && mux::acknowledge(&mut stream).await.is_ok()
    {
        let _ = named.send((header, stream)).await;
    }
}

fn failure(error: &StartError) -> FarFailure {
    let class = if error.is_accident() {
        FarFailureClass::Accident
    } else if error.is_initialization() {
        FarFailureClass::Initialization
    } else if error.is_fatal() {
        FarFailureClass::Fatal
    } else {
        FarFailureClass::Other
    };
    FarFailure { text: error.to_string(), class, kind: error.kind().to_string() }
}
