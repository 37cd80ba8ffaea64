//! An `unsafe` function is no `Fn`.

unsafe fn peek(address: usize) -> usize {
    address
}

procpool::register!(peek);

fn main() {}
