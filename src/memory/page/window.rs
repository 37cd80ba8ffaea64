//! What a worker has said and not written yet, where its parent can see it.
//!
//! A write for each reply would cost a quick task more than all the rest. So a worker that has its
//! next task already keeps its replies, and writes many at once; but none may wait for that, as the
//! next task may be long, or kill the worker. Therefore what is kept is shown in memory that both
//! processes share, and the parent looks there before it sleeps:
//!
//! ```text
//! worker                              parent
//! show the reply                      say that it is awaited
//! is it awaited? then write           is anything shown? then take it, and do not sleep
//! ```
//!
//! Each does the second after the first, so one of them sees the other. Once the worker has
//! written, it need not do so again until the parent says the next time that it goes to sleep: one
//! write for one sleep, and none at all while the parent is busy.
//!
//! What is shown is a piece of the stream that goes through the pipe: the worker writes it there as
//! well, sooner or later, and the parent then skips what it has seen. One word says which piece it
//! is:
//!
//! ```text
//! ┌──────────────────────────────────┬─────────────────────┐
//! │ bytes written before it, mod 2³² │ length in bytes: 32 │
//! └──────────────────────────────────┴─────────────────────┘
//! ```
//!
//! Both sides count from the byte behind the `Ready` frame. The length grows as long as nothing is
//! written. The parent looks at the word before and after it has copied the bytes; if something was
//! written meanwhile, they are in the pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytes::{Buf, BytesMut};

use crate::memory::page::layout::{ROOM, WINDOW};
use crate::memory::page::words;
use crate::sys::memory::SharedPage;

/// The parts of the page.
struct WindowParts<'a> {
    piece: &'a AtomicU64,
    /// Set by the parent before it sleeps, cleared by the worker when it writes.
    awaited: &'a AtomicU64,
    bytes: &'a [AtomicU64],
}

fn parts(page: &SharedPage) -> WindowParts<'_> {
    let (control, bytes) = page.words()[WINDOW..].split_at(2);
    WindowParts { piece: &control[0], awaited: &control[1], bytes }
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Display {
    page: &'static SharedPage,
    written: u32,
    /// How many bytes are shown.
    shown: usize,
}

impl Display {
    pub(crate) fn new(page: &'static SharedPage) -> Self {
        Self { page, written: 0, shown: 0 }
    }

    /// Shows all that has not been written. False if that does not do: there is no room for it, or
    /// the parent waits for it.
    pub(crate) fn show(&mut self, unwritten: &[u8]) -> bool {
        let parts = parts(self.page);
        if !words::store(parts.bytes, unwritten, self.shown) {
            return false;
        }
        self.shown = unwritten.len();
        parts.piece.store(self.piece(), Ordering::Release);
        fence(Ordering::SeqCst);
        parts.awaited.load(Ordering::Relaxed) == 0
    }

    /// To be called before anything is written: the parent will wake up. Not later, as it may then
    /// be about to sleep again.
    pub(crate) fn wake(&self) {
        let awaited = parts(self.page).awaited;
        if awaited.load(Ordering::Relaxed) != 0 {
            awaited.store(0, Ordering::Relaxed);
        }
    }

    /// All that was shown, and perhaps more, is in the pipe.
    pub(crate) fn written(&mut self, count: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "counted modulo 2^32")]
        let count = count as u32;
        self.written = self.written.wrapping_add(count);
        self.shown = 0;
        parts(self.page).piece.store(self.piece(), Ordering::Relaxed);
        // Whoever sees bytes that are shown from now on sees that this is another piece.
        fence(Ordering::Release);
    }

    fn piece(&self) -> u64 {
        u64::from(self.written) << 32 | self.shown as u64
    }
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Watch {
    page: Arc<SharedPage>,
    /// How many bytes have come through the pipe.
    received: u32,
    /// How many bytes were seen that have not come through the pipe yet.
    seen: usize,
}

