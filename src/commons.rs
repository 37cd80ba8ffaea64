//! What the handles of a pool and its supervisor have in common.

use crate::error::BrokenProcessPool;

/// Why a pool accepts no more tasks.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    ShutDown,
    Broken(BrokenProcessPool),
}
