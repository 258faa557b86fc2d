//! The payload of a QUIC packet, as hostile as it comes.

use spooky_bridge::padding::walk;

fn length_without(payload: &[u8]) -> usize {
    walk(payload, |_| {})
}

/// What must hold for any bytes: only zeros are cut off, never all of a payload, and what is left needs no second cut.
pub(crate) fn check(data: &[u8]) {
    let length = length_without(data);
    assert!(length <= data.len() && (length > 0 || data.is_empty()));
    assert!(data[length..].iter().all(|byte| *byte == 0));
    assert_eq!(length_without(&data[..length]), length);
    // A client that pads more sends the same frames, as long as they say where they end.
    if length < data.len() {
        let more = [data, &[0; 100]].concat();
        assert_eq!(length_without(&more), length);
    }
}
