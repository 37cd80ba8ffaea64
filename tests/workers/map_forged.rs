//! A worker that lies about a chunk costs its own items, and nobody hangs.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskError, WorkerOutput};
use serde::{Deserialize, Serialize};

use crate::common::{frame_pipe, in_time, pid};

const REPLY: u8 = 19;
const CHUNK_REPLY: u8 = 24;

/// A frame that an item writes past the product, as only a hostile one can.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Forgery {
    kind: u8,
    /// Comes after the name of the task; numbers of less than 128 are one byte each.
    header: Vec<u8>,
    entries: Vec<u8>,
    /// Whether the frame is said to be of the chunk that the item belongs to.
    own: bool,
}

fn item(number: u8, forgery: Option<Forgery>) -> u8 {
    let Some(forgery) = forgery else { return number };
    let own = procpool::current().id().get() - u64::from(number);
    let task = if forgery.own { u8::try_from(own).unwrap() } else { 99 };
    let body = [&[forgery.kind, task][..], &forgery.header, &forgery.entries].concat();
    let body = match forgery.kind {
        // Its header begins with eight bytes of run time.
        REPLY => [&[REPLY][..], &[0; 8], &body[1..]].concat(),
        _ => body,
    };
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut pipe = OpenOptions::new().write(true).open(frame_pipe()).unwrap();
    pipe.write_all(&[&length[..], &body].concat()).unwrap();
    number
}

procpool::register!(item);

/// Runs a chunk of which one item in the middle forges a frame.
async fn results_with(forgery: Forgery) -> (ProcessPoolExecutor, Vec<Result<u8, TaskError>>) {
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_output(WorkerOutput::Null);
    let pool = builder.build().unwrap();
    let inputs = (0..6).map(|number| (number, (number == 3).then(|| forgery.clone())));
    let results: Vec<_> = in_time(pool.map(item, inputs).chunksize(6).collect()).await;
    assert_eq!(results.len(), 6, "{forgery:?}");
    in_time(pool.run(pid, ())).await.unwrap();
    (pool, results)
}

/// The same, of a chunk that was not divided before, as it is if the machine is slow.
async fn results_with_whole(forgery: Forgery) -> (ProcessPoolExecutor, Vec<Result<u8, TaskError>>) {
    loop {
        let (pool, results) = results_with(forgery.clone()).await;
        if pool.stats().submitted == 2 {
            return (pool, results);
        }
    }
}

fn chunk_reply(header: &[u8], entries: &[u8]) -> Forgery {
    Forgery { kind: CHUNK_REPLY, header: header.to_vec(), entries: entries.to_vec(), own: true }
}

/// An entry whose result is `number`.
const fn entry(number: u8) -> [u8; 6] {
    [0, 1, 0, 0, 0, number]
}

#[tokio::test]
async fn replies_that_cannot_be_true_end_the_worker_and_every_item_has_an_outcome() {
    let more = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]; // the most that there can be
    let lies = [
        chunk_reply(&[4, 1, 0, 0], &entry(4)), // there is a gap before it
        chunk_reply(&[0, 7, 0, 0], &entry(0)), // so many items are not in the chunk
        chunk_reply(&[&[0][..], &more, &[0, 0]].concat(), &entry(0)),
        chunk_reply(&[&more[..], &more, &[0, 0]].concat(), &entry(0)), // together: too many
        chunk_reply(&[0, 1, 0, 1, 0], &entry(0)),                      // it is not done yet
        Forgery { own: false, ..chunk_reply(&[0, 1, 0, 0], &entry(0)) },
        Forgery { kind: REPLY, header: vec![0], entries: vec![7], own: true },
        chunk_reply(&[], &[]),
        chunk_reply(&[0, 1, 0, 7], &[]),
    ];
    for lie in lies {
        let (pool, results) = results_with(lie.clone()).await;
        for (number, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert_eq!(value, number, "{lie:?}"),
                Err(error) => assert!(error.is_worker_death(), "{lie:?}: {error}"),
            }
        }
        assert_eq!(pool.stats().worker_deaths, 1, "{lie:?}");
    }
}

#[tokio::test]
async fn entries_that_make_no_sense_are_errors_of_their_items() {
    let rubbish: [&[u8]; 4] = [&[], &[0, 1, 0], &[9, 0, 0, 0, 0], &[0, 0xFF, 0xFF, 0xFF, 0xFF, 1]];
    for entries in rubbish {
        let (pool, results) = results_with_whole(chunk_reply(&[0, 3, 0, 0], entries)).await;
        for (number, result) in (0..).zip(results) {
            if number < 3 {
                assert!(result.unwrap_err().is_codec(), "{entries:?}");
            } else {
                assert_eq!(result.unwrap(), number);
            }
        }
        assert_eq!(pool.stats().worker_deaths, 0);
    }
}

#[tokio::test]
async fn results_that_come_twice_are_taken_once() {
    let twice = [entry(0), entry(1), entry(2)].concat();
    let (pool, results) = results_with(chunk_reply(&[0, 3, 0, 0], &twice)).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [0, 1, 2, 3, 4, 5]);
    assert_eq!(pool.stats().worker_deaths, 0);
}
