//! How what is seen of a pool is written for dashboards: durations are numbers of seconds, what is
//! one of several words is in lower case, and an event or a state is a word among its fields.

#![allow(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes references"
)]

use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::{BrokenProcessPool, HostLoss, WorkerDeath};
use crate::pool::watch::histogram::DurationHistogram;

pub(super) fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

pub(super) fn label<S: Serializer>(label: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    label.as_deref().serialize(to)
}

pub(super) fn name<S: Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}

pub(super) fn broken<S: Serializer>(broken: &BrokenProcessPool, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(broken)
}

pub(super) fn death<S: Serializer>(death: &WorkerDeath, to: S) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_struct("WorkerDeath", 6)?;
    fields.serialize_field("worker", &death.worker_id())?;
    fields.serialize_field("pid", &death.pid())?;
    fields.serialize_field("host", &death.host())?;
    fields.serialize_field("exit_code", &death.exit_code())?;
    fields.serialize_field("signal", &death.signal())?;
    fields.serialize_field("message", &death.to_string())?;
    fields.end()
}

pub(super) fn loss<S: Serializer>(loss: &HostLoss, to: S) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_struct("HostLoss", 5)?;
    fields.serialize_field("worker", &loss.worker_id())?;
    fields.serialize_field("pid", &loss.pid())?;
    fields.serialize_field("host", loss.host())?;
    fields.serialize_field("reason", loss.reason())?;
    fields.serialize_field("message", &loss.to_string())?;
    fields.end()
}

pub(super) fn missed<S: Serializer>(count: &u64, to: S) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_struct("Missed", 1)?;
    fields.serialize_field("count", count)?;
    fields.end()
}

#[derive(Serialize)]
struct Bucket {
    /// What Prometheus calls the upper bound.
    le: f64,
    count: u64,
}

impl Serialize for DurationHistogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let buckets = self.buckets().into_iter();
        let buckets = buckets.map(|(bound, count)| Bucket { le: bound.as_secs_f64(), count });
        let mut fields = to.serialize_struct("DurationHistogram", 9)?;
        fields.serialize_field("count", &self.count())?;
        for (name, duration) in [
            ("sum", self.sum()),
            ("min", self.min()),
            ("mean", self.mean()),
            ("p50", self.percentile(50.0)),
            ("p90", self.percentile(90.0)),
            ("p99", self.percentile(99.0)),
            ("max", self.max()),
        ] {
            fields.serialize_field(name, &duration.as_secs_f64())?;
        }
        fields.serialize_field("buckets", &buckets.collect::<Vec<_>>())?;
        fields.end()
    }
}
