//! What a pool asks about the tasks in the hands of a worker on another host, and what it hears.
//!
//! Tasks go by the numbers of their sendings to that worker. They are counted up, and begin anew
//! some day.
#![cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "nobody is far"))]

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FarQuestion {
    /// Which of so many, from the first one on, can be taken back? The last ones are, until one
    /// has begun. If it `stops` one, that is a chunk, and what has not begun of it is taken back.
    TakeBack { first: u32, count: u32, stops: bool },
    /// Has it begun?
    Look(u32),
    /// Will it end by itself, now that it is to end?
    Ask(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FarAnswer {
    /// All that were asked for from this one on will never begin.
    TakenBack {
        from: u32,
        stopped: Option<StoppedChunk>,
    },
    Looked {
        number: u32,
        has_begun: bool,
    },
    /// Most likely it will, as it has looked whether it is asked.
    Asked {
        number: u32,
        is_cooperative: bool,
    },
}

/// A chunk of which no more items begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoppedChunk {
    pub(crate) number: u32,
    /// So many have.
    pub(crate) begun: u32,
    pub(crate) record: Option<FarRecord>,
}

/// Results of items, from the base on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FarRecord {
    pub(crate) base: u32,
    pub(crate) bytes: Vec<u8>,
}

/// What a worker that has ended has left on its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FarPage {
    pub(crate) claims: Vec<u64>,
    /// Of the chunk with a number of which these are the lowest bits.
    pub(crate) record: Option<(u16, FarRecord)>,
}
