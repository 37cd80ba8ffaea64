//! Messages of a socket with which descriptors travel.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::from_mut;

use libc::{cmsghdr, iovec, msghdr};

use super::kernel::{RECEIVE, SEND};

/// The most descriptors that travel with one message.
pub(crate) const MOST_FDS: usize = 16;
const FD_SIZE: usize = size_of::<RawFd>();
/// How much room the system wants for them.
const ROOM: usize = space(data_size(MOST_FDS));

/// How long so many descriptors are, of which there are not too many.
#[expect(clippy::cast_possible_truncation, reason = "there are few")]
const fn data_size(descriptors: usize) -> libc::c_uint {
    (descriptors * FD_SIZE) as libc::c_uint
}

/// With the header before them.
const fn space(length: libc::c_uint) -> usize {
    // SAFETY: it computes a number.
    #[expect(unsafe_code, reason = "libc has it as unsafe")]
    let space = unsafe { libc::CMSG_SPACE(length) };
    space as usize
}

/// Room for descriptors, aligned as the system wants it.
#[repr(C)]
union Ancillary {
    header: MaybeUninit<cmsghdr>,
    bytes: [u8; ROOM],
}

/// A message of these bytes, and of so many of ancillary data.
fn message(bytes: &mut iovec, ancillary: &mut Ancillary, length: usize) -> msghdr {
    // SAFETY: it has numbers and pointers only, for which zero is a value.
    #[expect(unsafe_code, reason = "not all systems have the same fields")]
    let mut message: msghdr = unsafe { zeroed() };
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    if length > 0 {
        message.msg_control = from_mut(ancillary).cast();
        message.msg_controllen = length as _;
    }
    message
}

/// Sends some of the bytes, with copies of descriptors, at most [`MOST_FDS`].
pub(super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[&dyn AsFd],
) -> io::Result<usize> {
    if descriptors.len() > MOST_FDS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut ancillary = Ancillary { bytes: [0; ROOM] };
    let mut bytes = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let length = data_size(descriptors.len());
    let room = if length > 0 { space(length) } else { 0 };
    let message = message(&mut bytes, &mut ancillary, room);
    // SAFETY: there is room for one header and so many descriptors, as there are not more than
    // `MOST_FDS`, and it is aligned for a header. The system only reads what the message names,
    // all of which is borrowed until it returns.
    #[expect(unsafe_code, reason = "std has no ancillary data")]
    let sent = unsafe {
        if length > 0 {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(length) as _;
            let place = libc::CMSG_DATA(header).cast::<[u8; FD_SIZE]>();
            for (number, descriptor) in descriptors.iter().enumerate() {
                place.add(number).write(descriptor.as_fd().as_raw_fd().to_ne_bytes());
            }
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, SEND)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives some bytes, and the descriptors that came with them.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut ancillary = Ancillary { bytes: [0; ROOM] };
    let mut bytes = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = message(&mut bytes, &mut ancillary, ROOM);
    // SAFETY: the system writes to what the message names, which is borrowed until it returns, and
    // as long as is said.
    #[expect(unsafe_code, reason = "std has no ancillary data")]
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, RECEIVE) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: it was received just now, and this is the only time that they are taken out.
    #[expect(unsafe_code, reason = "std has no ancillary data")]
    let descriptors = unsafe { descriptors(&message) };
    Ok((received, descriptors))
}

/// Takes the descriptors out of a message.
///
/// # Safety
///
/// The system has filled it in, and they were not taken out before.
#[expect(unsafe_code, reason = "std has no ancillary data")]
unsafe fn descriptors(message: &msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    #[allow(clippy::unnecessary_cast, reason = "other systems have other types")]
    let end = message.msg_control.addr() + message.msg_controllen as usize;
    // SAFETY: the system has filled the message in, so its headers lead from one to the next. Each
    // says how much data it has; of a message that was cut some systems say how much it was, so
    // nothing behind the end is read. Each descriptor is new and nobody else's, and is taken once.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                #[allow(clippy::unnecessary_cast, reason = "other systems have other types")]
                let length = (found.cmsg_len as usize).min(end - header.addr());
                let data = length.saturating_sub(libc::CMSG_LEN(0) as usize);
                let place = libc::CMSG_DATA(header).cast::<[u8; FD_SIZE]>();
                for number in 0..data / FD_SIZE {
                    let descriptor = RawFd::from_ne_bytes(place.add(number).read());
                    descriptors.push(OwnedFd::from_raw_fd(descriptor));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;
    use std::ptr::null_mut;

    use super::*;

    const NO_BYTES: iovec = iovec { iov_base: null_mut(), iov_len: 0 };

    /// Some systems say of a message that was cut how long it was.
    #[test]
    fn no_descriptor_is_taken_from_behind_the_end_of_a_message() {
        // What is behind the end would be descriptor -1, which there cannot be.
        let (mut bytes, mut ancillary) = (NO_BYTES, Ancillary { bytes: [0xff; ROOM] });
        let (reader, _writer) = io::pipe().unwrap();
        // SAFETY: it computes a number.
        #[expect(unsafe_code, reason = "libc has it as unsafe")]
        let [one, two] = [1, 2].map(|count| unsafe { libc::CMSG_LEN(data_size(count)) });
        let message = message(&mut bytes, &mut ancillary, one as usize);
        // SAFETY: there is room for a header and one descriptor, which is nobody else's.
        #[expect(unsafe_code, reason = "does what the system does")]
        let taken = unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = two as _;
            let place = libc::CMSG_DATA(header).cast::<[u8; FD_SIZE]>();
            place.write(reader.into_raw_fd().to_ne_bytes());
            descriptors(&message)
        };
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn a_message_without_ancillary_data_has_no_descriptors() {
        let (mut bytes, mut ancillary) = (NO_BYTES, Ancillary { bytes: [0; ROOM] });
        let message = message(&mut bytes, &mut ancillary, 0);
        assert!(message.msg_control.is_null());
        // SAFETY: there is nothing in it.
        #[expect(unsafe_code, reason = "as a message that was received")]
        let taken = unsafe { descriptors(&message) };
        assert!(taken.is_empty());
    }
}
