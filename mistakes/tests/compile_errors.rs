//! What the compiler says about mistakes with functions: one error for each where that can be, in
//! the line of the mistake, with what is missing and what to do.
//!
//! `TRYBUILD=overwrite cargo test -p procpool-mistakes` writes down what it says now.
//!
//! A package of its own: `trybuild` takes long to build, and cargo would build it for each example
//! of procpool.

use std::process::Command;

/// Others word their part of the errors in another way.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn mistakes_are_explained() {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&output.stdout);
    if !version.starts_with(COMPILER) {
        println!("skipped: the errors are those of {COMPILER}x, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_errors/*.rs");
}
