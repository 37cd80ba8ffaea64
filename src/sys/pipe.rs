//! Pipes between a process and its parent.

#[cfg(feature = "hosts")]
pub(crate) use super::system::pipe::widen;
pub(crate) use super::system::pipe::{
    FramePipes, Handed, OwnOutput, ParentInput, ParentPipes, PipeWidth, WorkerPipes, is_accessible,
    is_stdin_pipe, pipe, read_available, read_behind, set_standard_streams, take_frame_pipes,
    worker_input, worker_pipes,
};
pub(crate) use super::system::read_now;
