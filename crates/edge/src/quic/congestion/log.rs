//! What quinn-proto's acknowledgements show of one connection, for those outside the controller.
//!
//! quinn-proto tells only its congestion controllers what was acknowledged. It makes a new one, with a log of its own, when the
//! client moves to another address. One thread writes and reads it, so loads and stores cannot interleave;
//! atomics are here because quinn-proto may be shared between threads.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Bytes of a packet that are no data of a stream, at most: headers, tag, and a short acknowledgement. So a packet of
/// nothing but control frames counts as no data.
const OVERHEAD: u64 = 64;

/// The log of one connection.
#[derive(Debug, Default)]
pub(crate) struct PathLog {
    acknowledged: AtomicU64,
    is_clear: AtomicBool,
}

impl PathLog {
    /// Bytes of data that were acknowledged; rather too few than too many.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Whether an acknowledgement has left nothing in flight since this was last asked.
    pub(crate) fn take_clear(&self) -> bool {
        let is_clear = self.is_clear.load(Relaxed);
        if is_clear {
            self.is_clear.store(false, Relaxed);
        }
        is_clear
    }

    /// A packet of so many bytes was acknowledged.
    pub(crate) fn on_ack(&self, bytes: u64) {
        self.acknowledged.store(self.acknowledged() + bytes.saturating_sub(OVERHEAD), Relaxed);
    }

    /// All packets of an acknowledgement were told; `in_flight` bytes remain.
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

    /// The log, which is then no longer here.
    pub(crate) fn take(&self) -> Option<Arc<PathLog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
