//! What comes of what workers say of chunks.

use bytes::Bytes;

use super::*;
use crate::error::kind::TaskOutcome;
use crate::error::{Cause, ErrorReport, Subject};
use crate::pool::task::budget::HOLD;
use crate::wire::item::{begin_entry, end_entry};
use crate::wire::message::Outcome;

const W: WorkerId = WorkerId(1);
const TASK: TaskId = TaskId(10);

fn harvest() -> Arc<Harvest> {
    let harvest = Harvest::new(0, Budget::new(HOLD, 2));
    harvest.add(TASK, (100, 8), Payload::default());
    harvest
}

fn reply(base: u32, count: u32, run_time: Option<u64>) -> ChunkReplyHeader {
    ChunkReplyHeader { task: TASK, base, count, nanos: 1, run_time }
}

fn receive(harvest: &Harvest, base: u32, count: u32, run_time: Option<u64>) -> Receipt {
    harvest.receive(W, &reply(base, count, run_time), Payload::default(), false)
}

/// First item, name of that, count, and how many entries are to be skipped.
fn parts(harvest: &Harvest) -> Vec<(u64, u64, u32, u32)> {
    let mut parts = Vec::new();
    let _ = harvest.poll_parts(&mut Context::from_waker(Waker::noop()), &mut parts);
    let skip = |part: &Part| match part.content {
        Content::Entries { skip, .. } => skip,
        Content::Failed(_) | Content::Refused(_) => 0,
    };
    parts.iter().map(|part| (part.first, part.task.0, part.count, skip(part))).collect()
}

#[test]
fn each_item_is_in_one_part_whatever_comes_twice() {
    let harvest = harvest();
    assert_eq!(receive(&harvest, 0, 3, None), Receipt::Partial);
    assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
    assert_eq!(receive(&harvest, 1, 5, None), Receipt::Partial);
    assert_eq!(receive(&harvest, 6, 2, Some(7)), Receipt::Done { run_time: 7 });
    assert_eq!(parts(&harvest), [(100, 10, 3, 0), (103, 13, 3, 2), (106, 16, 2, 0)]);
}

#[test]
fn what_cannot_be_true_is_a_lie() {
    for (base, count, run_time) in
        [(1, 1, None), (0, 9, None), (0, 7, Some(1)), (u32::MAX, 1, None), (0, u32::MAX, None)]
    {
        assert_eq!(receive(&harvest(), base, count, run_time), Receipt::Lie, "{base} {count}");
    }
    let unknown = ChunkReplyHeader { task: TaskId(11), ..reply(0, 1, None) };
    assert_eq!(harvest().receive(W, &unknown, Payload::default(), false), Receipt::Lie);
}

#[test]
fn a_chunk_may_end_early_if_its_agent_may_have_stopped_it() {
    let harvest = harvest();
    let early = harvest.receive(W, &reply(0, 3, Some(7)), Payload::default(), true);
    assert_eq!(early, Receipt::Short { run_time: 7 });
}

#[test]
fn a_chunk_may_end_early_once_its_credit_is_used_up() {
    let credit = Budget::new(HOLD, 2).credit();
    for (bytes, receipt) in [
        (credit - 1, Receipt::Lie),
        (credit, Receipt::Short { run_time: 7 }),
        (credit + 1, Receipt::Short { run_time: 7 }),
    ] {
        let harvest = harvest();
        assert_eq!(harvest.range(TASK).credit, credit);
        let bytes = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
        assert_eq!(harvest.receive(W, &reply(0, 3, Some(7)), bytes.into(), false), receipt);
    }
}

#[test]
fn what_is_cut_off_becomes_two_chunks_and_the_rest_fails_with_the_whole() {
    let harvest = harvest();
    assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
    let divisions = harvest.divide(TASK, 3);
    let ranges: Vec<_> = divisions.iter().map(|part| (part.task.0, part.begin, part.end)).collect();
    assert_eq!(ranges, [(13, 3, 6), (16, 6, 8)]);
    assert!(harvest.divide(TASK, 3).is_empty());
    assert_eq!(receive(&harvest, 2, 2, None), Receipt::Lie, "it is no longer its own");
    let cell = harvest.state.lock().chunks[&TASK].cell.clone();
    cell.resolve(Err(cell.error(Cause::Cancelled)));
    assert_eq!(parts(&harvest), [(100, 10, 2, 0), (102, 12, 1, 0)]);
    assert_eq!(harvest.state.lock().chunks.len(), 2);
}

