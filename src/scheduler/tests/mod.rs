//! Scripts that read like a story, and random histories against a model.

mod check;
mod history;
mod model;
mod play;
mod sabotage;
mod script;
mod scripts;
mod world;
