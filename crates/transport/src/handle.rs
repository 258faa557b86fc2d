//! What backends, connections and requests are named by. A name outlives what it stands for harmlessly: each has the
//! generation of its place in a table.

/// Names a backend. A later backend never gets the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Names a running request. Outlives it harmlessly: calls with the handle of an ended request do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHandle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl RequestHandle {
    /// The number that a protocol's state machine carries for this request.
    pub(crate) fn to_wire(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// The handle behind such a number.
    pub(crate) fn from_wire(wire: u64) -> Self {
        Self { index: wire as u32, generation: (wire >> 32) as u32 }
    }
}

/// Names a connection; a slot that is used again has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    pub(crate) index: usize,
    pub(crate) generation: u32,
}
