//! What a worker answers to its parent's hello.

use std::io;

use crate::child::stream::FrameWriter;
use crate::memory::page::is_numbered;
use crate::memory::shared::refuse_to_lend;
use crate::sys::memory::SharedPage;
use crate::sys::resources::is_address_space_limited;
use crate::wire::frame::{VERSION, put_frame};
use crate::wire::hello::{Hello, WorkerHello};
use crate::wire::message::Kind;

/// Whether it can still open what its parent shares. What was run before may have made this process
/// another user's, or set limits.
pub(super) fn can_open_segments(hello: &Hello, claims: Option<&SharedPage>) -> bool {
    !is_address_space_limited()
        && !claims.is_some_and(is_numbered) // the parent's memory is on another host
        && claims.and(hello.claims).is_some_and(|page| SharedPage::open(page).is_ok())
}

/// Whether the parent can see which process this is, though it is no child, as it has signed their
/// page. Otherwise it lends nothing.
pub(super) fn sign(hello: &Hello, claims: Option<&SharedPage>) -> bool {
    let is_signed = claims.and(hello.claims).is_some_and(|page| page.sign().is_ok());
    if !is_signed {
        refuse_to_lend();
    }
    is_signed
}

/// Says that this is a worker for that parent, and whether it takes part in claims: it does if it
/// can open their page, which is returned.
pub(super) fn accept(
    writer: &mut FrameWriter,
    hello: &Hello,
) -> io::Result<Option<&'static SharedPage>> {
    let opened = hello.claims.map(SharedPage::open).transpose();
    let no_page = match &opened {
        Ok(Some(_)) => None,
        Ok(None) => Some(0),
        Err(error) => Some(error.raw_os_error().unwrap_or(0)),
    };
    let answer = WorkerHello { version: VERSION, no_page, differences: Vec::new() };
    put_frame(writer.buffer(), Kind::WorkerHello, &answer, 0)?;
    let page = opened.ok().flatten();
    Ok(page.map(|page| &*Box::leak(Box::new(page))))
}

/// Says why this is no worker for that parent.
pub(super) fn refuse<T>(
    writer: &mut FrameWriter,
    differences: Vec<String>,
) -> io::Result<Option<T>> {
    let answer = WorkerHello { version: VERSION, no_page: Some(0), differences };
    put_frame(writer.buffer(), Kind::WorkerHello, &answer, 0)?;
    writer.flush()?;
    Ok(None)
}
