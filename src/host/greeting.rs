//! The first words of a host, up to those of its agent.
//!
//! ```text
//! (banner of the host) ─▶ (wants the program) ─▶ preamble ─▶ AgentBanner
//! ```

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};

use crate::host::launcher::Launcher;
use crate::host::own_copy::{NEEDS, OwnCopy};
use crate::wire::frame::{PREAMBLE, PreambleSearch, VERSION, max_frame, split_header, split_kind};
use crate::wire::hello::peek_version;
use crate::wire::host::AgentBanner;
use crate::wire::message::Kind;

/// A launcher that has printed so much without a banner is none.
const LONGEST: usize = 64 << 10;
/// How much of that is quoted.
const QUOTED: usize = 500;

/// Waits for the agent, and sends the program if the host wants it. An error is for people to read.
pub(super) async fn greet(
    launcher: &mut Launcher,
    input: &mut BufReader<ChildStdout>,
    output: &mut ChildStdin,
    mut copy: Option<OwnCopy>,
) -> Result<AgentBanner, String> {
    let mut greeting = Greeting::default();
    let text = loop {
        match greeting.listen(input).await {
            Ok(FirstWords::Banner(banner)) => return Ok(banner),
            Ok(FirstWords::Wants(system)) => {
                let Some(copy) = copy.take() else { break "it wants the program twice".to_owned() };
                match copy.send(&system, output).await {
                    Ok(()) => {}
                    // It has ended meanwhile, which says more.
                    Err(text) if text.is_empty() => {}
                    Err(text) => return Err(text),
                }
            }
            Ok(FirstWords::End) => {
                let how = launcher.last_moments().await;
                break how.unwrap_or_else(|| {
                    format!("it has closed its output{}", launcher.last_words())
                });
            }
            Err(error) => break format!("{error}{}", launcher.last_words()),
        }
    };
    Err(format!("{text}{}", greeting.quoted()))
}

pub(super) enum FirstWords {
    Banner(AgentBanner),
    /// The program, for such a system.
    Wants(String),
    End,
}

/// What was printed before the banner.
#[derive(Default)]
pub(super) struct Greeting {
    search: PreambleSearch,
    text: Vec<u8>,
}

impl Greeting {
    pub(super) async fn listen(
        &mut self,
        input: &mut (impl AsyncBufRead + Unpin),
    ) -> io::Result<FirstWords> {
        loop {
            let piece = input.fill_buf().await?;
            if piece.is_empty() {
                return Ok(FirstWords::End);
            }
            let (length, found) = (piece.len(), self.search.advance(piece));
            self.text.extend_from_slice(piece);
            input.consume(found.unwrap_or(length));
            if let Some(found) = found {
                let end = (self.text.len() - length + found).saturating_sub(PREAMBLE.len());
                self.text.truncate(end);
                return read_banner(input).await.map(FirstWords::Banner);
            }
            if let Some(system) = self.wish() {
                self.text.clear();
                return Ok(FirstWords::Wants(system));
            }
            if self.text.len() > LONGEST {
                return Err(io::Error::other("it printed much without becoming an agent"));
            }
        }
    }

    /// For which system the program is wanted, if a whole line says so.
    fn wish(&self) -> Option<String> {
        let text = self.text.strip_suffix(b"\n")?;
        let line = text.rsplit(|byte| *byte == b'\n').next()?;
        let system = line.strip_prefix(NEEDS.as_bytes())?;
        Some(String::from_utf8_lossy(system).into_owned())
    }

    pub(super) fn quoted(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let text: String = text.trim().chars().take(QUOTED).collect();
        if text.is_empty() { text } else { format!("; it printed {text:?}") }
    }
}

async fn read_banner(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<AgentBanner> {
    let frame = read_frame(input, 0).await?;
    match split_kind(&frame)? {
        (Kind::AgentBanner, body) if peek_version(body)? == VERSION => {
            Ok(split_header::<AgentBanner>(body)?.0)
        }
        (Kind::AgentBanner, body) => Err(io::Error::other(format!(
            "its program speaks version {} of procpool's protocol, and this one {VERSION}",
            peek_version(body)?
        ))),
        (Kind::NotInitialized, _) => Err(io::Error::other(
            "its program does not call `procpool::init()` as the first statement of `main`",
        )),
        (kind, _) => Err(io::Error::other(format!("its first words are a {kind:?} frame"))),
    }
}

/// The first frame behind the preamble, whose payload has no more bytes than this.
pub(super) async fn read_frame(
    input: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<BytesMut> {
    let length = input.read_u32_le().await? as usize;
    if length > max_frame(most) {
        return Err(io::Error::other("its first words are malformed"));
    }
    let mut frame = BytesMut::zeroed(length);
    input.read_exact(&mut frame).await?;
    Ok(frame)
}
