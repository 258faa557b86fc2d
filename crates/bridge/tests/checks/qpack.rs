//! Arbitrary field sections, Huffman strings and instruction streams of a client.

use spooky_bridge::{
    huffman,
    message::Fields,
    qpack::{self, DecoderStream, EncoderStream},
};

const ROOM: usize = 4096;

/// Properties for any input.
pub(crate) fn check(data: &[u8]) {
    section(data);
    string(data);
    instructions(data);
}

/// Decoded sections fit the limit, and encoding and decoding them again gives the same.
fn section(data: &[u8]) {
    let mut fields = Fields::new();
    if qpack::decode(data, &mut fields, ROOM).is_err() {
        return;
    }
    assert!(fields.size() <= ROOM);
    let mut again = Vec::new();
    qpack::encode(None, &fields, &mut again);
    let mut back = Fields::new();
    assert_eq!(qpack::decode(&again, &mut back, ROOM), Ok(()));
    assert_eq!(fields.len(), back.len());
    for (left, right) in fields.iter().zip(back.iter()) {
        assert_eq!((left.name, left.value), (right.name, right.value));
        assert!(right.sensitive || !left.sensitive);
    }
}

/// A decodable string has exactly one encoding.
fn string(data: &[u8]) {
    let mut plain = Vec::new();
    if huffman::decode(data, &mut plain).is_ok() {
        let mut again = Vec::new();
        huffman::encode(&plain, &mut again);
        assert_eq!(again, data);
        assert_eq!(huffman::encoded_len(&plain), data.len());
    }
    let mut code = Vec::new();
    huffman::encode(data, &mut code);
    let mut back = Vec::new();
    assert_eq!(huffman::decode(&code, &mut back), Ok(()));
    assert_eq!(back, data);
}

/// The outcome of an instruction stream is the same whole and byte by byte.
fn instructions(data: &[u8]) {
    let mut encoder = EncoderStream::new();
    let mut pieces = EncoderStream::new();
    let mut count = 0;
    let result = data.iter().try_for_each(|byte| {
        let (valid, result) = pieces.recv(&[*byte]);
        count += valid;
        result
    });
    assert_eq!(encoder.recv(data), (count, result));
    let mut decoder = DecoderStream::new();
    let mut pieces = DecoderStream::new();
    assert_eq!(decoder.recv(data), data.iter().try_for_each(|byte| pieces.recv(&[*byte])));
}
