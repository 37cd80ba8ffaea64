//! Structs with attributes of their own and of their fields.

#![allow(unused_imports)]

use procpool_attributes::nest::*;
use procpool_attributes::round::{Round, identity};
use procpool_attributes::types;

procpool::test_support!();

include!(concat!(env!("OUT_DIR"), "/test_structs.rs"));
