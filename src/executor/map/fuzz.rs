//! Results of chunks, whether they come by a frame or are found in the record of a worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use super::yields::Yields;
use crate::WorkerId;
use crate::base::TaskId;
use crate::codec::encoded;
use crate::memory::Payload;
use crate::memory::page::{RECORDED, WINDOW, Watch, record};
use crate::pool::task::{Budget, Harvest, Receipt};
use crate::sys::memory::SharedPage;
use crate::testing::fuzzing::{Seeds, split};
use crate::wire::item::{begin_entry, begin_item, end_entry, end_item};
use crate::wire::message::{ChunkReplyHeader, Outcome};

const CHUNK: TaskId = TaskId(70);
const ITEMS: u32 = 5;

fn entries(values: &[(Outcome, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (outcome, bytes) in values {
        let start = begin_entry(&mut out);
        out.extend_from_slice(bytes);
        end_entry(&mut out, start, *outcome).unwrap();
    }
    out
}

fn some_entries() -> Vec<u8> {
    let value = encoded(&vec!["x".to_owned(), "yz".to_owned()]);
    entries(&[
        (Outcome::Returned, &value),
        (Outcome::UnencodableResult, b"it is bad"),
        (Outcome::ResultTooLarge, b""),
        (Outcome::Panicked, b"\x01x\x00\x00"),
        (Outcome::Returned, &value),
    ])
}

fn harvest() -> Arc<Harvest> {
    let (harvest, mut items) = (Harvest::new(0, Budget::new(100, 1)), Vec::new());
    for number in 0..ITEMS {
        let start = begin_item(&mut items);
        items.extend_from_slice(&encoded(&number));
        end_item(&mut items, start).unwrap();
    }
    drop(harvest.add(CHUNK, (0, ITEMS), bytes::Bytes::from(items).into()));
    let _ = harvest.range(CHUNK); // it is sent, with a credit that is soon used up
    harvest
}

/// Yields whatever has come; no item twice.
fn consume(harvest: &Arc<Harvest>) {
    let (mut parts, mut yielded) = (Vec::new(), 0);
    let _ = harvest.poll_parts(&mut Context::from_waker(Waker::noop()), &mut parts);
    let mut yields = Yields::<Vec<String>>::new("fuzz", 1000);
    for part in parts {
        yields.add(part);
    }
    while let Some((number, _)) = yields.pop_next_part() {
        assert_eq!(number, yielded);
        yielded += 1;
        while let Some((number, _)) = yields.pop() {
            assert_eq!(number, yielded);
            yielded += 1;
        }
    }
    assert!(yielded <= u64::from(ITEMS));
}

#[test]
fn chunk_replies() {
    let header =
        |base, count, run_time| ChunkReplyHeader { task: CHUNK, base, count, nanos: 7, run_time };
    let seed = |header: ChunkReplyHeader| {
        [&[3], &postcard::to_stdvec(&header).unwrap()[..], &some_entries()].concat()
    };
    let seeds = Seeds::new("chunk-replies")
        .with("whole", seed(header(0, ITEMS, Some(9))))
        .with("first", seed(header(0, 2, None)))
        .with("later", seed(header(1, 3, None)));
    seeds.fuzz((64 << 10, 128), |input| {
        let (keep, input) = split(input);
        let harvest = harvest();
        // What is left of one reply is the next one's.
        if let Ok((header, bytes)) = postcard::take_from_bytes::<ChunkReplyHeader>(input) {
            let bytes = Payload::from(bytes::Bytes::copy_from_slice(bytes));
            let receipt = harvest.receive(WorkerId(1), &header, bytes.clone(), false);
            if receipt == Receipt::Partial {
                let rest = ITEMS.saturating_sub(harvest.done(CHUNK));
                let (base, run_time) = (harvest.done(CHUNK), Some(1));
                let header = ChunkReplyHeader { base, count: rest, run_time, ..header };
                let _ = harvest.receive(WorkerId(1), &header, bytes, false);
            }
        }
        drop(harvest.divide(CHUNK, u32::from(keep % 8)));
        harvest.withhold(&harvest.excess());
        consume(&harvest);
        assert!(harvest.release().len() <= 2);
        harvest.close(&mut Vec::new()); // it and its chunks hold each other
    });
}

#[test]
fn pages() {
    let (page, _) = SharedPage::create().unwrap();
    let page = Arc::new(page);
    // Where a word is changed, and to what.
    let word = |place: u16, word: u64| [&place.to_le_bytes()[..], &word.to_le_bytes()].concat();
    let (published, text) = (RECORDED, some_entries());
    let mut recorded = word(u16::try_from(published).unwrap(), 1 << 48 | text.len() as u64);
    for (place, bytes) in (published + 1..).zip(text.chunks(8)) {
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        recorded.extend(word(u16::try_from(place).unwrap(), u64::from_le_bytes(value)));
    }
    let window = u16::try_from(WINDOW).unwrap();
    let shown = [word(window, 10), word(window + 2, u64::MAX)].concat();
    let seeds = Seeds::new("pages").with("record", recorded).with("window", shown);
    seeds.fuzz((128 << 10, 16), |input| {
        let mut inbox = bytes::BytesMut::new();
        let mut watch = Watch::new(Arc::clone(&page), 0);
        for change in input.as_chunks::<10>().0 {
            let (place, value) = change.split_at(2);
            let place = usize::from(u16::from_le_bytes(place.try_into().unwrap()));
            let value = u64::from_le_bytes(value.try_into().unwrap());
            page.words()[place % page.words().len()].store(value, Ordering::Relaxed);
            watch.look(&mut inbox);
            inbox.extend_from_slice(&change[..place % 10]);
            watch.receive(&mut inbox, place % 10);
            inbox.clear();
        }
        let harvest = harvest();
        if let Some(entries) = record::read_numbered(&page, 1) {
            harvest.receive_record(WorkerId(1), CHUNK, entries);
        }
        consume(&harvest);
        harvest.close(&mut Vec::new());
    });
}
