//! What a pool logs, with the feature of that name.
//!
//! A binary of its own: who listens does so for its whole process.

#![cfg(feature = "tracing")]

mod common;

procpool::test_support!();

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use procpool::ProcessPoolExecutor;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use common::{in_time, pid};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Keeps the messages of this crate.
struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("procpool")
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{value:?}"));
    }
}

#[tokio::test]
async fn a_pool_is_named_in_what_it_logs() {
    tracing::subscriber::set_global_default(Keeper).unwrap();
    let pool = ProcessPoolExecutor::builder().name("thumbnails").max_workers(1).build().unwrap();
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
    let lines = lines();
    assert!(lines.iter().all(|line| line.starts_with("thumbnails: ")), "{lines:?}");
    for expected in [
        format!("thumbnails: worker 1 (pid {worker}) was started"),
        "thumbnails: worker 1 is ready".to_owned(),
        "thumbnails: worker 1 has left".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected:?} is not in {lines:?}");
    }
}
