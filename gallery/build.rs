//! Builds the C library of `tenants`.

use std::env;

fn main() {
    const SOURCE: &str = "src/bin/tenants/calc.c";
    println!("cargo::rerun-if-changed={SOURCE}");
    let mut library = cc::Build::new();
    // Overflows wrap around, whatever the optimizer would like to make of them.
    library.file(SOURCE).flag_if_supported("-fwrapv");
    // Only `tenants` links it, by its `#[link]`.
    library.cargo_metadata(false).compile("calc");
    println!("cargo::rustc-link-search=native={}", env::var("OUT_DIR").unwrap_or_default());
}
