//! Arbitrary payloads of QUIC packets.

use spooky_bridge::padding::walk;

fn length_without(payload: &[u8]) -> usize {
    walk(payload, |_| {})
}

/// Properties for any input: only zeros are removed, never the whole payload, and a second pass removes nothing.
pub(crate) fn check(data: &[u8]) {
    let length = length_without(data);
    assert!(length <= data.len() && (length > 0 || data.is_empty()));
    assert!(data[length..].iter().all(|byte| *byte == 0));
    assert_eq!(length_without(&data[..length]), length);
    // More padding does not change the frames, if their lengths are explicit.
    if length < data.len() {
        let more = [data, &[0; 100]].concat();
        assert_eq!(length_without(&more), length);
    }
}
