//! What a worker says of the panic that ends it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::call::encode_report;
use super::context::try_current;
use crate::wire::frame::put_task_frame;
use crate::wire::message::{Kind, Outcome, PanicReport, ReplyHeader};

/// The most bytes that a payload may have.
static MAX_PAYLOAD: AtomicUsize = AtomicUsize::new(0);

pub(super) fn set_max_payload(bytes: usize) {
    MAX_PAYLOAD.store(bytes, Ordering::Relaxed);
}

/// Answers for the task that has panicked on this thread, which will not come back: this process
/// ends by a signal when this has returned. Not for an item of a chunk, whose results are in the
/// hands of those who have called it.
pub(super) fn tell(report: PanicReport) {
    let Some(current) = try_current().filter(|current| !current.is_item) else { return };
    let Some(reporter) = current.reporter else { return };
    let text = encode_report(report, MAX_PAYLOAD.load(Ordering::Relaxed));
    let header = ReplyHeader { run_time: 0, task: current.task, outcome: Outcome::Panicked };
    let mut reply = Vec::new();
    if put_task_frame(&mut reply, Kind::Reply, &header, text.len()).is_ok() {
        let _ = reporter.end_run(current.run, &reply, &text); // or the parent has gone
    }
}
