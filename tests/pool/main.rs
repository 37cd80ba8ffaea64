//! What a pool promises to those who give it tasks.

#[path = "../common/mod.rs"]
mod common;
#[path = "../journal/mod.rs"]
mod journal;

mod auto_traits;
mod blocking;
mod builder;
mod cancel;
mod closed;
mod completion;
mod context;
mod control;
mod cooperation;
mod deadline;
mod drops;
mod emit;
mod events;
mod fields;
mod force;
mod handles;
mod health;
mod helm;
mod labels;
mod map;
mod map_chunks;
mod map_memory;
mod map_options;
mod map_retries;
mod priority;
mod progress;
mod promises;
mod queue;
mod registration;
mod retries;
mod runtimes;
mod shutdown;
mod size;
mod started;
mod stats;
mod submit;
mod task_errors;
mod task_set;
mod tenants;
mod timeout;
mod wait;

procpool::test_support!();
