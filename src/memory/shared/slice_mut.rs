//! Values that one process has, and can change.

use std::marker::PhantomData;
use std::{fmt, io};

use bytemuck::{cast_slice, try_cast_slice_mut};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::extent::{Extent, size_of_values};
use super::keep::{Encoding, Held, encoding, hold};
use super::memory::{Exclusive, Name};
use super::plain::Plain;
use super::reference::{deserialize_reference, serialize_reference};
use super::slice::SharedSlice;
use crate::base::sync::Mutex;

/// Bytes in shared memory that can be changed; see [`SharedSliceMut`].
pub type SharedBytesMut = SharedSliceMut<u8>;

/// Numbers in shared memory that one process has at a time. A task can change them in place, and
/// hand them back.
///
/// As an argument or a result it is *moved*: once it is serialized, only the other side has it.
/// [`freeze`](Self::freeze) makes a [`SharedSlice`] of it, which everybody can read.
/// [`SharedSlice::try_into_mut`] is the way back. Neither copies anything.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #     procpool::init();
/// #     tokio::runtime::Runtime::new()?.block_on(run())
/// # }
/// use procpool::{ProcessPoolExecutor, SharedSliceMut};
///
/// fn brighten(mut image: SharedSliceMut<u8>, by: u8) -> SharedSliceMut<u8> {
///     for pixel in image.as_mut_slice() {
///         *pixel = pixel.saturating_add(by);
///     }
///     image
/// }
///
/// procpool::register!(brighten);
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = ProcessPoolExecutor::new()?;
/// let image = SharedSliceMut::copy_from_slice(&[10, 20, 250])?;
/// let image = pool.run(brighten, (image, 50)).await?;
/// assert_eq!(image.freeze()[..], [60, 70, 255]);
/// # Ok(())
/// # }
/// ```
///
/// There is no `Deref`, and reading the values takes `&mut self`. Otherwise somebody could hold a
/// reference to the values while they are moved to another process.
///
/// # When a task does not return it
///
/// A task owns what it is given. If the task is cancelled before it begins, panics, is killed, or
/// drops it, the memory is freed.
///
/// A [retry](crate::TaskBuilder::retries) after an attempt that had begun fails with a [codec
/// error](crate::TaskError::is_codec) that says so: the first attempt may have left the numbers
/// half changed. If the worker died before the task began, the next worker gets them unchanged.
///
/// A result can be decoded once. If a [callback](crate::TaskHandle::add_done_callback) decodes it,
/// the handle's future returns an error that says so.
///
/// Its life and its limits are those of a [`SharedSlice`](SharedSlice#how-long-it-lives).
pub struct SharedSliceMut<T: Plain> {
    /// Only to take it out when it is serialized.
    owner: Mutex<Owner>,
    extent: Extent,
    values: PhantomData<fn() -> T>,
}

enum Owner {
    Here(Exclusive),
    /// It was serialized. A value that could not be encoded may be encoded once more, to see why.
    Gone(Encoding, Name),
}

impl<T: Plain> SharedSliceMut<T> {
    /// So many zeros.
    ///
    /// ```
    /// # use procpool::SharedSliceMut;
    /// let mut values = SharedSliceMut::<f32>::zeroed(3)?;
    /// values.as_mut_slice()[1] = 0.5;
    /// assert_eq!(values.as_mut_slice(), [0.0, 0.5, 0.0]);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`SharedSlice::copy_from_slice`].
    pub fn zeroed(len: usize) -> io::Result<Self> {
        Ok(Self::new(Exclusive::create(size_of_values::<T>(len)?)?, Extent::new(len)))
    }

    /// A copy of `values`.
    ///
    /// # Errors
    ///
    /// As those of [`SharedSlice::copy_from_slice`].
    pub fn copy_from_slice(values: &[T]) -> io::Result<Self> {
        Ok(Self::new(Exclusive::copy_of(cast_slice(values))?, Extent::new(values.len())))
    }

