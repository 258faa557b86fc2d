//! The Spooky process.
#![forbid(unsafe_code)]
