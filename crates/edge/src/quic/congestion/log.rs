//! Acknowledged bytes of one connection, for code outside the congestion controller.
//!
//! quinn-proto reports acknowledgements only to congestion controllers, and creates a new one, here with its own log, when the
//! client migrates. Only one thread uses a log, so loads and stores cannot interleave; atomics are needed because
//! quinn-proto's types must be `Sync`.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Bytes of a packet that are no data of a stream, at most: headers, tag, and a short acknowledgement. So a packet of
/// nothing but control frames counts as no data.
const OVERHEAD: u64 = 64;

/// Acknowledgements of one path.
#[derive(Debug, Default)]
pub(crate) struct PathLog {
    acknowledged: AtomicU64,
    is_clear: AtomicBool,
    has_lost: AtomicBool,
}

impl PathLog {
    /// Lower bound of the acknowledged stream bytes.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Returns whether an acknowledgement has left nothing in flight since the last call.
    pub(crate) fn take_clear(&self) -> bool {
        let is_clear = self.is_clear.load(Relaxed);
        if is_clear {
            self.is_clear.store(false, Relaxed);
        }
        is_clear
    }

    /// Returns whether packets were lost since the last call.
    pub(crate) fn take_loss(&self) -> bool {
        let has_lost = self.has_lost.load(Relaxed);
        if has_lost {
            self.has_lost.store(false, Relaxed);
        }
        has_lost
    }

    pub(crate) fn on_loss(&self) {
        self.has_lost.store(true, Relaxed);
    }

    pub(crate) fn on_ack(&self, bytes: u64) {
        self.acknowledged.store(self.acknowledged() + bytes.saturating_sub(OVERHEAD), Relaxed);
    }

    pub(crate) fn on_end_acks(&self, in_flight: u64) {
        if in_flight == 0 {
            self.is_clear.store(true, Relaxed);
        }
    }
}

/// The log of the controller that was made last. Controllers are made by quinn-proto, which does not say for which connection:
/// whoever has just let it make one finds the log here. That is when a connection begins or its client moves, not for each
/// packet.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastLog(Arc<Mutex<Option<Arc<PathLog>>>>);

impl LastLog {
    pub(super) fn make(&self) -> Arc<PathLog> {
        let log = Arc::new(PathLog::default());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
        log
    }

    pub(crate) fn take(&self) -> Option<Arc<PathLog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
