//! How much a process takes, and the most that it may.

pub(crate) use super::system::resources::{
    LoweredLimit, Resource, described, is_address_space_limited, is_refusal, is_shortage,
    limit_resource,
};
pub(crate) use super::system::{
    CpuTimer, MEASURES_ITSELF, MemoryCgroup, MemoryGauge, OwnCgroup, raise_oom_score,
    resident_memory,
};
