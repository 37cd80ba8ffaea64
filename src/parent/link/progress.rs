//! Reports of progress, as they come from a worker.

use std::io;

use crate::parent::message::ProgressMessage;
use crate::wire::frame::split_header;
use crate::wire::message::{MAX_MESSAGE, ProgressHeader};

/// The body is a frame without its kind.
pub(super) fn read_progress(body: &[u8]) -> io::Result<ProgressMessage> {
    let (header, text) = split_header::<ProgressHeader>(body)?;
    if text.len() > MAX_MESSAGE {
        let message = "it reported progress with a message that is too long";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let ProgressHeader { task, done, total } = header;
    Ok(ProgressMessage { task, done, total, text: String::from_utf8_lossy(text).into_owned() })
}

#[cfg(test)]
mod tests {
    use crate::base::TaskId;
    use crate::wire::frame::put_frame;
    use crate::wire::message::Kind;

    use super::*;

    /// A frame of progress without length and kind.
    fn body(text: &[u8]) -> Vec<u8> {
        let header = ProgressHeader { task: TaskId(7), done: 1, total: 2 };
        let mut frame = Vec::new();
        put_frame(&mut frame, Kind::Progress, &header, text.len()).unwrap();
        [&frame[5..], text].concat()
    }

    #[test]
    fn a_report_of_progress_comes_back() {
        let ProgressMessage { task, done, total, text } = read_progress(&body(b"half")).unwrap();
        assert_eq!((task, done, total, text.as_str()), (TaskId(7), 1, 2, "half"));
    }

    #[test]
    fn what_a_worker_says_need_not_be_text() {
        assert_eq!(read_progress(&body(b"\xFFok")).unwrap().text, "\u{FFFD}ok");
    }

    #[test]
    fn no_message_is_longer_than_agreed() {
        assert!(read_progress(&body(&[b'x'; MAX_MESSAGE])).is_ok());
        assert!(read_progress(&body(&[b'x'; MAX_MESSAGE + 1])).is_err());
        assert!(read_progress(&[0xFF]).is_err());
    }
}
