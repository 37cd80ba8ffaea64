//! How much a process takes, and the most that it may.

pub(crate) use super::system::cpu_timer::CpuTimer;
pub(crate) use super::system::resources::{
    MemoryGauge, Resource, is_address_space_limited, is_shortage, limit_resource, resident_memory,
};
