//! Counts by a number, of which few occur: statuses, error codes.

use super::counter::Counter;
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Cells of one table.
const CELLS: usize = 32;
/// Cells that a number is looked for in before the next table.
const PROBES: usize = 4;

/// Counts with a single writer. It grows with the numbers that occur and never shrinks; whoever uses it bounds the numbers.
#[derive(Debug, Default)]
pub struct SparseCounts {
    cells: [Cell; CELLS],
    next: OnceLock<Box<Self>>,
}

#[derive(Debug, Default)]
struct Cell {
    /// The number plus one; 0 while the cell is free.
    key: AtomicU64,
    count: Counter,
}

impl SparseCounts {
    /// Counts one for a number.
    pub fn increment(&self, number: u32) {
        let key = u64::from(number) + 1;
        // Multiplication spreads neighbours, such as statuses that differ in one digit.
        let first = (number.wrapping_mul(0x9E37_79B1) >> 27) as usize;
        let mut table = self;
        loop {
            for probe in 0..PROBES {
                let Some(cell) = table.cells.get((first + probe) % CELLS) else { return };
                match cell.key.load(Ordering::Relaxed) {
                    0 => {
                        cell.count.increment();
                        // After the count, so that no reader sees the number without it.
                        return cell.key.store(key, Ordering::Release);
                    }
                    known if known == key => return cell.count.increment(),
                    _ => {}
                }
            }
            table = table.next.get_or_init(Box::default);
        }
    }

    /// Calls `read` with each number and its count.
    pub fn for_each(&self, mut read: impl FnMut(u32, u64)) {
        let mut table = Some(self);
        while let Some(current) = table {
            for cell in &current.cells {
                if let Some(number) = cell.key.load(Ordering::Acquire).checked_sub(1) {
                    read(number as u32, cell.count.get());
                }
            }
            table = current.next.get().map(|next| &**next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_number_has_its_own_count() {
        let counts = SparseCounts::default();
        let mut expected = BTreeMap::new();
        for round in 1..=3 {
            for number in (0..2_000).filter(|number| number % round == 0).chain([u32::MAX]) {
                counts.increment(number);
                *expected.entry(number).or_insert(0) += 1;
            }
        }
        let mut read = BTreeMap::new();
        counts.for_each(|number, count| assert_eq!(read.insert(number, count), None, "{number} has one cell"));
        assert_eq!(read, expected);
    }
}
