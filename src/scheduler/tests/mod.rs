//! Scripts that read like a story, and random histories against a model.

mod check;
mod history;
mod model;
mod play;
mod random;
mod sabotage;
mod script;
mod scripts;
mod world;

pub(crate) use self::random::Random;
