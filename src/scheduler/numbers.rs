//! A set of numbers many of which are neighbors, such as the ids of tasks that wait.

use std::collections::BTreeMap;

/// One bit for each number, in blocks of 64. A block without a number is not kept, so memory is
/// bounded by what is in the set: half a byte for each of many neighbors, and less than 40 for one
/// that stands alone. The block of the least number is at hand, so that a set that is used from its
/// front, or is small, seldom needs the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NumberSet {
    /// Without bits if the set is empty.
    first: Block,
    /// By their index.
    others: BTreeMap<u64, u64>,
}

/// The numbers from 64 times `index` on whose bits are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Block {
    index: u64,
    bits: u64,
}

impl Block {
    const WIDTH: u64 = 64;

    fn of(number: u64) -> Self {
        Self { index: number / Self::WIDTH, bits: 1 << (number % Self::WIDTH) }
    }

    fn numbers(self) -> impl Iterator<Item = u64> {
        let bits = std::iter::successors(Some(self.bits), |bits| Some(bits & bits.wrapping_sub(1)));
        let bits = bits.take_while(|bits| *bits != 0);
        bits.map(move |bits| self.index * Self::WIDTH + u64::from(bits.trailing_zeros()))
    }
}

impl NumberSet {
    pub(super) fn is_empty(&self) -> bool {
        self.first.bits == 0
    }

    /// Says whether it was not there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let block = Block::of(number);
        if self.is_empty() {
            self.first = block;
            return true;
        }
        if block.index < self.first.index {
            let second = std::mem::replace(&mut self.first, block);
            self.others.insert(second.index, second.bits);
            return true;
        }
        let bits = if block.index == self.first.index {
            &mut self.first.bits
        } else {
            self.others.entry(block.index).or_default()
        };
        let is_new = *bits & block.bits == 0;
        *bits |= block.bits;
        is_new
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let block = Block::of(number);
        if block.index == self.first.index {
            let was_there = self.first.bits & block.bits != 0;
            self.first.bits &= !block.bits;
            if self.first.bits == 0 {
                let next = self.others.pop_first();
                self.first = next.map(|(index, bits)| Block { index, bits }).unwrap_or_default();
            }
            return was_there;
        }
        let Some(bits) = self.others.get_mut(&block.index) else { return false };
        let was_there = *bits & block.bits != 0;
        *bits &= !block.bits;
        if *bits == 0 {
            self.others.remove(&block.index);
        }
        was_there
    }

    /// The least one that is not below `number`.
    pub(super) fn first_from(&self, number: u64) -> Option<u64> {
        let block = Block::of(number);
        let above = |index: u64, bits: u64| {
            let wanted = if index == block.index { bits & !(block.bits - 1) } else { bits };
            Block { index, bits: wanted }.numbers().next()
        };
        if self.first.index >= block.index {
            let first = above(self.first.index, self.first.bits);
            if first.is_some() {
                return first;
            }
        }
        self.others.range(block.index..).find_map(|(&index, &bits)| above(index, bits))
    }

    /// The least one.
    pub(super) fn first(&self) -> Option<u64> {
        let bit = u64::from(self.first.bits.trailing_zeros());
        (!self.is_empty()).then(|| self.first.index * Block::WIDTH + bit)
    }

    /// The greatest one.
    pub(super) fn last(&self) -> Option<u64> {
        let last = self.others.last_key_value();
        let last = last.map_or(self.first, |(&index, &bits)| Block { index, bits });
        let bit = u64::from(last.bits.checked_ilog2()?);
        Some(last.index * Block::WIDTH + bit)
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let others = self.others.iter().map(|(&index, &bits)| Block { index, bits });
        std::iter::once(self.first).chain(others).flat_map(Block::numbers)
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        usize::from(!self.is_empty()) + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Random;

    #[test]
    fn it_is_a_set() {
        let mut random = Random::seeded(1);
        for spread in [3, 70, 1_000, 100_000] {
            let (mut numbers, mut expected) = (NumberSet::default(), BTreeSet::new());
            for _ in 0..3_000 {
                let number = random.below(spread) as u64;
                if random.one_in(2) {
                    assert_eq!(numbers.insert(number), expected.insert(number));
                } else {
                    assert_eq!(numbers.remove(number), expected.remove(&number));
                }
                assert_eq!(numbers.first(), expected.first().copied());
                assert_eq!(numbers.last(), expected.last().copied());
                assert_eq!(numbers.is_empty(), expected.is_empty());
            }
            assert!(numbers.iter().eq(expected.iter().copied()));
            assert!(numbers.blocks() <= expected.len());
        }
    }

    #[test]
    fn the_ends_of_what_can_be_counted_are_numbers_too() {
        let mut numbers = NumberSet::default();
        let all = [0, 63, 64, u64::MAX - 1, u64::MAX];
        assert!(all.into_iter().rev().all(|number| numbers.insert(number)));
        assert!(numbers.iter().eq(all));
        assert!(all.into_iter().all(|number| numbers.remove(number) && !numbers.remove(number)));
        assert_eq!(numbers, NumberSet::default());
    }
}
