//! How a worker says something: shown to its parent, written, or both; or only half.

use crate::memory::page::{Display, ROOM};
use crate::sys::memory::SharedPage;

use super::process::Process;
use super::record::Record;

/// What a worker has to say, and has not written.
#[derive(Default)]
pub(super) struct Pen {
    unwritten: Vec<u8>,
    /// So much of that is in the pipe.
    begun: usize,
    /// The executions whose replies are among it.
    replies: Vec<usize>,
    /// Whether its parent was told that it is woken.
    woken: bool,
    display: Option<Display>,
}

impl Pen {
    pub(super) fn set_display(&mut self, page: Option<&'static SharedPage>) {
        self.display = page.map(Display::new);
    }

    /// Something is to be said, with the replies of some executions.
    pub(super) fn put(
        &mut self,
        replies: impl IntoIterator<Item = usize>,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        put(&mut self.unwritten);
        self.replies.extend(replies);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// In the middle of writing nothing else can be done.
    pub(super) fn is_writing(&self) -> bool {
        self.begun > 0
    }

    /// Shows it; false if it has to be written.
    pub(super) fn show(&mut self, record: &mut Record) -> bool {
        let Some(display) = &mut self.display else { return false };
        let is_enough = display.show(&self.unwritten);
        record.see(if is_enough {
            "what need not be written"
        } else {
            "what is shown and awaited"
        });
        if self.unwritten.len() <= ROOM {
            record.say(self.replies.iter().copied());
        }
        is_enough
    }

    /// Writes it, or only so many bytes. True if nothing is left.
    pub(super) fn write(
        &mut self,
        process: &Process,
        most: Option<usize>,
        record: &mut Record,
    ) -> bool {
        if let Some(display) = &self.display
            && !std::mem::replace(&mut self.woken, true)
        {
            display.wake();
        }
        let rest = &self.unwritten[self.begun..];
        let rest = &rest[..most.unwrap_or(rest.len()).min(rest.len())];
        self.begun += process.write(rest);
        if self.begun < self.unwritten.len() {
            record.see("half of what is to be written");
            return false;
        }
        if let Some(display) = &mut self.display {
            display.written(self.begun);
        }
        record.say(self.replies.drain(..));
        self.unwritten.clear();
        self.begun = 0;
        self.woken = false;
        true
    }
}
