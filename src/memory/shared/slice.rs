//! Values that everybody can read.

use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;
use std::{fmt, io};

use bytemuck::{cast_slice, try_cast_slice};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::extent::Extent;
use super::keep::{Held, encoding, hold};
use super::memory::{Exclusive, Frozen};
use super::plain::Plain;
use super::reference::{deserialize_reference, serialize_reference};
use crate::sys::memory::Arrivals;

/// Bytes in shared memory; see [`SharedSlice`].
pub type SharedBytes = SharedSlice<u8>;

/// Numbers in shared memory. Make them once, and pass them to any number of tasks, which read them
/// without a copy.
///
/// It dereferences to a slice, and never changes. A clone is another handle on the same memory. As
/// an argument or a result, or as a part of one, it is passed by reference: some dozens of bytes,
/// whatever its size.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     procpool::init();
/// #     tokio::runtime::Runtime::new()?.block_on(run())
/// # }
/// use procpool::{ProcessPoolExecutor, SharedSlice};
///
/// fn sum(table: SharedSlice<f64>, first: usize, count: usize) -> f64 {
///     table[first..first + count].iter().sum()
/// }
///
/// procpool::register!(sum);
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = ProcessPoolExecutor::new()?;
/// let table = SharedSlice::with_len(1_000_000, |values| values.fill(0.5))?;
/// for first in [0, 250_000, 500_000, 750_000] {
///     assert_eq!(pool.run(sum, (table.clone(), first, 250_000)).await?, 125_000.0);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # How long it lives
///
/// The memory is freed when the last handle is gone, in all processes. A handle is gone when it is
/// dropped, or when its process ends, even by SIGKILL. No file or name stays behind. A task that
/// waits or runs has a handle until it is over, its retries included.
///
/// By default a worker opens the memory for each task. That takes some ten microseconds, and up to
/// a quarter of a millisecond for each megabyte that the task uses, to map its pages. If your tasks
/// are not much longer than that, pass it to the [initializer](crate::Builder::initializer) and
/// keep it in the worker's [state](crate::state). Then it stays mapped, even for tasks that get it
/// as an argument.
///
/// This process opens a result as soon as it arrives. From then on the result does not depend on
/// the worker. A worker that leaves waits for this for up to ten seconds. If the worker is killed
/// before, the task fails with a [codec error](crate::TaskError::is_codec), although it has
/// finished.
///
/// # Limits
///
/// * It works on Linux only. Elsewhere it cannot be made.
/// * It is for processes of one machine that see each other in `/proc`.
/// * Each one takes a file descriptor in each process that has it. [Parts](Self::slice) and clones
///   take none. So share few large ones, and not many small ones. In a service that is not
///   dumpable, one result may have at most a thousand of them.
/// * A malicious worker can change memory that it has open. All bytes are [valid](Plain), so it can
///   only write other numbers. But these may change while you read them: copy what comes from an
///   untrusted process before you check it.
/// * It can be serialized only as an argument, as a result, or as a value that a task
///   [emits](crate::Current::emit). To write it to a file, serialize the slice in it.
pub struct SharedSlice<T: Plain> {
    memory: Arc<Frozen>,
    extent: Extent,
    values: PhantomData<fn() -> T>,
}

impl<T: Plain> SharedSlice<T> {
    /// Shares a copy of `values`.
    ///
    /// ```
    /// # use procpool::SharedBytes;
    /// let text = SharedBytes::copy_from_slice(b"shared")?;
    /// assert_eq!(text.len(), 6);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is not enough memory, if this process may open no more file descriptors, if files
    /// may not have that size (`RLIMIT_FSIZE`), or if the system is not Linux.
    pub fn copy_from_slice(values: &[T]) -> io::Result<Self> {
        Ok(Self::new(Exclusive::copy_of(cast_slice(values))?.freeze(), Extent::new(values.len())))
    }

    pub(super) fn new(memory: Arc<Frozen>, extent: Extent) -> Self {
        Self { memory, extent, values: PhantomData }
    }

    pub(super) fn into_parts(self) -> (Arc<Frozen>, Extent) {
        (self.memory, self.extent)
    }

    /// A part of it. It shares the memory, and keeps all of it alive.
    ///
    /// ```
    /// # use procpool::SharedBytes;
    /// let line = SharedBytes::copy_from_slice(b"name: value")?;
    /// let value = line.slice(6..);
    /// assert_eq!(&value[..], b"value");
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Panics
    ///
    /// If the range is out of bounds.
    #[must_use]
    #[track_caller]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.extent.len(),
        };
        let len = self[start..end].len() as u64;
        let start = self.extent.start + (start * size_of::<T>()) as u64;
        Self::new(Arc::clone(&self.memory), Extent { start, len })
    }
}

impl<T: Plain> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes = self.memory.bytes();
        // It was looked at when this was made, so it is inside and aligned.
        let range = self.extent.bytes::<T>(bytes.len()).unwrap_or_default();
        try_cast_slice(&bytes[range]).unwrap_or_default()
    }
}

impl<T: Plain> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<'a, T: Plain> IntoIterator for &'a SharedSlice<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Plain> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), extent: self.extent, values: PhantomData }
    }
}

