//! One parameter too many.

fn nine(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}

procpool::register!(nine);

fn main() {}
