//! Types of keys: numbers, durations, sizes, HTTP values, addresses.

pub(crate) mod address;
pub(crate) mod collection;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod path;
pub(crate) mod quantity;
pub(crate) mod secret;
