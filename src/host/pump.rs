//! The bytes of one worker, between its process and its stream.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use futures::future::{Either, join, select};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::{Notify, watch};

use crate::base::timer::Delay;
use crate::host::mux::MuxStream;
use crate::host::window::Window;
use crate::memory::page::NumberedClaims;
use crate::parent::birth::FrameSink;
use crate::parent::birth::Source;
use crate::parent::birth::Spawned;
use crate::parent::message::{Order, Orders};
use crate::wire::far::FarAnswer;
use crate::wire::host::WorkerEnd;

/// Room for what is read at once.
const ROOM: usize = 64 << 10;
/// Where so much comes at once that all of this is read, more is on its way.
const MUCH: usize = 508 << 10; // a pipe of 512 KiB
/// How long a worker may live on that has closed its output.
const LAST_MOMENTS: Duration = Duration::from_millis(500);

/// Moves bytes until the worker has exited, all of its frames are on their way, and it is reaped.
/// If it shares `claims`, questions about them are answered.
pub(super) async fn pump(
    spawned: Spawned,
    (frames, mut output): (MuxStream, MuxStream),
    (claims, orders): (Option<NumberedClaims>, &mut Orders),
    answer: impl Fn(FarAnswer),
) -> WorkerEnd {
    // The file of the page is open until the worker has ended, as nobody says here that it has it.
    let Spawned { mut body, stdin, stdout, stderr, claims: _file, .. } = spawned;
    let (from_service, mut to_service) = split(frames);
    let (exits, exited) = watch::channel(false);
    let feeding = feed(from_service, stdin);
    let window = claims.as_ref().map(|claims| Window::new(Arc::clone(claims.page())));
    let silent = Notify::new();
    let replying = async {
        if !forward(stdout, window, &mut to_service, exited.clone()).await {
            silent.notify_one();
        }
    };
    // It has closed its output, so it cannot serve any more. Most likely it is about to exit.
    let mut overdue = pin!(async {
        silent.notified().await;
        Delay::new(LAST_MOMENTS).await;
    });
    let gone = exited.clone();
    let printing = async move { forward(stderr, None, &mut output, gone).await };
    // Nobody waits for it here: who reads that may do so only once the worker has ended.
    tokio::spawn(printing.boxed());
    let watching = async {
        let mut feeding = pin!(feeding);
        let (mut is_fed, mut is_patient, mut is_ordered) = (true, true, true);
        loop {
            tokio::select! {
                biased;
                () = poll_fn(|cx| body.poll_exited(cx)) => break,
                order = orders.recv(), if is_ordered => match order {
                    Some(Order::Terminate) => body.terminate(),
                    Some(Order::Kill(_)) => body.kill(),
                    Some(Order::Ask(question)) => {
                        if let Some(claims) = &claims {
                            answer(claims.answer(question));
                        }
                    }
                    Some(Order::Flush | Order::Trim | Order::Stop) => {}
                    None => {
                        is_ordered = false; // the agent ends
                        body.kill();
                    }
                },
                // The service has given it up, or is gone.
                () = &mut feeding, if is_fed => {
                    is_fed = false;
                    body.kill();
                }
                () = &mut overdue, if is_patient => {
                    is_patient = false;
                    body.kill();
                }
            }
        }
        exits.send_replace(true);
    };
    join(watching, replying).await;
    let exit = body.reap().await.unwrap_or_default();
    let page = claims.map(|claims| claims.last_words());
    WorkerEnd { code: exit.code, signal: exit.signal, was_oom: body.was_oom(), page }
}

/// Writes what comes to a worker. Ends when nothing comes any more; if the worker takes no more
/// that is read all the same.
async fn feed(mut stream: impl AsyncRead + Unpin, mut sink: FrameSink) {
    let mut bytes = BytesMut::with_capacity(ROOM);
    let mut is_open = true;
    loop {
        bytes.clear();
        bytes.reserve(ROOM);
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        if bytes.len() >= ROOM {
            sink.fit(MUCH);
        }
        let mut written = 0;
        while is_open && written < bytes.len() {
            match poll_fn(|cx| sink.poll_write(cx, &bytes[written..])).await {
                Ok(count) => written += count,
                Err(_) => is_open = false,
            }
        }
    }
}

/// Sends what a worker writes, to the end or, if that comes first, to what there is at its exit;
/// returns whether it has exited. Of what it shows in a window nothing is sent twice.
async fn forward(
    mut source: Source,
    mut window: Option<Window>,
    stream: &mut (impl AsyncWrite + Unpin),
    mut exited: watch::Receiver<bool>,
) -> bool {
    let mut bytes = BytesMut::with_capacity(ROOM);
    let mut has_exited = false;
    while !has_exited {
        if let Some(window) = &mut window
            && window.look(&mut bytes)
        {
            if send(stream, &mut bytes).await.is_err() {
                break;
            }
            continue;
        }
        bytes.reserve(ROOM);
        let mut is_over = false;
        match select(pin!(source.read_buf(&mut bytes)), pin!(exited.wait_for(|is_so| *is_so))).await
        {
            Either::Left((Ok(1..), _)) => {}
            Either::Left(_) => is_over = true,
            Either::Right(_) => (has_exited, is_over) = (true, true),
        }
        if has_exited {
            let _ = source.read_available(&mut bytes); // or it is lost
        }
        if let Some(window) = &mut window {
            window.receive(&mut bytes, is_over);
        }
        if send(stream, &mut bytes).await.is_err() || is_over {
            break; // or the service is gone, or has given it up
        }
    }
    let _ = stream.shutdown().await;
    has_exited
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &mut BytesMut) -> io::Result<()> {
    stream.write_all_buf(bytes).await?;
    stream.flush().await
}
