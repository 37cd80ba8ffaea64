//! What a worker and its parent write to and read from at any time.

mod claim;
mod layout;
mod output;
pub(crate) mod record;
mod window;
mod words;

pub(crate) use self::claim::items::{Items, Stopped};
#[cfg(any(test, feature = "hosts"))]
pub(crate) use self::claim::numbered::NumberedClaims;
pub(crate) use self::claim::numbered::is_numbered;
pub(crate) use self::claim::{Asked, Begun, Claim, ClaimBoard, Revocation, begin, is_offered};
#[cfg(test)]
pub(crate) use self::layout::{RECORDED, ROOM, WINDOW};
pub(crate) use self::output::{OutputMarks, OutputMeter, Printer};
pub(crate) use self::record::{Entries, MAX_ITEMS, Recorder};
pub(crate) use self::window::{Display, Watch};
