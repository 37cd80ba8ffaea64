//! Enums, tagged in each way, with attributes of variants and fields.

#![allow(unused_imports)]

use procpool_attributes::nest::*;
use procpool_attributes::round::{Round, identity};
use procpool_attributes::types;

procpool::test_support!();

include!(concat!(env!("OUT_DIR"), "/test_enums.rs"));