    pub(super) fn new(memory: Exclusive, extent: Extent) -> Self {
        Self { owner: Mutex::new(Owner::Here(memory)), extent, values: PhantomData }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.extent.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, to be read or changed.
    ///
    /// # Panics
    ///
    /// If it was serialized, because it then belongs to somebody else. That can happen only to one
    /// behind an `Arc` or the like. Also if this process was forked from the one that has it.
    #[track_caller]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        let bytes = self.owner.get_mut().memory().bytes();
        // It was looked at when this was made, so it is inside and aligned.
        let range = self.extent.bytes::<T>(bytes.len()).unwrap_or_default();
        try_cast_slice_mut(&mut bytes[range]).unwrap_or_default()
    }

    /// Lets everybody read it, and nobody change it.
    ///
    /// # Panics
    ///
    /// As [`as_mut_slice`](Self::as_mut_slice).
    #[track_caller]
    pub fn freeze(self) -> SharedSlice<T> {
        let mut owner = self.owner.into_inner();
        owner.memory(); // or it panics
        match owner {
            Owner::Here(memory) => SharedSlice::new(memory.freeze(), self.extent),
            Owner::Gone(..) => unreachable!("it was looked at just now"),
        }
    }
}

impl Owner {
    #[track_caller]
    fn memory(&mut self) -> &mut Exclusive {
        match self {
            Self::Here(memory) => memory,
            Self::Gone(..) => panic!("the shared memory was passed on when it was serialized"),
        }
    }

    /// Gives the memory to whoever decodes what is encoded now; returns how it is named.
    fn pass_on(&mut self) -> Result<Name, &'static str> {
        let encoding = encoding()?;
        let name = match self {
            Self::Gone(by, name) if *by == encoding => return Ok(*name),
            Self::Gone(..) => return Err("the shared memory was passed on before"),
            Self::Here(memory) if memory.is_inherited() => {
                return Err("the shared memory belongs to the process that this one was forked of");
            }
            Self::Here(memory) => memory.name(),
        };
        if let Self::Here(memory) = std::mem::replace(self, Self::Gone(encoding, name)) {
            hold(encoding, Held::Offered(memory.offer()));
        }
        Ok(name)
    }
}

impl<T: Plain> SharedSlice<T> {
    /// Shares `len` values, which `fill` sets where they are. They are zero before.
    ///
    /// ```
    /// # use procpool::SharedSlice;
    /// let squares = SharedSlice::with_len(1000, |squares: &mut [u64]| {
    ///     for (n, square) in (0..).zip(squares) {
    ///         *square = n * n;
    ///     }
    /// })?;
    /// assert_eq!(squares[12], 144);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// As those of [`copy_from_slice`](Self::copy_from_slice).
    pub fn with_len(len: usize, fill: impl FnOnce(&mut [T])) -> io::Result<Self> {
        let mut values = SharedSliceMut::zeroed(len)?;
        fill(values.as_mut_slice());
        Ok(values.freeze())
    }

    /// Makes it mutable, without a copy, if this is the only handle on the memory in all processes.
    /// A task has a handle until it is over, so await all tasks with it first.
    ///
    /// It may also fail for a moment while a process is being started, or after a process was
    /// killed.
    ///
    /// ```
    /// # use procpool::SharedSlice;
    /// let one = SharedSlice::copy_from_slice(&[1, 2, 3])?;
    /// let other = one.clone();
    /// let one = one.try_into_mut().unwrap_err(); // there is another one
    /// drop(other);
    /// let mut values = one.try_into_mut().unwrap();
    /// values.as_mut_slice().fill(7);
    /// assert_eq!(values.freeze()[..], [7, 7, 7]);
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// Gives it back if it is not the only handle.
    pub fn try_into_mut(self) -> Result<SharedSliceMut<T>, Self> {
        let (memory, extent) = self.into_parts();
        match memory.thaw() {
            Ok(memory) => Ok(SharedSliceMut::new(memory, extent)),
            Err(memory) => Err(Self::new(memory, extent)),
        }
    }
}

impl<T: Plain> From<SharedSliceMut<T>> for SharedSlice<T> {
    /// As [`SharedSliceMut::freeze`].
    fn from(values: SharedSliceMut<T>) -> Self {
        values.freeze()
    }
}

