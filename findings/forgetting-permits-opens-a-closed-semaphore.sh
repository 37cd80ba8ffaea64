#!/usr/bin/env bash
# tokio 1.47.5, the newest version of a line with long-term support, beside 1.51.6: `Semaphore::forget_permits` on a
# semaphore that was closed.
#
# Behaviour: in 1.47.5 the semaphore is open again. `is_closed` is false, and `acquire` gives the permits that are left,
# although `close` promises that it fails. The word that holds the number of permits also holds the mark of the close,
# and is written without it. 1.51.6 keeps the mark. So whoever makes a bounded queue smaller, by forgetting permits, has
# to see to it that the queue is not closed.
#
# Seen on 2026-11-30: the two lines that are expected below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >src/main.rs <<'RUST'
use tokio::sync::Semaphore;

fn main() {
    let semaphore = Semaphore::new(2);
    semaphore.close();
    semaphore.forget_permits(1);
    println!("closed: {}, {:?}", semaphore.is_closed(), semaphore.try_acquire().map(drop));
}
RUST
run() {
    cat >Cargo.toml <<TOML
[package]
name = "permits"
version = "0.1.0"
edition = "2024"

[dependencies]
tokio = { version = "=$1", features = ["sync"] }
TOML
    rm -f Cargo.lock
    printf '%s %s\n' "$1" "$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)"
}
diff <(
    run 1.47.5
    run 1.51.6
) - <<'EXPECTED'
1.47.5 closed: false, Ok(())
1.51.6 closed: true, Err(Closed)
EXPECTED
echo "as expected: in tokio 1.47.5 a closed semaphore is open again"
