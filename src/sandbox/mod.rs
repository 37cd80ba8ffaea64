//! The sandbox of a pool's workers.

mod policy;

pub use self::policy::Sandbox;