impl<T: Plain + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Plain + Eq> Eq for SharedSlice<T> {}

impl<T: Plain> TryFrom<Vec<T>> for SharedSlice<T> {
    type Error = io::Error;

    /// As [`SharedSlice::copy_from_slice`].
    fn try_from(values: Vec<T>) -> io::Result<Self> {
        Self::copy_from_slice(&values)
    }
}

impl<T: Plain> TryFrom<&[T]> for SharedSlice<T> {
    type Error = io::Error;

    /// As [`SharedSlice::copy_from_slice`].
    fn try_from(values: &[T]) -> io::Result<Self> {
        Self::copy_from_slice(values)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown = &self[..self.len().min(SHOWN)];
        f.debug_struct("SharedSlice")
            .field("len", &self.len())
            .field("first", &shown)
            .finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_reference(serializer, || {
            hold(encoding()?, Held::Frozen(Arc::clone(&self.memory)));
            Ok((self.memory.name(), self.extent))
        })
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some((name, extent)) = deserialize_reference(deserializer)? else {
            return Self::copy_from_slice(&[]).map_err(D::Error::custom);
        };
        let memory = Frozen::open(&name, Arrivals::from_parent()).map_err(D::Error::custom)?;
        if extent.bytes::<T>(memory.bytes().len()).is_none() {
            return Err(D::Error::custom("the values are not inside of the shared memory"));
        }
        Ok(Self::new(memory, extent))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::codec::{decode, encode_compact};
    use crate::memory::shared::collect;

    fn send<T: Serialize>(value: &T) -> (Vec<u8>, crate::memory::shared::Kept) {
        let mut bytes = Vec::new();
        let ((), kept) = collect(|| encode_compact(value, &mut bytes, 1000)).unwrap();
        (bytes, kept)
    }

    #[test]
    fn it_is_sent_by_reference() {
        let numbers = SharedSlice::with_len(1_000_000, |n: &mut [u64]| n[999_999] = 7).unwrap();
        let (bytes, _kept) = send(&numbers.slice(999_990..));
        assert!(bytes.len() < 100, "{}", bytes.len());
        let received: SharedSlice<u64> = decode(&bytes).unwrap();
        assert_eq!(received[..], numbers[999_990..]);
        assert_eq!(received.as_ptr_range().end, numbers.as_ptr_range().end, "it was open already");
    }

    #[test]
    fn what_nobody_keeps_cannot_be_received() {
        let (bytes, kept) = send(&SharedSlice::copy_from_slice(b"abc").unwrap());
        let received: SharedBytes = decode(&bytes).unwrap();
        drop((received, kept));
        let error = decode::<SharedBytes>(&bytes).unwrap_err().to_string();
        assert!(error.contains("cannot be opened"), "{error}");
    }

    #[test]
    fn an_extent_that_is_not_inside_is_refused() {
        let numbers = SharedSlice::copy_from_slice(&[1_u32, 2, 3]).unwrap();
        let whole = numbers.extent;
        let wrong = [
            Extent { start: 4, ..whole },
            Extent { start: 1, len: 1 },
            Extent { start: 16, len: 0 },
            Extent { start: u64::MAX - 3, len: 1 },
            Extent { start: 4, len: u64::MAX / 4 },
            Extent { len: 4, ..whole },
            Extent { len: u64::MAX, ..whole },
        ];
        for extent in wrong {
            let (bytes, _kept) = send(&SharedSlice::<u32> { extent, ..numbers.clone() });
            assert!(decode::<SharedSlice<u32>>(&bytes).is_err(), "{extent:?}");
        }
        let (bytes, _kept) = send(&numbers);
        assert!(decode::<SharedSlice<u32>>(&bytes).is_ok());
        assert!(decode::<SharedSlice<u64>>(&bytes).is_err(), "there are no three of these");
    }

    #[test]
    fn parts_are_those_of_slices() {
        let bytes = SharedBytes::copy_from_slice(b"0123456789").unwrap();
        assert_eq!(bytes.slice(..)[..], bytes[..]);
        assert_eq!(bytes.slice(2..=4).slice(1..)[..], b"34"[..]);
        assert_eq!(bytes.slice((Bound::Excluded(7), Bound::Unbounded))[..], b"89"[..]);
        assert!(bytes.slice(10..).is_empty());
        for range in [(0, 11), (11, 11), (5, 4)] {
            let part = std::panic::catch_unwind(|| bytes.slice(range.0..range.1));
            assert!(part.is_err(), "{range:?}");
        }
    }

    #[test]
    fn it_prints_a_few_values() {
        let numbers = SharedSlice::with_len(1 << 20, |_: &mut [u8]| ()).unwrap();
        let text = format!("{numbers:?}");
        assert_eq!(text, "SharedSlice { len: 1048576, first: [0, 0, 0, 0, 0, 0, 0, 0], .. }");
    }

    #[test]
    fn too_many_values_are_an_error() {
        SharedSlice::with_len(usize::MAX, |_: &mut [u64]| ()).unwrap_err();
    }
}