impl<T: Plain> fmt::Debug for SharedSliceMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSliceMut").field("len", &self.extent.len()).finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for SharedSliceMut<T> {
    /// Passes the memory on to whoever deserializes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_reference(serializer, || {
            let mut owner = self.owner.lock();
            Ok((owner.pass_on()?, self.extent))
        })
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSliceMut<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some((name, extent)) = deserialize_reference(deserializer)? else {
            return Self::zeroed(0).map_err(D::Error::custom);
        };
        let mut memory = Exclusive::take(&name).map_err(D::Error::custom)?;
        if extent.bytes::<T>(memory.bytes().len()).is_none() {
            return Err(D::Error::custom("the values are not inside of the shared memory"));
        }
        Ok(Self::new(memory, extent))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::codec::{CodecError, decode, encode_compact};
    use crate::memory::shared::{Kept, SharedBytes, collect};

    fn send<T: Serialize>(value: &T) -> Result<(Vec<u8>, Kept), CodecError> {
        let mut bytes = Vec::new();
        let ((), kept) = collect(|| encode_compact(value, &mut bytes, 1000))?;
        Ok((bytes, kept))
    }

    #[test]
    fn it_is_moved_when_it_is_serialized() {
        let mut sent = SharedSliceMut::copy_from_slice(&[1_u16, 2, 3]).unwrap();
        let (bytes, kept) = send(&sent).unwrap();
        let use_it = || sent.as_mut_slice()[0] = 9;
        catch_unwind(AssertUnwindSafe(use_it)).unwrap_err();
        let error = send(&sent).unwrap_err().to_string();
        assert!(error.contains("passed on before"), "{error}");
        catch_unwind(AssertUnwindSafe(|| sent.freeze())).unwrap_err();

        let mut received: SharedSliceMut<u16> = decode(&bytes).unwrap();
        received.as_mut_slice()[0] = 7;
        let error = decode::<SharedSliceMut<u16>>(&bytes).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        decode::<SharedSlice<u16>>(&bytes).unwrap_err();
        drop(kept);
        assert_eq!(received.freeze()[..], [7, 2, 3]);
    }

    #[test]
    fn what_is_dropped_is_not_had_again() {
        let (bytes, _kept) = send(&SharedSliceMut::<u8>::zeroed(3).unwrap()).unwrap();
        drop(decode::<SharedSliceMut<u8>>(&bytes).unwrap());
        let error = decode::<SharedSliceMut<u8>>(&bytes).unwrap_err().to_string();
        assert!(error.contains("passed on"), "{error}");
    }

    #[test]
    fn one_that_occurs_twice_can_be_had_once() {
        let sent = SharedSliceMut::<u8>::zeroed(3).unwrap();
        let (bytes, _kept) = send(&(&sent, &sent)).unwrap();
        decode::<(SharedSliceMut<u8>, SharedSliceMut<u8>)>(&bytes).unwrap_err();
    }

    #[test]
    fn the_reason_why_a_value_cannot_be_encoded_is_told() {
        struct Failing;
        impl Serialize for Failing {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("that is why"))
            }
        }
        let sent = SharedSliceMut::<u8>::zeroed(3).unwrap();
        assert_eq!(send(&(sent, Failing)).unwrap_err().to_string(), "that is why, at `[1]`");
    }

    #[test]
    fn a_part_stays_a_part() {
        let part = SharedBytes::copy_from_slice(b"0123456789").unwrap().slice(3..6);
        let mut part = part.try_into_mut().unwrap();
        assert_eq!(part.as_mut_slice(), b"345");
        part.as_mut_slice().fill(b'x');
        assert_eq!((part.len(), &part.freeze()[..]), (3, &b"xxx"[..]));
    }

    #[test]
    fn it_cannot_be_serialized_to_a_file_and_stays_what_it_is() {
        let mut values = SharedSliceMut::copy_from_slice(&[1_u8]).unwrap();
        let error = serde_json::to_string(&values).unwrap_err().to_string();
        assert!(error.contains("only as an argument or a result"), "{error}");
        assert_eq!(values.as_mut_slice(), [1]);
    }
}
