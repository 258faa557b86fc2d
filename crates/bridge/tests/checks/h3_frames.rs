//! Request streams and unidirectional streams of a client: the outcome does not depend on how the bytes are split.

use super::prng::Prng;
use bytes::Bytes;
use spooky_bridge::{
    h3::{Connection, Error, Received, RecvStream, Settings, UniEvent},
    message::{Fields, check::HeadLimits},
};
use std::time::Duration;

const LIMITS: HeadLimits = HeadLimits { max_fields: 32, max_bytes: 512 };

/// Properties for any input. The first eight bytes seed the split.
pub(crate) fn check(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let whole = request(bytes, usize::MAX, &mut Prng(seed));
    assert_eq!(request(bytes, 1, &mut Prng(seed)), whole, "byte by byte");
    assert_eq!(request(bytes, 40, &mut Prng(seed)), whole, "seed {seed}");
    let whole = unidirectional(bytes, usize::MAX, &mut Prng(seed));
    assert_eq!(unidirectional(bytes, 1, &mut Prng(seed)), whole, "byte by byte");
    assert_eq!(unidirectional(bytes, 40, &mut Prng(seed)), whole, "seed {seed}");
}

/// Cuts `bytes` into pieces of 1 to `most` bytes.
fn pieces<'a>(mut bytes: &'a [u8], most: usize, prng: &mut Prng) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = if most == usize::MAX { bytes.len() } else { (1 + prng.below(most)).min(bytes.len()) };
        let (piece, rest) = bytes.split_at(len);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[derive(Debug, PartialEq)]
enum Part {
    Head(String),
    Body(Vec<u8>),
    Trailers(String),
}

fn request(bytes: &[u8], most: usize, prng: &mut Prng) -> (Vec<Part>, Result<(), Error>) {
    let mut stream = RecvStream::new();
    let mut parts = Vec::new();
    for piece in pieces(bytes, most, prng) {
        let mut chunk = Bytes::copy_from_slice(piece);
        loop {
            match stream.recv(&mut chunk, &LIMITS) {
                Ok(Some(Received::Headers(fields))) => parts.push(Part::Head(text(&fields))),
                Ok(Some(Received::Trailers(fields))) => parts.push(Part::Trailers(text(&fields))),
                Ok(Some(Received::Data(data))) => match parts.last_mut() {
                    Some(Part::Body(body)) => body.extend_from_slice(&data),
                    _ => parts.push(Part::Body(data.to_vec())),
                },
                Ok(None) => break,
                Err(error) => return (parts, Err(error)),
            }
        }
        assert!(chunk.is_empty(), "the chunk is used up");
    }
    (parts, stream.finish())
}

fn text(fields: &Fields) -> String {
    format!("{:?}", fields.iter().collect::<Vec<_>>())
}

fn unidirectional(bytes: &[u8], most: usize, prng: &mut Prng) -> (Vec<UniEvent>, Result<(), Error>) {
    let mut connection = Connection::new(Settings::default());
    let mut events = Vec::new();
    for piece in pieces(bytes, most, prng) {
        let mut chunk = Bytes::copy_from_slice(piece);
        while !chunk.is_empty() {
            match connection.recv_uni(2, &mut chunk, Duration::ZERO) {
                Ok(event) => events.extend(event),
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, connection.uni_finished(2, Duration::ZERO))
}
