//! The trace context of a request: what is parsed is written back as version 00.

use spooky_bridge::message::{Fields, Known, trace::TraceContext};

/// Properties for any value of `traceparent`.
pub(crate) fn check(data: &[u8]) {
    let mut fields = Fields::new();
    fields.push(Known::Traceparent, data);
    let parsed = TraceContext::parse(data);
    assert_eq!(TraceContext::of(&fields), parsed);
    let Some(context) = parsed else { return };
    assert!(context.trace_id != 0 && context.span_id != 0 && context.flags & !3 == 0);
    let written = context.to_bytes();
    assert_eq!(TraceContext::parse(&written), Some(context));
    // Only the version and the flags may differ from what was received.
    assert_eq!(data.get(2..53), written.get(2..53));
    assert!(data.starts_with(b"00") <= (data.len() == written.len()), "version 00 has one length");
}
