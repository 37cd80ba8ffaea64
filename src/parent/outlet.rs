//! The way into a worker: what waits to be written to its standard input.
//!
//! It is shared by the supervisor, which puts frames in, and the link, which writes them. For the
//! first task of an idle worker the supervisor writes itself: that task's caller waits for it, and
//! one task switch less is a good part of a round trip.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use serde::Serialize;

use crate::base::sync::Mutex;
use crate::memory::Payload;
use crate::parent::sink::FrameSink;
use crate::sys::descriptor::Descriptor;
use crate::wire::frame::{PREAMBLE, put_frame, put_task_frame};
use crate::wire::message::Kind;

/// Payloads up to this size are copied together with their neighbors: one write for many frames.
const SMALL: usize = 4 << 10;

/// A worker's standard input and what waits to be written there.
#[derive(Clone, Debug)]
pub(crate) struct Outlet(Arc<Mutex<OutletState>>);

#[derive(Debug)]
struct OutletState {
    sink: FrameSink,
    /// Large payloads and what comes before them.
    segments: VecDeque<Bytes>,
    /// Comes after the segments.
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
    /// The worker can open segments.
    opens_segments: bool,
}

impl Outlet {
    /// Begins with the preamble.
    pub(crate) fn new(sink: FrameSink) -> Self {
        let (segments, buffer, opens_segments) = (VecDeque::new(), PREAMBLE.to_vec(), false);
        let state = OutletState { sink, segments, buffer, written: 0, opens_segments };
        Self(Arc::new(Mutex::new(state)))
    }

    /// From now on arguments may be sent as segments.
    pub(crate) fn set_opens_segments(&self) {
        self.0.lock().opens_segments = true;
    }

    pub(crate) fn opens_segments(&self) -> bool {
        self.0.lock().opens_segments
    }

    /// From now on they are not any more; whether they were.
    pub(crate) fn stop_opening_segments(&self) -> bool {
        std::mem::take(&mut self.0.lock().opens_segments)
    }

    /// Puts a frame behind the others; a flush writes it.
    pub(crate) fn put(
        &self,
        kind: Kind,
        header: &impl Serialize,
        payload: Payload,
    ) -> io::Result<()> {
        self.put_naming(kind, header, payload, Vec::new)
    }

    /// As [`Self::put`], of a frame of which not only the payload names memory.
    pub(crate) fn put_naming(
        &self,
        kind: Kind,
        header: &impl Serialize,
        payload: Payload,
        memory: impl FnOnce() -> Vec<Descriptor>,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        state.attach(|| memory().into_iter().chain(payload.descriptors()).collect());
        put_frame(&mut state.buffer, kind, header, payload.len())?;
        state.put_payload(payload);
        Ok(())
    }

    /// As [`Self::put`], for tasks and chunks.
    pub(crate) fn put_task(
        &self,
        kind: Kind,
        header: &impl Serialize,
        arguments: Payload,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        state.attach(|| arguments.descriptors());
        put_task_frame(&mut state.buffer, kind, header, arguments.len())?;
        state.put_payload(arguments);
        Ok(())
    }

    /// Whether memory is sent to the worker.
    pub(crate) fn sends_memory(&self) -> bool {
        self.0.lock().sink.takes_descriptors()
    }

    /// So many descriptors that the worker has sent, if it can.
    pub(crate) fn receive(&self, count: usize) -> Vec<Descriptor> {
        self.0.lock().sink.receive(count)
    }

    /// Writes what the pipe takes at once; false if that is not all.
    pub(crate) fn flush(&self) -> bool {
        self.poll_flush(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Writes everything. A failure means that the worker is going, which is seen elsewhere.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().poll_flush(cx)
    }
}

impl OutletState {
    /// What the next frame names travels with it, where it has to.
    fn attach(&mut self, memory: impl FnOnce() -> Vec<Descriptor>) {
        if self.sink.takes_descriptors() {
            let before = self.segments.iter().map(Bytes::len).sum::<usize>();
            self.sink.attach(before + self.buffer.len() - self.written, memory());
        }
    }

    /// A large payload is not copied.
    fn put_payload(&mut self, payload: Payload) {
        if payload.len() <= SMALL {
            self.buffer.extend_from_slice(&payload);
        } else {
            self.sink.fit(self.buffer.len() + payload.len());
            let before = Bytes::from(std::mem::take(&mut self.buffer));
            let before = before.slice(std::mem::take(&mut self.written)..);
            self.segments.extend([before, payload.into()]);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(segment) = self.segments.front_mut() {
            match ready!(self.sink.poll_write(cx, segment)) {
                Ok(count) if count < segment.len() => drop(segment.split_to(count)),
                _ => drop(self.segments.pop_front()),
            }
        }
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            match ready!(self.sink.poll_write(cx, rest)) {
                Ok(count) => self.written += count,
                Err(_) => break,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(())
    }
}
