//! The types that keys have: numbers, durations, sizes, words of HTTP, addresses. Each reads itself from a node, or
//! reports why not; the data plane gets plain values.

pub(crate) mod address;
pub(crate) mod collection;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod path;
pub(crate) mod quantity;
pub(crate) mod secret;
