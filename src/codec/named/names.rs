//! The names that a value has been written or read with so far.

use std::collections::HashMap;

/// So many are looked through one by one, if need be.
const FEW: usize = 16;

/// A power of two.
const SLOTS: usize = 64;

/// Names by their address: the same name at two places is written twice, which costs less than to
/// compare texts.
pub(super) struct Names {
    all: Vec<KnownName>,
    /// A hash of a name to its number, plus one; zero if there was no name with that hash.
    slots: [u8; SLOTS],
    /// Where those behind the first few are.
    many: HashMap<(usize, usize), u32>,
    /// The one that was asked for last.
    last: u32,
}

struct KnownName {
    name: &'static str,
    /// The one that came after it the last time.
    next: u32,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), slots: [0; SLOTS], many: HashMap::new(), last: 0 }
    }

    /// The number of a name, if it is not new.
    #[inline]
    pub(super) fn find(&mut self, name: &'static str) -> Option<u32> {
        if let Some(KnownName { next, .. }) = self.all.get(self.last as usize)
            && self.is(*next, name)
        {
            self.last = *next;
            return Some(self.last);
        }
        self.search(name)
    }

    #[inline]
    fn is(&self, number: u32, name: &'static str) -> bool {
        self.all.get(number as usize).is_some_and(|entry| std::ptr::eq(entry.name, name))
    }

    fn search(&mut self, name: &'static str) -> Option<u32> {
        let slot = (name.as_ptr().addr() ^ name.as_ptr().addr() >> 6 ^ name.len()) % SLOTS;
        let number = match self.slots[slot] {
            0 => None,
            number if self.is(u32::from(number) - 1, name) => Some(u32::from(number) - 1),
            _ => self.search_all(name),
        };
        let next = number.unwrap_or_else(|| self.add(name, slot));
        if let Some(last) = self.all.get_mut(self.last as usize) {
            last.next = next;
        }
        self.last = next;
        number
    }

    /// For one that shares its slot with another name.
    fn search_all(&self, name: &'static str) -> Option<u32> {
        let mut few = (0..).zip(self.all.iter().take(FEW));
        let found = few.find(|(_, entry)| std::ptr::eq(entry.name, name)).map(|(at, _)| at);
        found.or_else(|| self.many.get(&key(name)).copied())
    }

    fn add(&mut self, name: &'static str, slot: usize) -> u32 {
        if self.all.is_empty() {
            self.all.reserve(FEW);
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        if self.all.len() >= FEW {
            self.many.insert(key(name), number);
        }
        if self.slots[slot] == 0 {
            // A slot that is taken sends whoever looks there to all others, whosever it is.
            self.slots[slot] = u8::try_from(number + 1).unwrap_or(u8::MAX);
        }
        self.all.push(KnownName { name, next: number });
        number
    }
}

/// The names that were read, in the order in which they were new.
#[derive(Clone, Default)]
pub(super) struct ReadNames<'de> {
    /// Most values have no others, and need no memory for them.
    few: [&'de str; FEW],
    count: usize,
    many: Vec<&'de str>,
}

impl<'de> ReadNames<'de> {
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&'de str> {
        if number >= self.count {
            return None;
        }
        match self.few.get(number) {
            None => self.many.get(number - FEW).copied(),
            name => name.copied(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, name: &'de str) {
        match self.few.get_mut(self.count) {
            Some(place) => *place = name,
            None => self.many.push(name),
        }
        self.count += 1;
    }
}

fn key(name: &'static str) -> (usize, usize) {
    (name.as_ptr().addr(), name.len())
}
