//! The way of the inputs: taken one by one, encoded, and put together to chunks.

use serde::Serialize;

use super::pace::FULL;
use crate::codec::{Choice, CodecError, Fault, encode};
use crate::memory::Payload;
use crate::memory::shared::{Kept, collect};
use crate::wire::item::{begin_item, end_item};

/// The chunk that is being put together.
#[derive(Debug, Default)]
pub(super) struct Intake {
    items: Vec<u8>,
    /// What stands behind this was left by an input whose encoding panicked.
    end: usize,
    count: u32,
    /// What the items name.
    kept: Kept,
}

/// A chunk as it is sent.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) items: Payload,
    pub(super) count: u32,
}

impl Intake {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Encodes the arguments of one more item. After an error the chunk is as before.
    pub(super) fn add(
        &mut self,
        args: &impl Serialize,
        limit: usize,
        choice: &Choice,
    ) -> Result<(), CodecError> {
        self.items.truncate(self.end);
        let start = begin_item(&mut self.items);
        let ((), kept) = collect(|| encode(args, &mut self.items, limit, choice))?;
        // Not reached: the limit is less than what a length can say.
        end_item(&mut self.items, start).map_err(|_| Fault::TooLarge { limit })?;
        self.end = self.items.len();
        self.count += 1;
        self.kept.add(kept);
        Ok(())
    }

    /// More bytes would save nothing.
    pub(super) fn is_full(&self) -> bool {
        self.end >= FULL
    }

    /// Takes the chunk out, and makes room for one like it.
    pub(super) fn seal(&mut self) -> Sealed {
        self.items.truncate(self.end);
        let count = std::mem::take(&mut self.count);
        let items = Payload::inline(&self.items).unwrap_or_else(|| {
            let room = if self.end < FULL { self.end + self.end / 8 } else { 0 };
            let items = std::mem::replace(&mut self.items, Vec::with_capacity(room));
            Payload::from(bytes::Bytes::from(items))
        });
        self.items.clear();
        self.end = 0;
        Sealed { items: items.with(std::mem::take(&mut self.kept)), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{AskedForm, decode};
    use crate::wire::item::split_item;

    #[test]
    fn a_chunk_has_all_items_but_those_that_cannot_be_encoded() {
        let mut intake = Intake::default();
        for text in ["one", "far too long", "two"] {
            let added = intake.add(&text, 5, &compact());
            assert_eq!(added.is_err(), text.len() > 5);
        }
        let Sealed { items, count } = intake.seal();
        let (one, rest) = split_item(&items).unwrap();
        let (two, rest) = split_item(rest).unwrap();
        assert_eq!(count, 2);
        assert_eq!(decode::<String>(one).unwrap(), "one");
        assert_eq!(decode::<String>(two).unwrap(), "two");
        assert!(rest.is_empty() && intake.count() == 0);
    }

    #[test]
    fn what_a_panic_leaves_behind_is_dropped() {
        struct Panicking;
        impl Serialize for Panicking {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut tuple = serializer.serialize_tuple(2)?;
                serde::ser::SerializeTuple::serialize_element(&mut tuple, &7)?;
                panic!("in the middle")
            }
        }
        let mut intake = Intake::default();
        intake.add(&1_u8, 100, &compact()).unwrap();
        let panicking = std::panic::AssertUnwindSafe(|| intake.add(&Panicking, 100, &compact()));
        assert!(std::panic::catch_unwind(panicking).is_err());
        intake.add(&2_u8, 100, &compact()).unwrap();
        assert_eq!(&intake.seal().items[..], [1, 0, 0, 0, 1, 1, 0, 0, 0, 2]);
    }

    fn compact() -> Choice {
        let choice = Choice::of::<()>();
        choice.ask(AskedForm::Compact);
        choice
    }
}
