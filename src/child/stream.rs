//! The worker's end of the frame pipes, blocking.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::credit::EmitPorts;
use super::progress::Reporter;
use super::source::{FrameSource, SharedSource};
use crate::base::sync::Mutex;
use crate::function::EncodedArguments;
use crate::memory::shared::{Kept, lend, lent_descriptors};
use crate::sys::buffer::trim;
use crate::sys::descriptor::Descriptor;
use crate::sys::socket::send_descriptors;
use crate::wire::frame::{PREAMBLE, put_frame, split_kind};
use crate::wire::item::split_item;
use crate::wire::message::Kind;

/// Larger replies are not kept back.
const SMALL: usize = 1 << 10;

/// Reads frames.
pub(super) struct FrameReader {
    source: SharedSource,
    frame: Vec<u8>,
}

impl FrameReader {
    /// Reads up to the end of the preamble.
    pub(super) fn new(pipe: Arc<File>) -> io::Result<Self> {
        let source = Arc::new(Mutex::new(FrameSource::new(pipe)?));
        Ok(Self { source, frame: Vec::new() })
    }

    /// Where frames come over a socket the parent cannot open what this process has.
    pub(super) fn lending(&self) -> Lending {
        self.source.lock().socket().map_or(Lending::ByName, Lending::Beside)
    }

    /// What it reads from.
    pub(super) fn pipe(&self) -> Arc<File> {
        self.source.lock().pipe()
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.source.lock().set_max_payload(max_payload);
    }

    /// For who emits.
    pub(super) fn ports(&self, max_payload: usize) -> EmitPorts {
        let socket = self.source.lock().socket();
        EmitPorts { source: Arc::clone(&self.source), socket, max_payload }
    }

    /// Whether the next frame is here, so that reading it does not wait. It is not if somebody else
    /// waits for it.
    pub(super) fn has_next(&self) -> bool {
        self.source.try_lock().is_some_and(|source| source.has_next())
    }

    /// Waits for the next frame.
    pub(super) fn read(&mut self) -> io::Result<Incoming<'_>> {
        let mut source = self.source.lock();
        source.read(&mut self.frame)?;
        let is_last = !source.has_next();
        drop(source);
        Ok(Incoming { frame: &mut self.frame, is_last })
    }
}

/// A frame that was read.
pub(super) struct Incoming<'a> {
    frame: &'a mut Vec<u8>,
    /// The next one may have to be waited for.
    pub(super) is_last: bool,
}

impl Incoming<'_> {
    pub(super) fn parse(&self) -> io::Result<(Kind, &[u8])> {
        split_kind(self.frame)
    }

    /// The last `length` bytes, as something that can be freed once they are decoded.
    pub(super) fn payload(&mut self, length: usize) -> EncodedArguments<'_> {
        let bytes = self.frame.len() - length..self.frame.len();
        EncodedArguments::Framed { frame: self.frame, bytes }
    }

    /// A part of the last `payload` bytes.
    pub(super) fn payload_part(
        &mut self,
        payload: usize,
        part: Range<usize>,
    ) -> EncodedArguments<'_> {
        let start = self.frame.len() - payload;
        let bytes = start + part.start..start + part.end;
        EncodedArguments::Framed { frame: self.frame, bytes }
    }

    /// As [`Self::payload`], for those of a chunk.
    pub(super) fn items(&mut self, length: usize) -> ChunkArguments<'_> {
        let next = self.frame.len() - length;
        ChunkArguments { frame: self.frame, next }
    }
}

/// The arguments of a chunk's calls.
pub(super) struct ChunkArguments<'a> {
    frame: &'a mut Vec<u8>,
    next: usize,
}

impl ChunkArguments<'_> {
    #[inline]
    pub(super) fn next(&mut self) -> io::Result<EncodedArguments<'_>> {
        let items = self.frame.get(self.next..).unwrap_or_default();
        let (item, rest) = split_item(items)?;
        let end = self.frame.len() - rest.len();
        let bytes = end - item.len()..end;
        self.next = end;
        Ok(EncodedArguments::Framed { frame: self.frame, bytes })
    }
}

/// Writes frames. Before the next task begins each is written, or the parent can see it.
pub(super) struct FrameWriter {
    reporter: &'static Reporter,
    buffer: Vec<u8>,
    lending: Lending,
}

/// How the parent comes to memory of this process.
pub(super) enum Lending {
    /// It opens it by its name.
    ByName,
    /// Descriptors are sent over the socket by which frames come.
    Beside(Arc<File>),
    /// Descriptors travel with the frames that name them, which are written to a socket.
    WithFrames,
}

impl FrameWriter {
    /// The preamble goes out with the first frame.
    pub(super) fn new(reporter: &'static Reporter, lending: Lending) -> Self {
        Self { reporter, buffer: PREAMBLE.to_vec(), lending }
    }

    /// Where frames are put before they are written.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flush_with(None, &[])
    }

    /// As `flush`, for a reply; what the task has reported comes before it. It may be written later
    /// if something is to be done at once; see [`Self::write_kept`].
    pub(super) fn flush_reply(&mut self, run: u64, goes_on: bool) -> io::Result<()> {
        if goes_on && self.buffer.len() <= SMALL {
            self.reporter.end_run_soon(run, &self.buffer)?;
            self.buffer.clear();
            return Ok(());
        }
        self.flush_with(Some(run), &[])
    }

    /// Writes the replies that were kept back; to be called before waiting.
    pub(super) fn write_kept(&self) -> io::Result<()> {
        self.reporter.flush()
    }

    /// As `flush`, with bytes behind what is in the buffer; a reply if `run` says whose.
    pub(super) fn flush_with(&mut self, run: Option<u64>, payload: &[u8]) -> io::Result<()> {
        match run {
            Some(run) => self.reporter.end_run(run, &self.buffer, payload)?,
            None => self.reporter.write(&self.buffer, payload)?,
        }
        self.clear();
        Ok(())
    }

    /// Writes at once what the next reply names, and keeps it until the parent has opened it.
    pub(super) fn lend(&self, kept: Kept) -> io::Result<()> {
        if kept.is_empty() {
            return Ok(());
        }
        let (mut frame, memory) = (Vec::new(), kept.clone());
        put_frame(&mut frame, Kind::Lent, &lend(kept)?, 0)?;
        let memory = || lent_descriptors(&memory);
        if matches!(self.lending, Lending::WithFrames) {
            return self.reporter.write_with_descriptors(&frame, &memory());
        }
        self.send(memory)?;
        self.reporter.write(&frame, &[])
    }

    /// Sends the memory that the next frame names, if the parent cannot open it.
    pub(super) fn send(&self, memory: impl FnOnce() -> Vec<Descriptor>) -> io::Result<()> {
        if let Lending::Beside(socket) = &self.lending {
            send_descriptors(&**socket, &memory())?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.buffer.clear();
        trim(&mut self.buffer);
    }
}