#[test]
fn what_is_queued_again_goes_without_the_items_that_are_done() {
    let harvest = Harvest::new(0, Budget::new(HOLD, 2));
    let items: Vec<u8> = (0..8).flat_map(|n| [1, 0, 0, 0, n]).collect();
    let cell = harvest.add(TASK, (100, 8), Payload::from(Bytes::from(items)));
    assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
    assert_eq!(harvest.divide(TASK, 3).len(), 2);
    harvest.requeue(TASK);
    harvest.requeue(TASK);
    assert_eq!(&cell.arguments()[..], [1, 0, 0, 0, 2]);
    assert_eq!(harvest.range(TASK), ItemRange { skipped: 2, count: 1, credit: 1 << 20 });
    assert_eq!(receive(&harvest, 0, 1, Some(7)), Receipt::Done { run_time: 7 });
    assert_eq!(parts(&harvest), [(100, 10, 2, 0), (102, 12, 1, 0)]);
}

#[test]
fn no_part_has_the_name_of_the_whole() {
    let divisions = harvest().divide(TASK, 0);
    assert!(divisions.iter().all(|part| part.task != TASK && part.begin > 0));
}

#[test]
fn the_record_counts_as_far_as_it_makes_sense() {
    let harvest = harvest();
    let entry = [0, 1, 0, 0, 0, 42];
    let bytes = [&entry[..], &entry, &entry, &[0, 9]].concat();
    harvest.receive_record(W, TASK, Entries { base: 1, bytes: bytes.clone() });
    assert!(parts(&harvest).is_empty(), "there is a gap before it");
    harvest.receive_record(W, TASK, Entries { base: 0, bytes });
    assert_eq!(parts(&harvest), [(100, 10, 3, 0)]);
    harvest.receive_record(W, TASK, Entries { base: 3, bytes: entry.repeat(100) });
    assert_eq!(parts(&harvest), [(103, 13, 5, 0)], "no more than there are");
}

#[test]
fn a_closed_harvest_takes_and_divides_nothing() {
    let harvest = harvest();
    assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
    let mut done = Vec::new();
    let unfinished = harvest.close(&mut done);
    let UnfinishedChunk { first, task, count, .. } = unfinished[0];
    assert_eq!((first, task, count), (102, TaskId(12), 6));
    assert_eq!((done.len(), done[0].count), (1, 2));
    assert!(harvest.divide(TASK, 3).is_empty());
    assert_eq!(receive(&harvest, 2, 1, Some(1)), Receipt::Done { run_time: 1 });
    assert!(parts(&harvest).is_empty());
}

/// Entries with these outcomes.
fn entries(outcomes: &[Outcome]) -> Bytes {
    let mut bytes = Vec::new();
    for outcome in outcomes {
        let start = begin_entry(&mut bytes);
        bytes.extend_from_slice(b"text");
        end_entry(&mut bytes, start, *outcome).unwrap();
    }
    bytes.into()
}

#[test]
fn each_item_is_counted_once_by_its_own_outcome() {
    let harvest = harvest();
    let first = entries(&[Outcome::Returned, Outcome::Panicked, Outcome::ResultTooLarge]);
    let _ = harvest.receive(W, &reply(0, 3, None), first.into(), false);
    let again = entries(&[Outcome::ResultTooLarge, Outcome::UnencodableResult, Outcome::Returned]);
    let record = Entries { base: 2, bytes: again.into() };
    harvest.receive_record(W, TASK, record);
    let counts = harvest.take_counts();
    let expected = TaskOutcomes { returned: 2, panicked: 1, too_large: 1, codec: 1, ..counts };
    assert_eq!((counts, counts.total()), (expected, 5));
    assert_eq!(harvest.take_counts().total(), 0, "they were taken");

    harvest.divide(TASK, 7); // one is a chunk of its own
    let _ = harvest.receive(W, &reply(5, 1, None), Bytes::from_static(b"\xFF").into(), false);
    let counts = harvest.take_last_counts(TASK, TaskOutcome::WorkerDied);
    assert_eq!((counts.codec, counts.worker_died, counts.total()), (1, 1, 2));
    harvest.over(TASK, &Err(cancelled()));
    assert_eq!(harvest.take_counts().total(), 0, "the pool has counted it");
    harvest.over(TaskId(17), &Err(cancelled()));
    assert_eq!(harvest.take_counts().cancelled, 1, "the pool knows it only now");
    assert_eq!(harvest.take_last_counts(TaskId(17), TaskOutcome::Cancelled).total(), 0);
}

#[test]
fn items_that_a_closed_map_has_not_begun_count_as_cancelled() {
    let harvest = harvest();
    harvest.close(&mut Vec::new());
    let first = entries(&[Outcome::Returned]);
    assert_eq!(
        harvest.receive(W, &reply(0, 1, Some(7)), first.into(), false),
        Receipt::Done { run_time: 7 }
    );
    let counts = harvest.take_last_counts(TASK, TaskOutcome::Returned);
    assert_eq!((counts.returned, counts.cancelled, counts.total()), (1, 7, 8));
}

fn cancelled() -> TaskError {
    let subject = Subject::Task(TASK, "f");
    let cause = Cause::Cancelled;
    TaskError::new(ErrorReport { subject, label: None, worker: None, attempt: 1, cause })
}
