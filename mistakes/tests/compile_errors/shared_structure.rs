//! A structure in shared memory that does not derive what it needs.

#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

fn draw(_: procpool::SharedSlice<Point>) {}

fn main() {}
