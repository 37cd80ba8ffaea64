//! The worker's end of the pipe from its parent, and how it waits there.
//!
//! A caller that awaits one quick task after the other sends the next one some microseconds after the last
//! reply. To sleep and to be woken takes about as long, and costs both processes more than to look for that
//! long. So a worker whose last wait was that short looks a few times before it sleeps. One that has looked
//! in vain sleeps at once the next time: who has nothing to do burns nothing.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::read_now;

/// The longest time that is spent looking: not much longer than a sleep and a wake-up take.
const LOOK: Duration = Duration::from_micros(20);
/// A wait that took no longer than this would have been found by looking, had the worker not slept.
const SHORT: Duration = Duration::from_micros(40);

#[derive(Debug)]
pub(super) struct Input {
    pipe: Arc<File>,
    /// Whether the last wait was short.
    is_lively: bool,
}

impl Input {
    pub(super) fn new(pipe: Arc<File>) -> Self {
        Self { pipe, is_lively: false }
    }

    pub(super) fn pipe(&self) -> Arc<File> {
        Arc::clone(&self.pipe)
    }

    /// `None` if nothing came in time.
    fn look(&self, buffer: &mut [u8], began: Instant) -> Option<usize> {
        loop {
            // Anything but data, be it an error, is left to the read that waits.
            if let Some(count @ 1..) = read_now(&*self.pipe, buffer) {
                return Some(count);
            }
            if began.elapsed() > LOOK {
                return None;
            }
            thread::yield_now(); // somebody may need this core to have something to send
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        if self.is_lively {
            if let Some(count) = self.look(buffer, began) {
                return Ok(count);
            }
            self.is_lively = false;
            return (&*self.pipe).read(buffer);
        }
        let count = (&*self.pipe).read(buffer)?;
        self.is_lively = began.elapsed() < SHORT;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn data_arrives_in_order_however_long_it_was_waited_for() {
        let (reader, mut writer) = pipe().unwrap();
        let mut input = Input::new(Arc::new(OwnedFd::from(reader).into()));
        let mut buffer = [0; 16];
        for number in 0..50_u8 {
            writer.write_all(&[number]).unwrap();
            assert_eq!(input.read(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], number);
        }
        let sender = thread::spawn(move || {
            for number in 50..100_u8 {
                writer.write_all(&[number]).unwrap();
                thread::yield_now();
            }
        });
        let mut rest = Vec::new();
        input.read_to_end(&mut rest).unwrap(); // and the end is seen
        assert_eq!(rest, (50..100).collect::<Vec<u8>>());
        sender.join().unwrap();
    }

    #[test]
    fn who_has_looked_in_vain_sleeps_the_next_time() {
        let (reader, writer) = pipe().unwrap();
        let mut input = Input::new(Arc::new(OwnedFd::from(reader).into()));
        input.is_lively = true;
        assert_eq!(input.look(&mut [0; 1], Instant::now()), None);
        drop(writer);
        assert_eq!(input.read(&mut [0; 1]).unwrap(), 0, "the end is no data");
        assert!(!input.is_lively);
    }
}
