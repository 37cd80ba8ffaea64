//! Sockets between a process and its parent, by which more than bytes is sent.

pub(crate) use super::system::pipe::{
    is_socket, is_stdin_socket, take_control_socket, write_to_stdin,
};
pub(crate) use super::system::socket::{
    Channel, MOST_FDS, control_socket, receive_with_descriptors, send_all_with_descriptors,
    send_descriptors, send_with_descriptors,
};
