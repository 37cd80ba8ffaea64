#!/usr/bin/env bash
# bson 3.1.0, `ObjectId` in binary formats of serde that are not BSON (postcard 1.1.3, rmp-serde 1.3.1).
#
# Behaviour: `Serialize` writes a structure with one field, `$oid`, that has 24 hexadecimal digits as text, for whatever
# format. `Deserialize` asks for twelve bytes wherever the format says that it is not for people to read.
# So what any such format was given it cannot read again: postcard reads the length of the text as that of the
# bytes, and MessagePack has an array or a map there. JSON works, as it is for people.
#
# Seen on 2026-11-29: see the three lines that are expected below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "object-id"
version = "0.1.0"
edition = "2024"

[dependencies]
bson = { version = "=3.1.0", features = ["serde"] }
postcard = { version = "=1.1.3", features = ["use-std"] }
rmp-serde = "=1.3.1"
serde_json = "=1.0.154"
TOML
cat >src/main.rs <<'RUST'
use bson::oid::ObjectId;

fn main() {
    let id = ObjectId::from_bytes([7; 12]);
    let json = serde_json::from_str::<ObjectId>(&serde_json::to_string(&id).unwrap());
    println!("JSON: {}", json.is_ok_and(|read| read == id));
    let postcard = postcard::from_bytes::<ObjectId>(&postcard::to_stdvec(&id).unwrap());
    println!("postcard: {}", postcard.is_ok_and(|read| read == id));
    let message_pack = rmp_serde::from_slice::<ObjectId>(&rmp_serde::to_vec(&id).unwrap());
    println!("MessagePack: {}", message_pack.is_ok_and(|read| read == id));
}
RUST
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
[[ $seen == $'JSON: true\npostcard: false\nMessagePack: false' ]]
