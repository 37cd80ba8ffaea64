//! How far a thread's stack reaches.

use std::cell::OnceCell;

use super::system::own_stack;

/// Where the stack is now. Stacks grow down on all platforms that there are.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it is about the stack of the caller")]
pub(crate) fn stack_pointer() -> usize {
    let here = 0_u8;
    (&raw const here).addr()
}

/// How many bytes of the stack of this thread are left. `None` where that is not known, as on a
/// stack that some library has made.
pub(crate) fn stack_left() -> Option<usize> {
    thread_local! {
        static STACK: OnceCell<Option<(usize, usize)>> = const { OnceCell::new() };
    }
    let (low, high) = STACK.with(|stack| *stack.get_or_init(own_stack))?;
    let here = stack_pointer();
    (low < here && here < high).then(|| here - low)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_stack_that_was_asked_for() {
        let left = |size: usize| {
            let thread = std::thread::Builder::new().stack_size(size);
            thread.spawn(|| stack_left().unwrap()).unwrap().join().unwrap()
        };
        let (small, large) = (left(256 << 10), left(4 << 20));
        assert!((64 << 10..=260 << 10).contains(&small), "{small}");
        assert!((3 << 20..=5 << 20).contains(&large), "{large}");
    }

    #[test]
    fn what_is_called_has_less() {
        #[inline(never)]
        fn deeper() -> usize {
            std::hint::black_box([0_u8; 4096]);
            stack_left().unwrap()
        }
        assert!(deeper() + 4096 <= stack_left().unwrap());
    }
}
