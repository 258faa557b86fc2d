//! Views of the session cache for contexts that accept early data.

use std::sync::Arc;

use rustls::server::StoresServerSessions;

/// Identifies the limits that a server announces to clients: transport parameters and HTTP/3 settings.
///
/// Clients remember them with a session and apply them to early data, so early data must not be accepted under smaller
/// ones (RFC 9000 section 7.4.1, RFC 9114 section 7.2.4.2). Sessions resume only under the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncedLimits(pub u64);

/// Returns only sessions that were stored under the same limits.
#[derive(Debug)]
pub(super) struct SessionsUnderLimits {
    pub(super) limits: AnnouncedLimits,
    pub(super) sessions: Arc<dyn StoresServerSessions>,
}

impl SessionsUnderLimits {
    fn unmark(&self, mut value: Vec<u8>) -> Option<Vec<u8>> {
        let (session, mark) = value.split_last_chunk()?;
        if *mark != self.limits.0.to_be_bytes() {
            return None;
        }
        value.truncate(session.len());
        Some(value)
    }
}

impl StoresServerSessions for SessionsUnderLimits {
    fn put(&self, key: Vec<u8>, mut value: Vec<u8>) -> bool {
        value.extend(self.limits.0.to_be_bytes());
        self.sessions.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.unmark(self.sessions.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.unmark(self.sessions.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}

/// Stores sessions and returns none.
#[derive(Debug)]
pub(super) struct NewSessions(pub(super) Arc<dyn StoresServerSessions>);

impl StoresServerSessions for NewSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}
