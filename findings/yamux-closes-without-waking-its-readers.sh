#!/usr/bin/env bash
# yamux 0.13.10 (futures 0.3.34): what a task learns that waits for data of a stream when its connection ends on this side.
#
# Behaviour: dropping a `Connection` wakes whoever reads from one of its streams, who then gets the end of the stream, as
# if the peer had closed it. Closing it by `poll_close` does not wake, and dropping it afterwards does not either:
# the task that reads is never polled again, although it would get an error (whose kind is `WriteZero`).
# So who closes a connection has to end its readers in another way. (The project has been told of that in
# https://github.com/libp2p/rust-yamux/issues/216.)
#
# And a stream more than `Config::set_max_num_streams` says ends all: `poll_new_outbound` fails with
# `TooManyStreams`, and from then on the connection is closed, for the streams that were there, too.
#
# Seen on 2026-11-30: see the lines that are expected below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "streams"
version = "0.1.0"
edition = "2024"

[dependencies]
futures = "=0.3.34"
yamux = "=0.13.10"
TOML
cat >src/main.rs <<'RUST'
use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::{AsyncRead, AsyncWrite};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// A peer that takes everything and says nothing.
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn open(connection: &mut Connection<Silent>) -> std::result::Result<Stream, ConnectionError> {
    match connection.poll_new_outbound(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(opened) => opened,
        Poll::Pending => panic!("it waits"),
    }
}

/// What a task sees that waits for data: whether it is woken, and what it gets when it reads again.
fn waits_while(ends: impl FnOnce(Connection<Silent>)) -> String {
    let mut connection = Connection::new(Silent, Config::default(), Mode::Client);
    let mut stream = open(&mut connection).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut read = || Pin::new(&mut stream).poll_read(&mut Context::from_waker(&waker), &mut [0]);
    assert!(read().is_pending());
    ends(connection);
    let got = read().map_err(|error| error.kind());
    format!("woken: {}, then {got:?}", woken.0.load(Ordering::Relaxed))
}

fn main() {
    let noop = &mut Context::from_waker(Waker::noop());
    println!("dropped: {}", waits_while(drop));
    let closed = waits_while(|mut connection| {
        assert!(matches!(connection.poll_close(noop), Poll::Ready(Ok(()))));
    });
    println!("closed and dropped: {closed}");

    let mut config = Config::default();
    config.set_max_num_streams(2);
    let mut connection = Connection::new(Silent, config, Mode::Client);
    let mut first = open(&mut connection).unwrap();
    let second = open(&mut connection).unwrap();
    let mut write = || match Pin::new(&mut first).poll_write(noop, b"hello") {
        Poll::Ready(wrote) => wrote.is_ok(),
        Poll::Pending => panic!("it waits"),
    };
    println!("the first of two can be written to: {}", write());
    println!("the third: {}", open(&mut connection).unwrap_err());
    println!("the first can be written to: {}", write());
    drop((first, second));
    println!("the next, after those have gone: {}", open(&mut connection).unwrap_err());
}
RUST
seen=$(cargo run --quiet)
wanted='dropped: woken: true, then Ready(Ok(0))
closed and dropped: woken: false, then Ready(Err(WriteZero))
the first of two can be written to: true
the third: maximum number of streams reached
the first can be written to: false
the next, after those have gone: connection is closed'
printf '%s\n' "$seen"
if [[ $seen != "$wanted" ]]; then
    printf 'this has changed; it was:\n%s\n' "$wanted" >&2
    exit 1
fi
