//! Whether the rules of `expect.rs` are those of serde: a format that describes itself must follow
//! them.

use procpool_attributes::expect::{Case, Doubt};
use procpool_attributes::nest::*;
use procpool_attributes::random::Rng;
use procpool_attributes::{reference, round, types};

fn holds<T: Case>() {
    let mut rng = Rng::named(round::seed(), std::any::type_name::<T>());
    for _ in 0..round::values() {
        let sent = T::random(&mut rng);
        match reference::trip(&sent) {
            Ok(back) => {
                // The one thing that the pool is to do better.
                let is_shifted = T::DOUBTS.contains(&Doubt::Shift) && sent.may_fail();
                assert!(
                    sent.accepts(&back) || is_shifted,
                    "sent {sent:?}\n got {back:?}\n{}",
                    T::TEXT
                );
            }
            Err(error) => {
                assert!(sent.may_fail(), "sent {sent:?}\n got {error}\n{}", T::TEXT);
            }
        }
    }
}

mod structs {
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/rules_structs.rs"));
}

mod enums {
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/rules_enums.rs"));
}

mod nested {
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/rules_nested.rs"));
}

macro_rules! by_hand {
    ($($name:ty,)*) => {
        #[test]
        fn by_hand() {
            $(holds::<$name>();)*
        }
    };
}

procpool_attributes::for_each_by_hand!(by_hand);
