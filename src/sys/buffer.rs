//! Memory for large values. The system gives it page by page as it is first written to, which takes
//! longer than the writing itself; in huge pages it takes a fraction of that.

use super::system::prefer_huge_pages;

/// In smaller memory there is hardly room for a huge page.
const LARGE: usize = 4 << 20;

/// A larger buffer is given back to the system after use.
const KEPT: usize = 1 << 20;

/// An empty `Vec` with room for so many elements.
pub(crate) fn vec_for<T>(count: usize) -> Vec<T> {
    let mut vec = Vec::with_capacity(count);
    if size_of::<T>().saturating_mul(count) >= LARGE {
        prefer_huge_pages(vec.spare_capacity_mut());
    }
    vec
}

/// Makes room for so many bytes more.
pub(crate) fn reserve(buffer: &mut Vec<u8>, more: usize) {
    let capacity = buffer.capacity();
    buffer.reserve(more);
    if more >= LARGE && buffer.capacity() != capacity {
        prefer_huge_pages(buffer.spare_capacity_mut());
    }
}

/// Makes room for so many bytes more, if there is memory for that.
pub(crate) fn try_reserve(buffer: &mut Vec<u8>, more: usize) {
    let capacity = buffer.capacity();
    let has_room = buffer.try_reserve(more).is_ok();
    if has_room && more >= LARGE && buffer.capacity() != capacity {
        prefer_huge_pages(buffer.spare_capacity_mut());
    }
}

/// Gives the memory of a large buffer back; nothing that is in it is wanted any more.
#[inline]
pub(crate) fn trim(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_is_asked_for() {
        for count in [0, 1, LARGE - 1, LARGE, LARGE + 1] {
            assert!(vec_for::<u8>(count).capacity() >= count);
            assert!(vec_for::<u64>(count).capacity() >= count);
            let mut buffer = vec![7];
            reserve(&mut buffer, count);
            assert!(buffer.capacity() > count && buffer == [7]);
            let mut buffer = vec![7];
            try_reserve(&mut buffer, count);
            assert!(buffer.capacity() > count && buffer == [7]);
        }
    }

    #[test]
    fn more_than_there_can_be_is_not_tried() {
        let mut buffer = vec![7];
        try_reserve(&mut buffer, usize::MAX);
        assert_eq!(buffer, [7]);
    }

    #[test]
    fn what_takes_no_memory_is_not_advised_about() {
        assert!(vec_for::<()>(usize::MAX).is_empty());
    }
}
