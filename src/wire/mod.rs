//! What both sides must agree on.

pub(crate) mod fork;
mod frame;
#[cfg(test)]
pub(crate) mod fuzzing;
mod hello;
mod item;
mod message;
pub(crate) mod role;

pub(crate) use self::frame::{
    LENGTH, MAX_PAYLOAD, PREAMBLE, PreambleSearch, VERSION, frame_codec, frame_length, max_frame,
    put_frame, put_task_frame, set_length, set_run_time, split_header, split_kind,
};
pub(crate) use self::hello::{
    FunctionName, Hello, PreloadHeader, ProcessHello, ServerHello, WorkerHello, peek_version,
};
pub(crate) use self::item::{
    begin_entry, begin_item, end_entry, end_item, replace_entry, split_entry, split_item,
};
pub(crate) use self::message::{
    ChunkHeader, ChunkReplyHeader, Goodbye, InitFailure, Kind, MAX_MESSAGE, Outcome, PanicReport,
    Place, ProgressHeader, Ready, ReplyHeader, SegmentOffer, SegmentReply, SegmentTask, Slot, Stop,
    TaskHeader,
};
