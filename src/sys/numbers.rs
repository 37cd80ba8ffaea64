//! Vecs of plain numbers as bytes, and values of types that turn out to be such.
//!
//! serde knows no specialization: what is generic over a type cannot see that it is a `Vec<u8>`,
//! and goes through it number by number. Here it can be seen, by the identity of the type.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, transmute, transmute_copy};
use std::net::{SocketAddr, SocketAddrV6};

use bytemuck::Pod;
use bytes::Bytes;

use super::buffer::vec_for;

/// A type without lifetimes among its parameters.
///
/// # Safety
///
/// As it says.
#[expect(unsafe_code, reason = "what it promises is relied on")]
pub(crate) unsafe trait Timeless: 'static {}

macro_rules! timeless {
    ($($type:ty)*) => {$(
        // SAFETY: there is no lifetime in it.
        #[expect(unsafe_code, reason = "makes a promise")]
        unsafe impl Timeless for $type {}
    )*};
}

timeless! { Bytes SocketAddr SocketAddrV6 }
timeless! { Vec<u8> Vec<u16> Vec<u32> Vec<u64> Vec<u128> Vec<usize> Vec<f32> Vec<f64> }
timeless! { Vec<i8> Vec<i16> Vec<i32> Vec<i64> Vec<i128> Vec<isize> }
timeless! { Vec<[f32; 2]> Vec<[f32; 3]> Vec<[f32; 4]> Vec<[f64; 2]> Vec<[f64; 3]> Vec<[f64; 4]> }

/// What tells types apart, though not the lifetimes in them.
pub(crate) fn type_id<T: ?Sized>() -> TypeId {
    trait HasTypeId {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }

    impl<T: ?Sized> HasTypeId for PhantomData<T> {
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }

    let subject: &dyn HasTypeId = &PhantomData::<T>;
    // SAFETY: only the bound of the trait object changes. The object is a `PhantomData`, which
    // refers to nothing, and `id` reads nothing of it.
    #[expect(unsafe_code, reason = "asks for the identity of a type that may have lifetimes")]
    let subject = unsafe { transmute::<&dyn HasTypeId, &(dyn HasTypeId + 'static)>(subject) };
    subject.id()
}

/// The value as an `U`, if that is its type.
#[inline]
pub(crate) fn convert<T: Timeless, U>(value: T) -> Option<U> {
    if type_id::<U>() != TypeId::of::<T>() {
        return None;
    }
    let value = ManuallyDrop::new(value);
    // SAFETY: the two can differ in lifetimes only, and `T` has none, so they are one type. The
    // value is not used again.
    #[expect(unsafe_code, reason = "knows more of a type than the compiler")]
    Some(unsafe { transmute_copy::<ManuallyDrop<T>, U>(&value) })
}

/// Looks at the value as a `U`, if that is its type, or if it refers to one.
#[inline]
pub(crate) fn peek<T: ?Sized, U: Timeless>(value: &T) -> Option<&U> {
    let (size, value_at) = (size_of_val(value), std::ptr::from_ref(value));
    // Every other type is told by its size already.
    if size == size_of::<U>() && type_id::<T>() == TypeId::of::<U>() {
        // SAFETY: the two can differ in lifetimes only, and `U` has none, so they are one type.
        #[expect(unsafe_code, reason = "knows more of a type than the compiler")]
        return Some(unsafe { &*value_at.cast::<U>() });
    }
    if size == size_of::<&U>() && type_id::<T>() == TypeId::of::<&'static U>() {
        // SAFETY: `T` is a reference to an `U`. Its lifetime is longer than that of the reference
        // to it, which is the one of the result.
        #[expect(unsafe_code, reason = "knows more of a type than the compiler")]
        return Some(unsafe { *value_at.cast::<&U>() });
    }
    None
}

/// The numbers that `items` refers to, if it is a reference to a slice or to a `Vec` of them.
#[inline]
pub(crate) fn as_numbers<I, N: 'static>(items: &I) -> Option<&[N]>
where
    Vec<N>: Timeless,
{
    let (id, items) = (type_id::<I>(), std::ptr::from_ref(items));
    if id == TypeId::of::<&'static [N]>() {
        // SAFETY: `I` is a reference to a slice of these numbers, in which there are no lifetimes.
        // Its own is longer than that of the reference to it, which is the one of the result.
        #[expect(unsafe_code, reason = "knows more of a type than the compiler")]
        return Some(unsafe { *items.cast::<&[N]>() });
    }
    if id == TypeId::of::<&'static Vec<N>>() {
        // SAFETY: as above, for a reference to a `Vec`.
        #[expect(unsafe_code, reason = "knows more of a type than the compiler")]
        return Some(unsafe { *items.cast::<&Vec<N>>() });
    }
    None
}

