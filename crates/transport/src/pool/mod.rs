//! Connections to backends, one file per protocol. `transport` owns them in slots and drives them.

pub(crate) mod h2;
