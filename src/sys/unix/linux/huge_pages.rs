//! Memory in huge pages: what a fork copies more quickly, and what is written to for the first time
//! more quickly.

use std::fs;
use std::mem::MaybeUninit;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

use super::calls::page_size;

/// Asks for huge pages where nothing has been written yet. It does no harm if there are none.
pub(crate) fn prefer_huge_pages<T>(room: &mut [MaybeUninit<T>]) {
    let page = page_size();
    let (start, size) = (room.as_mut_ptr(), size_of_val(room));
    // The first and the last page may have something else on them.
    let skipped = start.addr().next_multiple_of(page) - start.addr();
    let length = size.saturating_sub(skipped) / page * page;
    if length == 0 {
        return;
    }
    // SAFETY: the pages are within what was handed over, and the advice changes nothing of what is
    // in them.
    #[expect(unsafe_code, reason = "gives advice about memory")]
    let advised =
        unsafe { madvise(start.cast::<u8>().add(skipped).cast(), length, Advice::LinuxHugepage) };
    let _ = advised;
}

/// Has the system put large blocks of this process's private memory into huge pages, where it can.
/// A fork copies the table of pages, which takes longer than everything else if there are many: ten
/// milliseconds for half a gigabyte of small pages, and less than one for huge ones.
pub(crate) fn use_huge_pages() {
    for block in
        fs::read_to_string("/proc/self/smaps").as_deref().map(dense_blocks).unwrap_or_default()
    {
        let address = std::ptr::without_provenance_mut(block.start);
        // SAFETY: this changes how the memory is laid out, and not what is in it. Should it not be
        // there any more, the call fails. Linux before 6.1 does not know it, and refuses.
        #[expect(unsafe_code, reason = "advises on memory that Rust knows nothing of")]
        let _ = unsafe { libc::madvise(address, block.len(), libc::MADV_COLLAPSE) };
    }
}

/// The private and anonymous mappings that are large and in use. Huge pages fill the gaps, so of
/// what is in use here and there only it might become many times as much.
fn dense_blocks(smaps: &str) -> Vec<Range<usize>> {
    const HUGE: usize = 2 << 20;
    let (mut blocks, mut candidate, mut size) = (Vec::new(), None, 0);
    for line in smaps.lines() {
        let Some((key, value)) = line.split_once(':').filter(|(key, _)| !key.contains(' ')) else {
            candidate = private_block(line);
            continue;
        };
        let kilobytes = value.trim().trim_end_matches(" kB").parse().unwrap_or(0_usize);
        match key {
            "Size" => size = kilobytes,
            "Rss" if kilobytes >= size / 8 * 7 => blocks.extend(candidate.take()),
            _ => {}
        }
    }
    let whole_pages =
        |block: Range<usize>| block.start.next_multiple_of(HUGE)..block.end / HUGE * HUGE;
    blocks.into_iter().map(whole_pages).filter(|block| !block.is_empty()).collect()
}

/// Reads the line that begins a mapping: range, permissions, offset, device, inode, and perhaps a
/// name.
fn private_block(line: &str) -> Option<Range<usize>> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (start, end) = fields.first()?.split_once('-')?;
    let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).ok());
    let is_memory = fields.get(1) == Some(&"rw-p") && fields.get(4) == Some(&"0");
    let is_stack = fields.get(5) == Some(&"[stack]");
    (is_memory && !is_stack).then_some(start?..end?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dense_private_memory_goes_into_huge_pages() {
        let block = |header: &str, rss: u32| {
            format!("{header}\nSize: 8192 kB\nKernelPageSize: 4 kB\nRss: {rss} kB\nPss: 8192 kB\n")
        };
        let smaps = [
            block("7f0000001000-7f0000801000 rw-p 00000000 00:00 0", 8192),
            block("7f0001000000-7f0001800000 rw-p 00000000 00:00 0 [heap]", 7200),
            block("7f0002000000-7f0002800000 rw-p 00000000 00:00 0", 4096),
            block("7f0003000000-7f0003800000 r--p 00000000 00:00 0", 8192),
            block("7f0004000000-7f0004800000 rw-s 00000000 00:01 7 /memfd:x (deleted)", 8192),
            block("7f0005000000-7f0005800000 rw-p 00000000 00:00 0 [stack]", 8192),
            "7f0006000000-7f0006001000 rw-p 00000000 00:00 0\nSize: 4 kB\nRss: 4 kB\n".to_owned(),
        ];
        let blocks = dense_blocks(&smaps.concat());
        assert_eq!(
            blocks,
            [0x7f00_0020_0000..0x7f00_0080_0000, 0x7f00_0100_0000..0x7f00_0180_0000]
        );
    }

    #[test]
    fn memory_keeps_what_is_in_it() {
        let table: Vec<u64> = (0..1 << 20).collect();
        use_huge_pages();
        assert!(table.iter().copied().eq(0..1 << 20));
    }
}
