use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};

use super::*;

fn open_named(name: SegmentRef) -> io::Result<Segment> {
    Segment::open(name, &Arrivals::new())
}

const LEN: usize = 10_000;

/// A name for something that may be no segment.
fn name_of(fd: impl AsFd, len: u64) -> SegmentRef {
    let inode = fstat(&fd).unwrap().st_ino;
    let fd = fd.as_fd().as_raw_fd();
    SegmentRef { pid: std::process::id(), fd, len, inode }
}

fn sealed(size: usize, flags: MemfdFlags, seals: SealFlags) -> OwnedFd {
    let flags = flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("test", flags).unwrap();
    ftruncate(&fd, size as u64).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

fn copy(segment: &Segment, range: Range<usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    segment.copy_to(range, &mut bytes).unwrap();
    bytes
}

#[test]
fn both_sides_see_the_same() {
    let mut segment = Segment::create(LEN).unwrap();
    let other = open_named(segment.name()).unwrap();
    assert_eq!((segment.len(), other.len()), (LEN, LEN));
    segment.words()[WORDS - 1].store(42, Ordering::Release);
    segment.write_at(LEN - 3, b"end").unwrap();
    segment.as_mut_slice()[0] = 7;
    assert_eq!(other.words()[WORDS - 1].load(Ordering::Acquire), 42);
    assert_eq!(other.as_slice()[0], 7);
    assert_eq!(copy(&other, LEN - 4..LEN), b"\0end");
}

#[test]
fn what_is_written_again_replaces_what_was_there() {
    let mut segment = Segment::create(LEN).unwrap();
    let other = open_named(segment.name()).unwrap();
    for (round, end) in (1..).zip([LEN / 2, LEN / 2 - 1, LEN, 7, LEN, LEN]) {
        for start in [0, end / 3, end - 5] {
            segment.write_at(start, &vec![round; end - start]).unwrap();
        }
        assert_eq!(&other.as_slice()[..end], &vec![round; end]);
        assert_eq!(&segment.as_slice()[..end], &vec![round; end]);
    }
}

#[test]
fn a_copy_comes_behind_what_was_there() {
    let mut segment = Segment::create(LEN).unwrap();
    segment.write_at(10, b"abc").unwrap();
    let mut bytes = b"before ".to_vec();
    segment.copy_to(10..13, &mut bytes).unwrap();
    assert_eq!(bytes, b"before abc");
}

#[test]
fn a_side_outlives_the_other() {
    let mut segment = Segment::create(LEN).unwrap();
    segment.write_at(0, b"abc").unwrap();
    let other = open_named(segment.name()).unwrap();
    drop(segment);
    assert_eq!(&other.as_slice()[..3], b"abc");
    assert_eq!(copy(&open_named(other.name()).unwrap(), 0..3), b"abc");
}

#[test]
fn what_is_outside_is_refused() {
    let mut segment = Segment::create(LEN).unwrap();
    for (offset, length) in [(LEN, 1), (usize::MAX, 2), (LEN - 1, 2)] {
        assert!(segment.write_at(offset, &vec![0; length]).is_err(), "{offset}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it is to be refused")]
    for range in [0..LEN + 1, usize::MAX..usize::MAX, 2..1] {
        assert!(segment.copy_to(range.clone(), &mut Vec::new()).is_err(), "{range:?}");
    }
    segment.write_at(LEN, &[]).unwrap();
}

#[test]
fn an_empty_segment_has_words() {
    let segment = Segment::create(0).unwrap();
    segment.words()[0].store(1, Ordering::Relaxed);
    assert!(open_named(segment.name()).unwrap().as_slice().is_empty());
}

#[test]
fn locks_are_those_of_one_opening() {
    let first = Segment::create(LEN).unwrap();
    let second = open_named(first.name()).unwrap();
    let steps = [
        (&first, Lock::Exclusive, true),
        (&second, Lock::Shared, false),
        (&first, Lock::Shared, true),
        (&second, Lock::Shared, true),
        (&first, Lock::Exclusive, false),
        (&second, Lock::Exclusive, false), // the other one still has its lock
        (&second, Lock::None, true),
        (&first, Lock::Exclusive, true),
    ];
    for (at, (segment, lock, expected)) in steps.into_iter().enumerate() {
        assert_eq!(segment.lock(lock).unwrap(), expected, "step {at}");
    }
    drop(first);
    assert!(second.lock(Lock::Exclusive).unwrap(), "the lock went with its opening");
}

#[test]
fn who_waits_for_the_count_is_woken() {
    let segment = Segment::create(0).unwrap();
    let other = open_named(segment.name()).unwrap();
    let waiter = std::thread::spawn(move || {
        while other.count() < 2 {
            other.wait_for_count(other.count(), None);
        }
    });
    segment.count_up();
    segment.count_up();
    waiter.join().unwrap();
    segment.wait_for_count(7, None); // another number is there already
    segment.wait_for_count(2, Some(Duration::from_millis(1)));
}

#[test]
fn a_size_that_cannot_be_had_is_an_error() {
    for len in [usize::MAX, usize::MAX - HEADER, isize::MAX.cast_unsigned(), 1 << 50] {
        assert!(Segment::create(len).is_err(), "{len}");
    }
}

#[test]
fn all_of_the_memory_is_taken_at_once() {
    const MEGABYTE: usize = 1 << 20;
    let segment = Segment::create(3 * MEGABYTE).unwrap();
    assert!(segment.memory() >= 3 << 20);
}

#[test]
fn memory_that_is_given_back_is_gone_for_all_and_its_words_are_not() {
    let mut segment = Segment::create(3 << 20).unwrap();
    segment.write_at(0, &vec![7; 3 << 20]).unwrap();
    segment.words()[1].store(42, Ordering::Relaxed);
    let other = open_named(segment.name()).unwrap();
    assert_eq!(other.as_slice()[1 << 20], 7);
    drop(segment); // it is freed with the last one
    other.give_memory_back();
    assert!(other.memory() < 1 << 20);
    assert_eq!(other.words()[1].load(Ordering::Relaxed), 42);
}

#[test]
fn a_name_that_is_wrong_is_refused() {
    let segment = Segment::create(LEN).unwrap();
    let name = segment.name();
    let wrong = [
        SegmentRef { len: name.len + 1, ..name },
        SegmentRef { len: name.len - 1, ..name },
        SegmentRef { len: u64::MAX, ..name },
        SegmentRef { inode: name.inode + 1, ..name },
        SegmentRef { fd: -1, ..name },
        SegmentRef { fd: i32::MAX, ..name },
        SegmentRef { pid: 0, ..name },
        SegmentRef { pid: u32::MAX, ..name },
    ];
    for name in wrong {
        assert!(open_named(name).is_err(), "{name:?}");
    }
    assert!(open_named(name).is_ok());
    drop(segment);
    assert!(open_named(name).is_err(), "nobody has it open");
}

#[test]
fn a_descriptor_of_something_else_is_refused_and_left_alone() {
    let (mut reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    assert!(open_named(name_of(&reader, 0)).is_err());
    drop(writer); // no other writer was made
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 1);
    let null = std::fs::File::open("/dev/null").unwrap();
    assert!(open_named(name_of(&null, 0)).is_err());
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let len = file.metadata().unwrap().len() - HEADER as u64;
    assert!(open_named(name_of(&file, len)).is_err());
}

#[test]
fn memory_that_could_shrink_or_not_be_written_is_refused() {
    let (none, all) = (MemfdFlags::empty(), SealFlags::SHRINK | SealFlags::GROW);
    let open = |fd: OwnedFd| open_named(name_of(&fd, LEN as u64)).map(drop);
    open(sealed(HEADER + LEN, none, all)).unwrap();
    for seals in [SealFlags::SHRINK, SealFlags::GROW, all | SealFlags::WRITE] {
        assert!(open(sealed(HEADER + LEN, none, seals)).is_err(), "{seals:?}");
    }
    assert!(open(sealed(HEADER + LEN - 1, none, all)).is_err());
    assert!(open(sealed(0, none, all)).is_err());
}
