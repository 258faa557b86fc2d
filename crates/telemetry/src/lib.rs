//! Metrics, access log, tracing
#![forbid(unsafe_code)]
