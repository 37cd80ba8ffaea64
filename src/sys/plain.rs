//! Types that are nothing but their bytes.

/// A type for which any bytes are a value, such as the numbers of fixed size, and arrays of them:
/// what a [`SharedSlice`](crate::SharedSlice) is made of.
///
/// ```
/// fn total<T: procpool::Plain + Into<f64>>(values: &procpool::SharedSlice<T>) -> f64 {
///     values.iter().map(|value| (*value).into()).sum()
/// }
/// # assert_eq!(total(&procpool::SharedSlice::copy_from_slice(&[1.5_f32, 2.0]).unwrap()), 3.5);
/// ```
///
/// `usize`, `bool` and `char` are none. To send `bool`s send `u8`s.
///
/// # Safety
///
/// It may be implemented for a type that
/// * has a value for every sequence of as many bytes as it has;
/// * has no padding, neither inside nor behind (a `#[repr(C)]` struct of such types may have none);
/// * has neither pointers, references, nor anything like a `Cell` or an atomic in it;
/// * has at least one byte, and is aligned to no more than 4096;
/// * is the same in all programs that share the memory.
#[diagnostic::on_unimplemented(
    message = "shared memory cannot hold values of `{Self}`, as not all bytes are such a value",
    label = "`{Self}` is not `Plain`",
    note = "use `u64` instead of `usize`, `u8` instead of `bool`, `u32` instead of `char`, and bytes for what has serde"
)]
#[expect(unsafe_code, reason = "what it promises is relied on")]
pub unsafe trait Plain: Copy + Send + Sync + Unpin + 'static {}

macro_rules! plain {
    ($($number:ty)*) => {$(
        // SAFETY: a number has neither padding nor forbidden values.
        #[expect(unsafe_code, reason = "makes a promise")]
        unsafe impl Plain for $number {}
    )*};
}

plain! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64 }

// SAFETY: there is nothing between the elements of an array. That it is not empty is seen to where
// the size matters.
#[expect(unsafe_code, reason = "makes a promise")]
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Which all bytes have that are looked at as something else.
const fn require_some_bytes<T: Plain>() {
    assert!(size_of::<T>() > 0, "it has no bytes");
}

/// The values that these are the bytes of; `None` if there is no whole number of them, or they are
/// not aligned.
pub(crate) fn as_plain<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    const { require_some_bytes::<T>() };
    let values = bytes.as_ptr().cast::<T>();
    if !bytes.len().is_multiple_of(size_of::<T>()) || !values.is_aligned() {
        return None;
    }
    // SAFETY: it is the same memory, which is aligned and has as many values, and any bytes are
    // values.
    #[expect(unsafe_code, reason = "looks at bytes as numbers")]
    Some(unsafe { std::slice::from_raw_parts(values, bytes.len() / size_of::<T>()) })
}

/// As [`as_plain`].
pub(crate) fn as_plain_mut<T: Plain>(bytes: &mut [u8]) -> Option<&mut [T]> {
    const { require_some_bytes::<T>() };
    let values = bytes.as_mut_ptr().cast::<T>();
    if !bytes.len().is_multiple_of(size_of::<T>()) || !values.is_aligned() {
        return None;
    }
    // SAFETY: as above. What is written is without padding, so that the bytes stay bytes.
    #[expect(unsafe_code, reason = "looks at bytes as numbers")]
    Some(unsafe { std::slice::from_raw_parts_mut(values, bytes.len() / size_of::<T>()) })
}

/// The bytes of values.
pub(crate) fn as_bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: it is the same memory, and none of it is padding.
    #[expect(unsafe_code, reason = "looks at numbers as bytes")]
    unsafe {
        std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_their_bytes() {
        let mut numbers = [[1.5_f64, -0.25], [f64::INFINITY, 0.0]];
        let mut bytes = as_bytes(&numbers).to_vec();
        assert_eq!(bytes[..8], 1.5_f64.to_ne_bytes());
        let aligned: &mut [u8] = as_plain_mut(as_plain_mut::<u8>(&mut bytes).unwrap()).unwrap();
        aligned[7] |= 0x80;
        numbers[0][0] = f64::from_ne_bytes(*aligned.first_chunk().unwrap());
        assert!(numbers[0][0] < 0.0);
        assert_eq!(as_plain::<[f64; 2]>(as_bytes(&numbers)), Some(&numbers[..]));
        assert_eq!(as_plain::<f64>(as_bytes(&numbers)), Some(numbers.as_flattened()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let numbers = [1_u64, 2];
        let bytes = as_bytes(&numbers);
        assert_eq!(as_plain::<u128>(&bytes[..15]), None);
        assert_eq!(as_plain::<u32>(&bytes[1..5]), None);
        assert_eq!(as_plain::<u32>(&bytes[4..8]), Some(&as_plain::<u32>(bytes).unwrap()[1..2]));
        assert_eq!(as_plain::<u64>(&bytes[..0]), Some(&[][..]));
    }
}
