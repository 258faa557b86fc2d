//! The number that identifies an exchange in events of both sides, and in those of the backend side also the attempt.

use spooky_lb::attempt::SlotId;
use spooky_table::Handle;

/// Set for the second slot: the highest bit of the index, which the table never uses.
const SECOND_SLOT: u64 = 1 << 31;

/// Identifies an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) Handle);

impl Tag {
    /// Converts the number of an event.
    pub(super) fn from_event(number: u64) -> (Self, SlotId) {
        let [first, second] = SlotId::ALL;
        let slot = if number & SECOND_SLOT == 0 { first } else { second };
        (Self(Handle::from_bits(number & !SECOND_SLOT)), slot)
    }

    /// Returns the number for the client side.
    pub(super) fn number(self) -> u64 {
        self.0.to_bits()
    }

    /// Returns the number for the backend side.
    pub(super) fn with_slot(self, slot: SlotId) -> u64 {
        self.0.to_bits() | if slot == SlotId::FIRST { 0 } else { SECOND_SLOT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_and_its_slot_come_back_from_the_number() {
        for (index, serial) in [(0, 1), (7, 2), ((1 << 31) - 1, u32::MAX)] {
            let tag = Tag(Handle::new(index, serial));
            assert_eq!(Tag::from_event(tag.number()), (tag, SlotId::FIRST));
            for slot in SlotId::ALL {
                assert_eq!(Tag::from_event(tag.with_slot(slot)), (tag, slot));
            }
        }
    }
}
