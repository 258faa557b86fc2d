//! Keys that stay the same across restarts: a new process can then send stateless resets for connections of the previous one,
//! and accept its address tokens.
//!
//! All workers and listeners share them.

use aws_lc_rs::{
    hkdf::{self, KeyType, Prk, Salt},
    hmac,
};
use quinn_proto::{TokenLog, TokenReuseError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

const SALT: &[u8] = b"spooky quic keys v1";
const RESET: &[u8] = b"stateless reset";
const TOKENS: &[u8] = b"address tokens";
/// Number of remembered address tokens (512 KiB). A token can be reused only after another one has replaced its entry.
const REMEMBERED: usize = 1 << 16;

/// The keys of stateless resets (RFC 9000 section 10.3.2) and of Retry and address tokens (section 8.1.3).
#[derive(Clone)]
pub struct QuicKeys {
    pub(crate) reset: Arc<hmac::Key>,
    pub(crate) tokens: Arc<Prk>,
    pub(crate) used: Arc<UsedTokens>,
    exported: Arc<[u8]>,
}

/// Length of each key.
const KEY_BYTES: usize = 32;

impl QuicKeys {
    /// Derives the keys from a secret by HKDF (RFC 5869). The secret should have at least 32 random bytes.
    ///
    /// `None` only if the cryptographic library fails.
    pub fn derive(secret: &[u8]) -> Option<Self> {
        let master = Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        Self::import(&[expand(&master, RESET)?, expand(&master, TOKENS)?].concat())
    }

    /// Uses the keys of another process, from [`QuicKeys::export`]. `None` if they do not have the right length.
    pub fn import(exported: &[u8]) -> Option<Self> {
        let (reset, tokens) = exported.split_at_checked(KEY_BYTES).filter(|(_, tokens)| tokens.len() == KEY_BYTES)?;
        Some(Self {
            reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset)),
            tokens: Arc::new(Prk::new_less_safe(hkdf::HKDF_SHA256, tokens)),
            used: Arc::new(UsedTokens::default()),
            exported: exported.into(),
        })
    }

    /// Returns the keys, for a process that takes over the address of this one. They are secret.
    pub fn export(&self) -> &[u8] {
        &self.exported
    }

    /// Returns whether the keys were derived from this secret.
    pub fn is_derived_from(&self, secret: &[u8]) -> bool {
        let other = reset_key(&Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret));
        other.is_some_and(|other| hmac::verify(&self.reset, RESET, hmac::sign(&other, RESET).as_ref()).is_ok())
    }
}

fn reset_key(master: &Prk) -> Option<hmac::Key> {
    Some(hmac::Key::new(hmac::HMAC_SHA256, &expand(master, RESET)?))
}

impl std::fmt::Debug for QuicKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("QuicKeys")
    }
}

fn expand(master: &Prk, purpose: &[u8]) -> Option<Vec<u8>> {
    let mut key = vec![0; hkdf::HKDF_SHA256.len()];
    master.expand(&[purpose], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// Remembers which address tokens were used, so that each proves an address once (RFC 9000 section 8.1.4). Holds a fixed
/// number of them: of two tokens with the same entry the later one is remembered.
pub(crate) struct UsedTokens(Box<[AtomicU64]>);

impl Default for UsedTokens {
    fn default() -> Self {
        Self((0..REMEMBERED).map(|_| AtomicU64::new(0)).collect())
    }
}

impl TokenLog for UsedTokens {
    fn check_and_insert(&self, nonce: u128, _: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        // The nonce is random and issued here, so any bits of it serve as a hash.
        let (place, mark) = (nonce as usize % REMEMBERED, (nonce >> 64) as u64);
        let Some(entry) = self.0.get(place) else { return Err(TokenReuseError) };
        if entry.swap(mark, Relaxed) == mark { Err(TokenReuseError) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};

    fn signed(keys: &QuicKeys) -> [u8; 32] {
        let mut out = [0; 32];
        HmacKey::sign(&*keys.reset, b"an id", &mut out);
        out
    }

    #[test]
    fn the_same_secret_gives_the_same_keys_and_each_purpose_its_own() {
        let (one, same) = (QuicKeys::derive(&[7; 32]).unwrap(), QuicKeys::derive(&[7; 32]).unwrap());
        let other = QuicKeys::derive(&[8; 32]).unwrap();
        assert_eq!(signed(&one), signed(&same));
        assert_ne!(signed(&one), signed(&other));
        assert!(one.is_derived_from(&[7; 32]) && !one.is_derived_from(&[8; 32]));
        let mut sealed = b"a token".to_vec();
        one.tokens.aead_from_hkdf(b"nonce").seal(&mut sealed, &[]).unwrap();
        assert_eq!(same.tokens.aead_from_hkdf(b"nonce").open(&mut sealed.clone(), &[]).unwrap(), b"a token");
        assert!(other.tokens.aead_from_hkdf(b"nonce").open(&mut sealed.clone(), &[]).is_err());
        let master = Salt::new(hkdf::HKDF_SHA256, SALT).extract(&[7; 32]);
        assert_ne!(expand(&master, RESET), expand(&master, TOKENS));
    }

    #[test]
    fn another_process_can_use_the_same_keys() {
        let keys = QuicKeys::derive(&[7; 32]).unwrap();
        let same = QuicKeys::import(keys.export()).unwrap();
        assert_eq!((signed(&keys), keys.export()), (signed(&same), same.export()));
        assert!(same.is_derived_from(&[7; 32]));
        let mut sealed = b"a token".to_vec();
        keys.tokens.aead_from_hkdf(b"nonce").seal(&mut sealed, &[]).unwrap();
        assert_eq!(same.tokens.aead_from_hkdf(b"nonce").open(&mut sealed, &[]).unwrap(), b"a token");
        assert!([0, 31, 63, 65].iter().all(|length| QuicKeys::import(&vec![0; *length]).is_none()));
    }

    #[test]
    fn an_address_token_proves_an_address_once() {
        let used = UsedTokens::default();
        let use_it = |nonce| used.check_and_insert(nonce, SystemTime::UNIX_EPOCH, Duration::ZERO).is_ok();
        let (one, two, same_entry) = (1 | 9 << 64, 2 | 9 << 64, 1 | 10 << 64);
        assert_eq!([use_it(one), use_it(one), use_it(two), use_it(two)], [true, false, true, false]);
        assert_eq!([use_it(same_entry), use_it(same_entry)], [true, false]);
    }
}
