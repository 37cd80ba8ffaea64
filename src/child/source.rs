//! Where frames come from: the pipe from the parent, and who reads it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use super::input::Input;
use crate::base::sync::Mutex;
use crate::wire::emit::Credit;
use crate::wire::frame::{PreambleSearch, frame_length, max_frame, split_header, split_kind};
use crate::wire::message::Kind;

const BUFFER: usize = 64 << 10;

/// Frames that come from the parent. While a task waits for room for what it emits, it reads them
/// in place of the thread that runs it.
pub(super) type SharedSource = Arc<Mutex<FrameSource>>;

pub(super) struct FrameSource {
    pipe: BufReader<Input>,
    /// What was read by who waits for something else.
    ahead: VecDeque<Vec<u8>>,
    max_frame: usize,
}

impl FrameSource {
    /// Reads up to the end of the preamble.
    pub(super) fn new(pipe: Arc<File>) -> io::Result<Self> {
        let mut pipe = BufReader::with_capacity(BUFFER, Input::new(pipe));
        let mut search = PreambleSearch::default();
        loop {
            let piece = pipe.fill_buf()?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (length, found) = (piece.len(), search.advance(piece));
            pipe.consume(found.unwrap_or(length));
            if found.is_some() {
                // The arguments of an initializer may be large, and the hello comes from the
                // parent.
                let max_frame = max_frame(usize::MAX);
                return Ok(Self { pipe, ahead: VecDeque::new(), max_frame });
            }
        }
    }

    pub(super) fn pipe(&self) -> Arc<File> {
        self.pipe.get_ref().pipe()
    }

    /// If frames come over one.
    pub(super) fn socket(&self) -> Option<Arc<File>> {
        self.pipe.get_ref().socket()
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.max_frame = max_frame(max_payload);
    }

    /// Whether the next frame is here, so that reading it does not wait.
    pub(super) fn has_next(&self) -> bool {
        let here = self.pipe.buffer();
        let next = here.split_first_chunk();
        !self.ahead.is_empty()
            || next.is_some_and(|(length, rest)| rest.len() >= frame_length(*length))
    }

    /// Waits for the next frame, which replaces the one that is over.
    pub(super) fn read(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        if let Some(next) = self.ahead.pop_front() {
            *frame = next;
            return Ok(());
        }
        // What came with the preamble is for the first frame, and what came with extras is for the
        // task behind them. Neither is over.
        let is_over = split_kind(frame).is_ok_and(|(kind, _)| kind != Kind::Extras);
        if self.pipe.buffer().is_empty() && is_over {
            self.pipe.get_ref().is_over();
        }
        self.read_new(frame)
    }

    fn read_new(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        let mut prefix = [0; 4];
        self.pipe.read_exact(&mut prefix)?;
        let length = frame_length(prefix);
        if length > self.max_frame {
            return Err(io::ErrorKind::InvalidData.into());
        }
        frame.clear();
        frame.reserve(length);
        let here = self.pipe.buffer();
        let here = &here[..length.min(here.len())];
        frame.extend_from_slice(here);
        let rest = length - here.len();
        self.pipe.consume(length - rest);
        if rest > 0 {
            self.pipe.get_ref().read_rest(frame, rest)?;
        }
        Ok(())
    }

    /// Waits for one frame, for a task that waits for credit. What is none is read again, in order,
    /// when the task is over: not much, as a worker is sent little ahead.
    pub(super) fn wait_for_credit(&mut self) -> io::Result<Option<Credit>> {
        let mut frame = Vec::new();
        self.read_new(&mut frame)?;
        let (kind, body) = split_kind(&frame)?;
        if kind == Kind::Credit {
            return Ok(Some(split_header(body)?.0));
        }
        self.ahead.push_back(frame);
        Ok(None)
    }
}
