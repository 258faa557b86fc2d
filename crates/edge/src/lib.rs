//! The client side: QUIC endpoint, HTTP/3 sessions. Knows no backend
#![forbid(unsafe_code)]
