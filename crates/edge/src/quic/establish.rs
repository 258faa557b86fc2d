//! Takes the limiter slot of a connection when its handshake completes.
//!
//! Only the TLS session can close the connection with the transport error `CONNECTION_REFUSED` (RFC 9000 section 20.1);
//! quinn-proto's `close` sends application errors. quinn-proto owns the session, which has no access to the edge, so the
//! connection being processed is in a thread-local variable. Called by `conn` and by the session in `trim_padding`.

use crate::{ConnectionLimiter, LimiterSlot};
use quinn_proto::{TransportError, TransportErrorCode};
use std::{cell::RefCell, net::IpAddr, sync::Arc};

thread_local! {
    /// The connection that this thread processes, if it has no slot.
    static CURRENT: RefCell<Option<Candidate>> = const { RefCell::new(None) };
}

struct Candidate {
    limiter: Arc<dyn ConnectionLimiter>,
    client: IpAddr,
    slot: Option<LimiterSlot>,
}

/// Runs `process`, which may complete the handshake of a connection without a slot. Returns the slot that was taken then.
pub(super) fn while_processing(
    limiter: &Arc<dyn ConnectionLimiter>,
    client: IpAddr,
    process: impl FnOnce(),
) -> Option<LimiterSlot> {
    CURRENT.set(Some(Candidate { limiter: limiter.clone(), client, slot: None }));
    process();
    CURRENT.take().and_then(|candidate| candidate.slot)
}

/// Handles a complete handshake. Fails if its connection has no slot and there is none left.
pub(super) fn on_complete() -> Result<(), TransportError> {
    CURRENT.with_borrow_mut(|current| {
        let Some(candidate) = current else { return Ok(()) };
        candidate.slot = candidate.limiter.establish(candidate.client);
        if candidate.slot.is_some() {
            return Ok(());
        }
        let reason = "too many connections".to_owned();
        Err(TransportError { reason, ..TransportError::from(TransportErrorCode::CONNECTION_REFUSED) })
    })
}
