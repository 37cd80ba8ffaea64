//! The names that a value has been written with so far.

use std::collections::BTreeMap;

/// So many are looked through one by one.
const FEW: usize = 16;

/// Names by their address: the same name at two places is written twice, which costs less than to compare texts.
#[derive(Default)]
pub(super) struct Names {
    all: Vec<Entry>,
    /// Where those behind the first few are.
    many: BTreeMap<(usize, usize), u32>,
    /// The one that was asked for last.
    last: u32,
}

struct Entry {
    name: &'static str,
    /// The one that came after it the last time.
    next: u32,
}

impl Names {
    /// The number of a name, if it is not new.
    #[inline]
    pub(super) fn find(&mut self, name: &'static str) -> Option<u32> {
        let last = self.last as usize;
        if let Some(Entry { next, .. }) = self.all.get(last)
            && let Some(entry) = self.all.get(*next as usize)
            && std::ptr::eq(entry.name, name)
        {
            self.last = *next;
            return Some(self.last);
        }
        self.search(name)
    }

    fn search(&mut self, name: &'static str) -> Option<u32> {
        let found = (0..).zip(self.all.iter().take(FEW));
        let found = found.filter(|(_, entry)| std::ptr::eq(entry.name, name)).map(|(at, _)| at);
        let number = found.take(1).next().or_else(|| self.many.get(&key(name)).copied());
        let next = number.unwrap_or_else(|| self.add(name));
        if let Some(last) = self.all.get_mut(self.last as usize) {
            last.next = next;
        }
        self.last = next;
        number
    }

    fn add(&mut self, name: &'static str) -> u32 {
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        if self.all.len() >= FEW {
            self.many.insert(key(name), number);
        }
        self.all.push(Entry { name, next: number });
        number
    }
}

fn key(name: &'static str) -> (usize, usize) {
    (name.as_ptr().addr(), name.len())
}
