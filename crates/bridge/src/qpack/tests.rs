//! Cases of this room.
