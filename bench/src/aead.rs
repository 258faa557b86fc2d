//! Measures AES-128-GCM as QUIC and TLS use it: sealing and opening a packet.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::clock::nanos;

/// Associated data: a short header (RFC 9001 section 5.3).
const HEADER: [u8; 16] = [0x40; 16];

/// Returns the nanoseconds to seal `size` bytes in place.
pub fn seal(size: usize) -> f64 {
    let key = key();
    let mut buffer = vec![1; size];
    nanos(|| key.seal_in_place_separate_tag(nonce(), Aad::from(HEADER), &mut buffer).expect("room for a tag"))
}

/// Returns the nanoseconds to copy `size` sealed bytes and open them in place.
pub fn open(size: usize) -> f64 {
    let key = key();
    let mut sealed = vec![1; size];
    key.seal_in_place_append_tag(nonce(), Aad::from(HEADER), &mut sealed).expect("room for a tag");
    let mut buffer = sealed.clone();
    nanos(|| {
        buffer.copy_from_slice(&sealed);
        key.open_in_place(nonce(), Aad::from(HEADER), &mut buffer).expect("what was sealed").len()
    })
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key of 16 bytes"))
}

/// Returns a constant nonce, which is safe because the ciphertext never leaves the process.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
