//! What whoever takes this crate builds with it.

use std::collections::BTreeSet;
use std::process::Command;

use super::repository;

/// By default, on Linux, beside this crate. A service that has tokio with `full` builds the first
/// ones anyway.
const CRATES: [&str; 34] = [
    // tokio's
    "bytes",
    "errno",
    "libc",
    "mio",
    "pin-project-lite",
    "proc-macro2",
    "quote",
    "signal-hook-registry",
    "socket2",
    "syn",
    "tokio",
    "tokio-macros",
    "unicode-ident",
    // serde's, and what frames and errors are made of
    "cobs",
    "postcard",
    "serde",
    "serde_core",
    "serde_derive",
    "thiserror",
    "thiserror-impl",
    "tokio-util",
    // futures'
    "futures",
    "futures-channel",
    "futures-core",
    "futures-io",
    "futures-sink",
    "futures-task",
    "futures-util",
    "slab",
    // The kernel's calls, what may be in shared memory, and the registry of functions.
    "bitflags",
    "linux-raw-sys",
    "rustix",
    "bytemuck",
    "inventory",
];

#[test]
fn no_crate_is_built_that_is_not_needed() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--package", "procpool", "--edges", "normal,build", "--prefix", "none"]);
    tree.args(["--format", "{p}", "--offline"]).current_dir(repository());
    let tree = tree.output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let built = tree.lines().filter_map(|line| line.split(' ').next());
    let built: BTreeSet<_> = built.filter(|name| !["", "procpool"].contains(name)).collect();
    assert_eq!(built, CRATES.into(), "who builds this crate builds others than before");
}
