//! What a worker shows and has not written yet, as its agent sees it.

use std::sync::Arc;

use bytes::BytesMut;
use tokio_util::codec::LengthDelimitedCodec;

use crate::memory::page::Watch;
use crate::parent::{Handshake, Heard};
use crate::sys::memory::SharedPage;
use crate::wire::frame::{MAX_PAYLOAD, frame_codec};

/// The window of one worker. What is shown counts from the end of the handshake on, so the agent
/// has to know where that is.
pub(super) struct Window {
    page: Arc<SharedPage>,
    stage: WindowStage,
}

enum WindowStage {
    /// With what was not understood yet.
    Starting(Handshake, LengthDelimitedCodec, BytesMut),
    Watched(Watch),
    /// It will never be ready.
    Closed,
}

impl Window {
    pub(super) fn new(page: Arc<SharedPage>) -> Self {
        let codec = frame_codec(MAX_PAYLOAD);
        let stage = WindowStage::Starting(Handshake::default(), codec, BytesMut::new());
        Self { page, stage }
    }

    /// Takes what is shown and was not written, to be called before sleeping; not to be slept after
    /// if it is true.
    pub(super) fn look(&mut self, bytes: &mut BytesMut) -> bool {
        match &mut self.stage {
            WindowStage::Watched(watch) => watch.look(bytes),
            WindowStage::Starting(..) | WindowStage::Closed => false,
        }
    }

    /// These bytes were written. Of them only those are left that were not shown before, with what
    /// was shown last if it is `over`.
    pub(super) fn receive(&mut self, bytes: &mut BytesMut, over: bool) {
        match &mut self.stage {
            WindowStage::Watched(watch) => {
                let count = bytes.len();
                watch.receive(bytes, count);
                if over {
                    watch.take(bytes);
                }
            }
            WindowStage::Starting(_, _, words) => {
                words.extend_from_slice(bytes);
                self.listen();
            }
            WindowStage::Closed => {}
        }
    }

    fn listen(&mut self) {
        while let WindowStage::Starting(handshake, codec, words) = &mut self.stage {
            self.stage = match handshake.advance(words, codec) {
                Ok(Heard::Quiet) => continue,
                Ok(Heard::Wait) => return,
                Ok(Heard::Ready { .. }) => {
                    WindowStage::Watched(Watch::new(Arc::clone(&self.page), words.len()))
                }
                Ok(Heard::Refused(_)) | Err(_) => WindowStage::Closed,
            };
        }
    }
}
