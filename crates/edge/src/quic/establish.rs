//! A connection's place in the process, taken at the moment at which its handshake completes.
//!
//! Only TLS can refuse a client there as RFC 9000 section 20.1 wants it: an error that it reports ends the connection with its
//! code, `CONNECTION_REFUSED`, while quinn-proto's `close` sends codes of the application. The session is quinn-proto's and has
//! no way to the edge, so what it asks for lies in the thread. Called by `conn` and by the TLS session in `trim_padding`.

use crate::{ConnectionLimiter, LimiterSlot};
use quinn_proto::{TransportError, TransportErrorCode};
use std::{cell::RefCell, net::IpAddr, sync::Arc};

thread_local! {
    /// The connection that this thread processes, if it has no place.
    static CURRENT: RefCell<Option<Candidate>> = const { RefCell::new(None) };
}

/// A connection without a place.
struct Candidate {
    limiter: Arc<dyn ConnectionLimiter>,
    client: IpAddr,
    slot: Option<LimiterSlot>,
}

/// Lets `process` run, which may complete the handshake of a connection without a place. Returns the place that it then took.
pub(super) fn while_processing(
    limiter: &Arc<dyn ConnectionLimiter>,
    client: IpAddr,
    process: impl FnOnce(),
) -> Option<LimiterSlot> {
    CURRENT.set(Some(Candidate { limiter: limiter.clone(), client, slot: None }));
    process();
    CURRENT.take().and_then(|candidate| candidate.slot)
}

/// A handshake is complete. Fails if its connection has no place and there is none left.
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
