//! Field blocks of a backend, as hostile as they come.

use spooky_bridge::{
    hpack::{Decoder, Encoder, Limits},
    message::{Field, Fields},
};

const LIMITS: Limits = Limits { bytes: 2048, count: 32 };

/// What must hold for any bytes: a byte with a length before each block, all for one connection. What is kept fits the
/// limits, and comes back when it is encoded and decoded again.
pub(crate) fn check(data: &[u8]) {
    let mut decoder = Decoder::new(4096);
    let (mut encoder, mut mirror) = (Encoder::new(), Decoder::new(4096));
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        if length % 16 == 7 {
            encoder.set_limit(u32::from(*length) * 8);
        }
        let mut fields = Fields::new();
        match decoder.decode(block, &mut fields, LIMITS) {
            Ok(true) => assert!(fields.size() <= LIMITS.bytes && fields.len() <= LIMITS.count),
            Ok(false) => assert!(fields.len() <= LIMITS.count + 1),
            Err(_) => return,
        }
        let mut again = Vec::new();
        encoder.encode(fields.iter(), &mut again);
        let mut back = Fields::new();
        let room = Limits { bytes: usize::MAX, count: usize::MAX };
        assert_eq!(mirror.decode(&again, &mut back, room), Ok(true));
        let plain = |field: Field<'_>| (field.name.as_bytes().to_vec(), field.value.to_vec());
        assert!(fields.iter().map(plain).eq(back.iter().map(plain)));
        assert!(fields.iter().zip(back.iter()).all(|(field, back)| back.sensitive || !field.sensitive));
    }
}
