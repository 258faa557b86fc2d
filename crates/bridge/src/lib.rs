//! Neutral HTTP messages, header rules, QPACK, HPACK, and the sans-io HTTP/3 and HTTP/2 client state machines
#![forbid(unsafe_code)]
