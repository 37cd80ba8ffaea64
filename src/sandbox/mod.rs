//! What the workers of a pool are left with, as users say it.

mod policy;

pub use self::policy::Sandbox;
