//! Values in shared memory that not all bytes are.

fn count(_: procpool::SharedSlice<bool>) {}

fn main() {}
