//! The first words of a child process, as its parent hears them.
//!
//! ```text
//! (banner) ─▶ preamble ─▶ WorkerHello ─▶ Ready
//! ```
//!
//! It is the same for workers, for the server that forks them, and for a
//! [`Process`](crate::Process).

#[cfg(test)]
mod fuzz;

use std::io;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use crate::error::Refusal;
use crate::wire::frame::{PreambleSearch, VERSION, split_header, split_kind};
use crate::wire::hello::{WorkerHello, peek_version};
use crate::wire::message::{HookFailure, InitFailure, Kind, Ready};

/// A child that has printed so much without a hello is none of ours.
const LONGEST_BANNER: usize = 1 << 20;

/// How far a child has come.
pub(crate) enum Handshake {
    Preamble(PreambleSearch),
    Hello,
    /// It runs what it has to run before it can serve; and why it does not take part in claims.
    Initializing {
        no_page: Option<i32>,
    },
}

/// What looking at the inbox led to.
pub(crate) enum Heard {
    /// There may be more to see.
    Quiet,
    /// More must be read first.
    Wait,
    Ready {
        /// Whether it can open segments.
        segments: bool,
        /// What it has to say of its preload.
        remarks: Vec<String>,
    },
    Refused(Refusal),
}

impl Default for Handshake {
    fn default() -> Self {
        Self::Preamble(PreambleSearch::default())
    }
}

impl Handshake {
    /// Whether it has not even said hello.
    pub(crate) fn is_silent(&self) -> bool {
        !matches!(self, Self::Initializing { .. })
    }

    /// It cannot open the page, for this reason of its system's.
    pub(crate) fn no_page(&self) -> Option<i32> {
        match self {
            Self::Initializing { no_page } => *no_page,
            _ => None,
        }
    }

    /// Takes the next step with what has arrived. Not to be called again after `Ready`.
    pub(crate) fn advance(
        &mut self,
        inbox: &mut BytesMut,
        codec: &mut LengthDelimitedCodec,
    ) -> io::Result<Heard> {
        if let Self::Preamble(search) = self {
            let Some(skipped) = search.advance(inbox) else { return wait(search, inbox) };
            let _ = inbox.split_to(skipped);
            *self = Self::Hello;
        }
        match codec.decode(inbox)? {
            Some(frame) => self.understand(&frame),
            None => Ok(Heard::Wait),
        }
    }

    fn understand(&mut self, frame: &[u8]) -> io::Result<Heard> {
        let (kind, body) = split_kind(frame)?;
        match (&self, kind) {
            (Self::Hello, Kind::NotInitialized) => Ok(Heard::Refused(Refusal::NotInitialized)),
            (Self::Hello, Kind::WorkerHello) => Ok(match accept(body)? {
                Ok(no_page) => {
                    *self = Self::Initializing { no_page };
                    Heard::Quiet
                }
                Err(refusal) => Heard::Refused(refusal),
            }),
            (Self::Initializing { .. }, Kind::InitFailed) => {
                let (failure, _) = split_header::<InitFailure>(body)?;
                Ok(Heard::Refused(Refusal::Initializer(failure)))
            }
            (Self::Initializing { .. }, Kind::PreloadFailed) => {
                let (failure, _) = split_header::<InitFailure>(body)?;
                Ok(Heard::Refused(Refusal::Preload(failure)))
            }
            (Self::Initializing { .. }, Kind::HookFailed) => {
                let (failure, _) = split_header::<HookFailure>(body)?;
                Ok(Heard::Refused(Refusal::Hook(failure)))
            }
            (Self::Initializing { .. }, Kind::Ready) => {
                let (Ready { segments, remarks }, _) = split_header(body)?;
                Ok(Heard::Ready { segments, remarks })
            }
            (_, kind) => Err(misplaced(kind)),
        }
    }
}

/// A frame that a child must not send as things stand.
pub(crate) fn misplaced(kind: Kind) -> io::Error {
    let message = format!("it sent a {kind:?} frame at the wrong time");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn wait(search: &PreambleSearch, inbox: &mut BytesMut) -> io::Result<Heard> {
    let text = (search.skipped() > LONGEST_BANNER).then(|| beginning(inbox));
    inbox.clear();
    match text {
        Some(text) => Err(io::Error::other(format!(
            "it printed a megabyte without a hello, such as {text:?}"
        ))),
        None => Ok(Heard::Wait),
    }
}

/// Whether a child fits, and why it does not take part in claims.
fn accept(body: &[u8]) -> io::Result<Result<Option<i32>, Refusal>> {
    let theirs = peek_version(body)?;
    if theirs != VERSION {
        return Ok(Err(Refusal::Version { ours: VERSION, theirs }));
    }
    let (hello, _) = split_header::<WorkerHello>(body)?;
    if hello.differences.is_empty() {
        Ok(Ok(hello.no_page))
    } else {
        Ok(Err(Refusal::Functions(hello.differences)))
    }
}

fn beginning(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned()
}
