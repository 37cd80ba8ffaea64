//! procpool
mod builder;
mod id;
mod scheduler;
