//! Runs the checks of the fuzz targets on the committed corpora and on seeded mutations of them.
//!
//! The checks are in `checks/`; `fuzz/fuzz_targets` includes the same files.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

mod checks {
    pub(crate) mod h1_request;
    pub(crate) mod h1_response;
    pub(crate) mod h1_wire;
    pub(crate) mod h2_frames;
    pub(crate) mod h2_server;
    pub(crate) mod h3_frames;
    pub(crate) mod hpack;
    pub(crate) mod inputs;
    pub(crate) mod message;
    pub(crate) mod padding;
    pub(crate) mod prng;
    pub(crate) mod proxy_protocol;
    pub(crate) mod qpack;
    pub(crate) mod trace_context;
}

/// Mutations of each file.
const MUTATIONS: usize = 300;

fn replay(target: &str, check: fn(&[u8])) {
    checks::inputs::each(target, MUTATIONS, check);
}

#[test]
fn qpack() {
    replay("qpack", checks::qpack::check);
}

#[test]
fn h3_frames() {
    replay("h3_frames", checks::h3_frames::check);
}

#[test]
fn message() {
    replay("message", checks::message::check);
}

#[test]
fn hpack() {
    replay("hpack", checks::hpack::check);
}

#[test]
fn h2_frames() {
    replay("h2_frames", checks::h2_frames::check);
}

#[test]
fn h2_server() {
    replay("h2_server", checks::h2_server::check);
}

#[test]
fn h1_request() {
    replay("h1_request", checks::h1_request::check);
}

#[test]
fn h1_response() {
    replay("h1_response", checks::h1_response::check);
}

#[test]
fn padding() {
    replay("padding", checks::padding::check);
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol", checks::proxy_protocol::check);
}

#[test]
fn trace_context() {
    replay("trace_context", checks::trace_context::check);
}