impl Watch {
    /// The worker is ready; of what comes behind that so many bytes have been received.
    pub(crate) fn new(page: Arc<SharedPage>, received: usize) -> Self {
        let mut watch = Self { page, received: 0, seen: 0 };
        watch.count(received);
        watch
    }

    /// The last `count` bytes of the inbox have come through the pipe. Those that were seen before
    /// are taken out again; then there is nothing before them, as what is shown is whole frames.
    pub(crate) fn receive(&mut self, inbox: &mut BytesMut, count: usize) {
        self.count(count);
        let skipped = self.seen.min(count).min(inbox.len());
        inbox.advance(skipped);
        self.seen -= skipped;
    }

    fn count(&mut self, received: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "counted modulo 2^32")]
        let received = received as u32;
        self.received = self.received.wrapping_add(received);
    }

    /// To be called before sleeping; not to be slept after if it is true: then something was taken.
    /// Nothing that the worker does meanwhile, or has written, can do more than make the bytes
    /// wrong.
    pub(crate) fn look(&mut self, inbox: &mut BytesMut) -> bool {
        parts(&self.page).awaited.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let taken = self.take(inbox);
        if taken {
            parts(&self.page).awaited.store(0, Ordering::Relaxed);
        }
        taken
    }

    /// Takes what is shown and was not seen yet.
    pub(crate) fn take(&mut self, inbox: &mut BytesMut) -> bool {
        let parts = parts(&self.page);
        let piece = parts.piece.load(Ordering::Acquire);
        let length = usize::try_from(piece & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        // Of a piece that is being written a part may have come. If the worker dies then, no more
        // of it will.
        let begin = self.received.wrapping_sub((piece >> 32) as u32) as usize;
        let known = begin.saturating_add(self.seen);
        if length <= known || length > ROOM {
            return false; // nothing new, or it is in the pipe
        }
        let before = inbox.len();
        words::load(parts.bytes, known, length, inbox);
        fence(Ordering::Acquire);
        if parts.piece.load(Ordering::Relaxed) >> 32 != piece >> 32 {
            inbox.truncate(before);
            return false;
        }
        self.seen = length - begin;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two sides of one page, and the parent's inbox.
    fn sides() -> (Display, Watch, BytesMut) {
        let page = Arc::new(SharedPage::create().unwrap().0);
        let watch = Watch::new(Arc::clone(&page), 0);
        let forever: &'static Arc<SharedPage> = Box::leak(Box::new(page));
        (Display::new(forever), watch, BytesMut::new())
    }

    fn deliver(watch: &mut Watch, inbox: &mut BytesMut, bytes: &[u8]) {
        inbox.extend_from_slice(bytes);
        watch.receive(inbox, bytes.len());
    }

    #[test]
    fn what_is_shown_is_taken_once_and_skipped_when_it_comes_by_the_pipe() {
        let (mut display, mut watch, mut inbox) = sides();
        assert!(display.show(b"one"));
        assert!(watch.look(&mut inbox));
        assert!(display.show(b"one two"));
        assert!(watch.look(&mut inbox));
        assert!(!watch.look(&mut inbox));
        assert_eq!(&inbox.split()[..], b"one two");
        display.wake();
        display.written(b"one two three".len());
        deliver(&mut watch, &mut inbox, b"one ");
        assert!(inbox.is_empty());
        deliver(&mut watch, &mut inbox, b"two three");
        assert_eq!(&inbox.split()[..], b" three");
        assert!(display.show(b"four") && watch.look(&mut inbox));
        assert_eq!(&inbox[..], b"four");
    }

    #[test]
    fn a_parent_that_sleeps_has_to_be_written_to_once() {
        let (mut display, mut watch, mut inbox) = sides();
        assert!(display.show(b"1"), "it has not slept yet");
        assert!(watch.look(&mut inbox) && !watch.look(&mut inbox));
        assert!(!display.show(b"12"));
        display.wake();
        display.written(2);
        assert!(display.show(b"3"), "it is awake");
        deliver(&mut watch, &mut inbox, b"12");
        assert_eq!(&inbox[..], b"12");
        assert!(watch.look(&mut inbox));
        assert_eq!(&inbox[..], b"123");
    }

    #[test]
    fn what_is_in_the_pipe_is_not_taken_from_the_window() {
        let (mut display, mut watch, mut inbox) = sides();
        display.written(5);
        assert!(display.show(b"later"));
        assert!(!watch.look(&mut inbox), "what comes before it has not been read");
        deliver(&mut watch, &mut inbox, b"first");
        assert!(watch.look(&mut inbox));
        assert_eq!(&inbox[..], b"firstlater");
    }

    #[test]
    fn what_was_shown_is_not_lost_when_only_a_part_of_it_was_written() {
        let (mut display, mut watch, mut inbox) = sides();
        display.written(5);
        assert!(display.show(b"one two"));
        display.wake(); // and then it was killed in the middle of writing
        deliver(&mut watch, &mut inbox, b"firston");
        assert!(watch.take(&mut inbox));
        assert_eq!(&inbox.split()[..], b"firstone two");
        assert!(!watch.take(&mut inbox));
        deliver(&mut watch, &mut inbox, b"e t");
        assert!(inbox.is_empty() && !watch.take(&mut inbox));
        deliver(&mut watch, &mut inbox, b"wo three");
        assert_eq!(&inbox[..], b" three");
        assert!(!watch.take(&mut inbox), "more than was shown is in the pipe");
    }

    #[test]
    fn what_has_no_room_has_to_be_written() {
        let (mut display, mut watch, mut inbox) = sides();
        assert!(display.show(&vec![7; ROOM]));
        assert!(!display.show(&vec![7; ROOM + 1]));
        assert!(watch.look(&mut inbox));
        assert_eq!(inbox.len(), ROOM);
    }

    #[test]
    fn counts_that_make_no_sense_are_not_believed() {
        let (display, mut watch, mut inbox) = sides();
        for piece in [ROOM as u64 + 1, u64::from(u32::MAX), 1 << 32 | 5, u64::MAX] {
            parts(display.page).piece.store(piece, Ordering::Relaxed);
            assert!(!watch.look(&mut inbox), "{piece:x}");
        }
    }

    #[test]
    fn the_counts_may_pass_four_gigabytes() {
        let (mut display, mut watch, mut inbox) = sides();
        for _ in 0..5 {
            display.written(1 << 30);
            watch.count(1 << 30);
        }
        assert!(display.show(b"more") && watch.look(&mut inbox));
        assert_eq!(&inbox[..], b"more");
    }

    #[test]
    fn nothing_is_lost_or_doubled_whoever_is_faster() {
        const NUMBERS: u32 = 100_000;
        let (mut display, mut watch, mut inbox) = sides();
        let (pipe, written) = std::sync::mpsc::channel::<Vec<u8>>();
        let worker = std::thread::spawn(move || {
            let mut unwritten = Vec::new();
            for number in 0..NUMBERS {
                unwritten.extend_from_slice(&number.to_le_bytes());
                if !display.show(&unwritten) || number == NUMBERS - 1 {
                    display.wake();
                    let count = unwritten.len();
                    pipe.send(std::mem::take(&mut unwritten)).unwrap();
                    display.written(count);
                }
            }
        });
        let mut next = 0;
        while next < NUMBERS {
            if !watch.look(&mut inbox) {
                let bytes = written.recv().expect("it is woken if there is more");
                deliver(&mut watch, &mut inbox, &bytes);
            }
            for number in inbox.split().chunks_exact(4) {
                assert_eq!(number, next.to_le_bytes());
                next += 1;
            }
        }
        worker.join().unwrap();
    }
}
