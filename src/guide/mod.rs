//! Chapters to read: for those who know another tool, and for those who have to choose one, start
//! methods, what values can cross, and what things cost.

#[doc = include_str!("coming_from_python.md")]
pub mod coming_from_python {}

#[doc = include_str!("choosing.md")]
pub mod choosing {}

#[doc = include_str!("start_methods.md")]
pub mod start_methods {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("values.md")]
pub mod values {}
