//! Memory that processes share, who may look at it, and barriers between those who do.

pub(crate) use super::page::{SharedPage, SharedPageRef};
pub(crate) use super::peer::Peer;
pub(crate) use super::segment::{Lock, Segment, SegmentRef};
pub(crate) use super::system::arrivals::Arrivals;
pub(crate) use super::system::{
    MemoryFile, barrier, give_up_segments, take_part_in_barriers, takes_part_in_barriers,
};
