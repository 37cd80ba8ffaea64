//! Trying out a type: whether its values come back from the compact form.
//!
//! In the compact form nothing has a name, so it is right for a type if its `Serialize` writes just
//! what its `Deserialize` reads, in the same order. That is what derived implementations do, but
//! not with all attributes: fields and variants may be left out on one side, or be asked for by
//! name. So samples of the type are made: its `Deserialize` is shown values (see `sampler`), all
//! that it has asked for is written down in the compact form, and what it has made of that is
//! encoded. The bytes must be the same, for each variant of each enum in the type, with and without
//! each option, with and without elements in each sequence.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::compact::Encoder;
use super::super::writer::Writer;
use super::plan::{ASK_FOR_COMPACT, SamplePlan};
use super::sampler::Sampler;

/// Whether values of the type come back from the compact form; otherwise why that is not known, or
/// not so.
pub(super) fn rehearse<T: Serialize + DeserializeOwned>() -> Result<(), String> {
    if cfg!(panic = "abort") {
        return Err(format!(
            "it is not tried out with samples, as a panic would end the process; {ASK_FOR_COMPACT}"
        ));
    }
    let mut plan = SamplePlan::default();
    while plan.has_more() {
        plan.measure();
        let outcome = catch_unwind(AssertUnwindSafe(|| run::<T>(&mut plan)));
        let panicked = |_| format!("it panicked when it was shown a sample; {ASK_FOR_COMPACT}");
        plan.end_run(outcome.map_err(panicked)?)?;
    }
    plan.verdict()
}

/// Makes one sample and encodes it.
fn run<T: Serialize + DeserializeOwned>(plan: &mut SamplePlan) -> Result<(), String> {
    let (mut shown, mut written) = (Vec::new(), Vec::new());
    let mut sampler = Sampler::new(&mut shown, plan);
    let value = T::deserialize(&mut sampler).map_err(|error| error.to_string())?;
    let mut encoder = Encoder::for_rehearsal(Writer::new(&mut written, usize::MAX, None));
    encoder.part(&value).map_err(|error| plan.note(&error))?;
    if shown == written {
        Ok(())
    } else {
        Err("it is not written in the order in which it is read".to_owned())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
