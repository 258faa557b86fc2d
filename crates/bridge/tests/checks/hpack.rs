//! Arbitrary field blocks of a backend.

use spooky_bridge::{
    hpack::{Decoder, Encoder, Error, SkipState},
    message::{Field, Fields},
};

const MAX_SECTION: usize = 2048;

/// Properties for any input: blocks of one connection, each after a byte with its length. Decoded sections fit the
/// limits, encoding and decoding them again gives the same, and skipping them changes the table in the same way.
pub(crate) fn check(data: &[u8]) {
    let mut decoder = Decoder::new(4096);
    let (mut encoder, mut mirror) = (Encoder::new(), Decoder::new(4096));
    let mut skipper = Decoder::new(4096);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        if length % 16 == 7 {
            encoder.set_limit(u32::from(*length) * 8);
        }
        let mut fields = Fields::new();
        let result = decoder.decode(block, &mut fields, MAX_SECTION);
        // A string too long for the table is skipped by its length, so an invalid code in it is not seen.
        let outcome = skip(&mut skipper, block);
        assert!(outcome.is_ok() == result.is_ok() || result == Err(Error::Huffman), "{outcome:?}, {result:?}");
        match result {
            Ok(true) => assert!(fields.section_size() <= MAX_SECTION),
            // The field that exceeded the limit may be present.
            Ok(false) => assert!(fields.len() <= MAX_SECTION / 32 + 1),
            Err(_) => return,
        }
        let mut again = Vec::new();
        encoder.encode(fields.iter(), &mut again);
        let mut back = Fields::new();
        assert_eq!(mirror.decode(&again, &mut back, usize::MAX), Ok(true));
        let plain = |field: Field<'_>| (field.name.as_bytes().to_vec(), field.value.to_vec());
        assert!(fields.iter().map(plain).eq(back.iter().map(plain)));
        assert!(fields.iter().zip(back.iter()).all(|(field, back)| back.sensitive || !field.sensitive));
    }
}

/// Skips a block in two parts. Table size updates are read with the first.
fn skip(decoder: &mut Decoder, block: &[u8]) -> Result<(), Error> {
    let updates = block.iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
    if updates > 0 {
        return decoder.skip_last(&mut SkipState::default(), block);
    }
    let mut state = SkipState::default();
    let read = decoder.skip(&mut state, &block[..block.len() / 2])?;
    decoder.skip_last(&mut state, &block[read..])
}
