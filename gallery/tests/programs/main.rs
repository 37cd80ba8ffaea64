//! The programs, as their users and clients see them. Each is started as a process of its own.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

mod batch;
mod client;
mod files;
mod simulation;
mod tenants;
mod uploads;
