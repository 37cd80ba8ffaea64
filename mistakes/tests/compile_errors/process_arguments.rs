//! A process with arguments that its function does not take.

fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

procpool::register!(power);

fn main() {
    let _ = procpool::Process::builder(power, (2, 10, 3)).build();
}
