//! What is open: waiting for it, and closing what was inherited.

pub(crate) use super::system::descriptor::{
    Descriptor, RawDescriptor, close_elsewhere, close_inherited, has_hung_up, is_readable, numbers,
    open_descriptors, pass_on, wait_for_hangup, wait_for_input,
};
pub(crate) use super::system::room::{RoomToStart, room_for};
