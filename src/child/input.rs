//! The worker's end of the pipe from its parent, and how it waits there.
//!
//! A caller that awaits one quick task after the other sends the next one some microseconds after
//! the last reply. To sleep and to be woken takes about as long, and costs both processes more than
//! to look for that long. So a worker whose last wait was that short looks a few times before it
//! sleeps. One that has looked in vain sleeps at once the next time: who has nothing to do burns
//! nothing.
//!
//! Only the beginning of something is looked for. What follows while the parent writes it would
//! come in as many pieces as there are looks, and each of them makes the parent write the next
//! small one.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::memory::Arrivals;
use crate::sys::pipe::{read_behind, read_now};
use crate::sys::socket::{is_socket, receive_with_descriptors};

/// The longest time that is spent looking: not much longer than a sleep and a wake-up take.
const LOOK: Duration = Duration::from_micros(20);
/// A wait that took no longer than this would have been found by looking, had the worker not slept.
const SHORT: Duration = Duration::from_micros(40);

#[derive(Debug)]
pub(super) struct Input {
    pipe: Arc<File>,
    /// It is a socket, over which descriptors may come.
    is_socket: bool,
    /// Whether the last wait was short.
    is_lively: bool,
}

impl Input {
    pub(super) fn new(pipe: Arc<File>) -> Self {
        Self { is_socket: is_socket(&*pipe), pipe, is_lively: false }
    }

    pub(super) fn pipe(&self) -> Arc<File> {
        Arc::clone(&self.pipe)
    }

    pub(super) fn socket(&self) -> Option<Arc<File>> {
        self.is_socket.then(|| self.pipe())
    }

    /// Reads so many bytes behind what the buffer has, in as few pieces as can be.
    ///
    /// # Errors
    ///
    /// Also if there are no more.
    pub(super) fn read_rest(&self, buffer: &mut Vec<u8>, count: usize) -> io::Result<()> {
        let end = buffer.len() + count;
        buffer.reserve(count);
        if self.is_socket {
            return self.receive_rest(buffer, count);
        }
        while buffer.len() < end {
            if read_behind(&*self.pipe, buffer, end - buffer.len())? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn receive_rest(&self, buffer: &mut Vec<u8>, count: usize) -> io::Result<()> {
        let mut begin = buffer.len();
        buffer.resize(begin + count, 0);
        while begin < buffer.len() {
            match self.receive(&mut buffer[begin..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => begin += more,
            }
        }
        Ok(())
    }

    /// Of a socket.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match receive_with_descriptors(&*self.pipe, buffer) {
            Ok((count, descriptors)) => {
                if !descriptors.is_empty() {
                    Arrivals::from_parent().add(descriptors);
                }
                Ok(count)
            }
            // So ends a socket that has not read all that came there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn wait(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_socket { self.receive(buffer) } else { (&*self.pipe).read(buffer) }
    }

    /// What was read is over. Of what has come with it nothing more is wanted.
    pub(super) fn is_over(&self) {
        if self.is_socket {
            Arrivals::from_parent().clear();
        }
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
        let count = self.wait(buffer)?;
        // What comes with the bytes of a socket would be lost by a look.
        self.is_lively = !self.is_socket && began.elapsed() < SHORT;
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
    fn the_rest_of_something_comes_in_pieces_that_fill_the_pipe() {
        const LENGTH: usize = 1 << 20;
        let (reader, mut writer) = pipe().unwrap();
        let input = Input::new(Arc::new(OwnedFd::from(reader).into()));
        let sender = thread::spawn(move || {
            writer.write_all(&vec![7; LENGTH]).unwrap();
            writer.write_all(b"next").unwrap();
            writer
        });
        let mut buffer = b"first".to_vec();
        buffer.reserve(2 * LENGTH);
        input.read_rest(&mut buffer, LENGTH).unwrap();
        assert!(buffer.len() == 5 + LENGTH && buffer[5..].iter().all(|byte| *byte == 7));
        drop(sender.join().unwrap());
        let error = input.read_rest(&mut buffer, 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(&buffer[5 + LENGTH..], b"next");
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
