//! Pipes between a process and its parent.

pub(crate) use super::system::pipe::{
    FramePipes, Handed, ParentPipes, PipeWidth, WorkerPipes, read_available, read_behind, read_now,
    set_standard_streams, take_frame_pipes, worker_pipes,
};
