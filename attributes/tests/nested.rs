//! Types inside of others, and those of `by_hand.rs`.

#![allow(unused_imports)]

use procpool_attributes::nest::*;
use procpool_attributes::round::{Round, identity};
use procpool_attributes::types;

procpool::test_support!();

include!(concat!(env!("OUT_DIR"), "/test_nested.rs"));

macro_rules! by_hand {
    ($($name:ty,)*) => {
        #[tokio::test]
        async fn by_hand() {
            let mut round = Round::new("by_hand");
            $(round.check::<$name>().await;)*
            round.end();
        }

        procpool::register!($(identity::<$name>, identity::<Vec<Nest<$name>>>),*);
    };
}

procpool_attributes::for_each_by_hand!(by_hand);
