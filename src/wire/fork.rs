//! What the fork server is asked, and what it answers, once it has shaken hands: messages of a
//! fixed size, answered one by one and in order. An answer may say that a frame follows it.

use std::io;

/// How much the server says of a failure while it shakes hands, in bytes.
pub(crate) const MOST_TEXT: usize = 1 << 20;
/// A message's size in bytes.
pub(crate) const SIZE: usize = 8;

/// What the pool asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A new worker. Comes with the child's ends of its three pipes.
    Fork,
    /// How this worker, which has exited, has ended. From then on its pid may be another process's.
    Reap { pid: u32 },
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Forked {
        pid: u32,
    },
    /// In the form of `wait`.
    Reaped {
        status: i32,
    },
    /// Neither, for this reason of the system's.
    Failed {
        errno: i32,
    },
    /// No worker, as a hook has failed. A frame of this length follows, which says which and how.
    HookFailed {
        length: u32,
    },
}

impl Request {
    pub(crate) fn to_bytes(self) -> [u8; SIZE] {
        match self {
            Self::Fork => join(1, 0),
            Self::Reap { pid } => join(2, pid),
        }
    }

    pub(crate) fn from_bytes(bytes: [u8; SIZE]) -> io::Result<Self> {
        match split(bytes) {
            (1, _) => Ok(Self::Fork),
            (2, pid) => Ok(Self::Reap { pid }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Answer {
    pub(crate) fn to_bytes(self) -> [u8; SIZE] {
        match self {
            Self::Forked { pid } => join(1, pid),
            Self::Reaped { status } => join(2, status.cast_unsigned()),
            Self::Failed { errno } => join(3, errno.cast_unsigned()),
            Self::HookFailed { length } => join(4, length),
        }
    }

    pub(crate) fn from_bytes(bytes: [u8; SIZE]) -> io::Result<Self> {
        match split(bytes) {
            (1, pid) => Ok(Self::Forked { pid }),
            (2, status) => Ok(Self::Reaped { status: status.cast_signed() }),
            (3, errno) => Ok(Self::Failed { errno: errno.cast_signed() }),
            (4, length) => Ok(Self::HookFailed { length }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How many bytes follow.
    pub(crate) fn rest(self) -> io::Result<usize> {
        match self {
            Self::HookFailed { length } if length as usize > 2 * MOST_TEXT => {
                Err(io::ErrorKind::InvalidData.into())
            }
            Self::HookFailed { length } => Ok(length as usize),
            _ => Ok(0),
        }
    }
}

fn join(kind: u32, value: u32) -> [u8; SIZE] {
    (u64::from(kind) << 32 | u64::from(value)).to_le_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "takes the halves apart")]
fn split(bytes: [u8; SIZE]) -> (u32, u32) {
    let both = u64::from_le_bytes(bytes);
    ((both >> 32) as u32, both as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        for request in [Request::Fork, Request::Reap { pid: u32::MAX }] {
            assert_eq!(Request::from_bytes(request.to_bytes()).unwrap(), request);
        }
        let (pid, status, errno, length) = (7, -1, 11, 99);
        for answer in [
            Answer::Forked { pid },
            Answer::Reaped { status },
            Answer::Failed { errno },
            Answer::HookFailed { length },
        ] {
            assert_eq!(Answer::from_bytes(answer.to_bytes()).unwrap(), answer);
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        assert!(Request::from_bytes([0xFF; SIZE]).is_err());
        assert!(Answer::from_bytes([0; SIZE]).is_err());
        assert!(Answer::HookFailed { length: u32::MAX }.rest().is_err());
    }
}
