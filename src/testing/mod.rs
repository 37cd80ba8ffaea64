//! What random tests have in common.
//!
//! They are of three kinds: histories of the scheduler (`scheduler/tests/`), histories of a whole
//! pool (`simulation/`), and mutated bytes for all that reads what the other side has written (the
//! `fuzz` modules). A [history](Playable) is drawn from a seed, so a seed is the same one each
//! time. One that breaks a promise is made small, and told with its seed. What is mutated is a
//! [corpus](fuzzing); an input that breaks something is made small, and goes there.
//!
//! | variable | |
//! |---|---|
//! | `PROCPOOL_HISTORIES` | how many histories are played |
//! | `PROCPOOL_FROM` | which is the first |
//! | `PROCPOOL_SEED` | only this one is played |
//! | `PROCPOOL_FUZZ_SECONDS` | how long each target is fuzzed, and not in the same way each time |
//! | `PROCPOOL_RECORD_CORPUS` | what the encoders write is recorded |

mod check;
mod draws;
pub(crate) mod fuzzing;
mod play;
mod random;
mod sights;

pub(crate) use self::check::{Check, caught, ensure};
pub(crate) use self::draws::{Operation, config, duration, plain_config, wishes};
pub(crate) use self::play::{Playable, assert_eventful, play_all};
pub(crate) use self::random::Random;
pub(crate) use self::sights::Sights;

/// The value of a variable, if it is set.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}