/// The numbers that these are the bytes of. What is left over at the end is left out.
pub(crate) fn collect_numbers<N: Pod>(bytes: &[u8]) -> Vec<N> {
    let count = bytes.len() / size_of::<N>();
    let mut numbers = vec_for(count);
    let room = numbers.spare_capacity_mut();
    assert!(room.len() >= count);
    // SAFETY: there is room for so many numbers, it is nobody else's, any bytes are numbers, and
    // all of them are set before the length says so.
    #[expect(unsafe_code, reason = "makes numbers of bytes")]
    unsafe {
        let room = room.as_mut_ptr().cast::<u8>();
        room.copy_from_nonoverlapping(bytes.as_ptr(), count * size_of::<N>());
        numbers.set_len(count);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_bytes() {
        let numbers = [1.5_f64, -0.25, f64::INFINITY];
        let bytes = bytemuck::cast_slice(&numbers);
        assert_eq!(collect_numbers::<f64>(bytes), numbers);
        assert_eq!(collect_numbers::<u128>(&[7; 40]), [u128::from_le_bytes([7; 16]); 2]);
        assert_eq!(collect_numbers::<u16>(&[]), [0_u16; 0]);
    }

    #[test]
    fn only_references_to_numbers_are_numbers() {
        let numbers = vec![1_u32, 2];
        assert_eq!(as_numbers::<_, u32>(&&numbers), Some(&numbers[..]));
        assert_eq!(as_numbers::<_, u32>(&&numbers[1..]), Some(&numbers[1..]));
        assert_eq!(as_numbers::<_, i32>(&&numbers), None);
        assert_eq!(as_numbers::<_, u32>(&numbers), None);
        assert_eq!(as_numbers::<_, u32>(&&Box::new(numbers)), None);
    }

    #[test]
    fn a_value_is_seen_as_its_own_type_only() {
        let bytes = Bytes::from_static(b"12");
        assert_eq!(peek::<_, Bytes>(&bytes), Some(&bytes));
        assert_eq!(peek::<_, Bytes>(&&bytes), Some(&bytes));
        assert_eq!(peek::<_, Bytes>(&&&bytes), None);
        assert_eq!(peek::<_, Vec<u8>>(&bytes), None);
        assert_eq!(peek::<[u8], Bytes>(&bytes[..]), None);
    }

    #[test]
    fn a_value_becomes_its_own_type_only() {
        fn of<U>() -> Option<U> {
            convert(vec![1_u8, 2])
        }
        assert_eq!(of::<Vec<u8>>(), Some(vec![1, 2]));
        assert_eq!(of::<Vec<i8>>(), None);
        assert_eq!(of::<Bytes>(), None);
        assert_eq!(convert::<_, Bytes>(Bytes::from_static(b"12")), Some(Bytes::from_static(b"12")));
    }

    #[test]
    fn types_with_lifetimes_have_an_identity_too() {
        fn id_of<T>(_: &T) -> TypeId {
            type_id::<T>()
        }
        let text = String::from("text");
        assert_eq!(id_of(&text.as_str()), TypeId::of::<&'static str>());
        assert_ne!(id_of(&text.as_bytes()), TypeId::of::<&'static str>());
    }
}
