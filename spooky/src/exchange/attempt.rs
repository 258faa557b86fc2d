//! The hands of `lb::attempt`: what the machine decides is done here, what happens is told to it.

use super::{
    Exchanges, Sides,
    end::Outcome,
    log,
    state::{Exchange, Response},
    tag_of,
};
use spooky_bridge::message::{ResetReason, rewrite};
use spooky_lb::{
    attempt::{Attempt, Cx, ErrorCode, FailureKind as Kind, SlotId, Step},
    outcome::Reason,
    rng::Rng,
    time::Nanos,
};
use spooky_transport::{Failure, FailureKind, Processed, Unsent};

impl Exchanges {
    /// Asks the machine of an exchange.
    pub(super) fn ask<T>(
        &mut self,
        sides: &Sides<'_>,
        key: usize,
        question: impl FnOnce(&mut Attempt, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let now = self.nanos(sides.now);
        self.table.get_mut(key)?.ask(now, self.clock.rng(), question)
    }

    /// Does what the machine says until it waits.
    pub(super) fn perform(&mut self, sides: &mut Sides<'_>, key: usize, first: Option<Step>) {
        let mut next = first;
        while let Some(step) = next {
            next = match step {
                Step::Start { slot, backend } | Step::Hedge { slot, backend } | Step::Resend { slot, backend } => {
                    self.send_to(sides, key, slot, backend)
                }
                Step::Cancel { slot } => {
                    self.cancel(sides, key, slot);
                    self.ask(sides, key, Attempt::next)
                }
                Step::Full => return self.wait_for_backend(sides, key, false),
                Step::ClientFull => return self.wait_for_backend(sides, key, true),
                Step::Answer(reason) => return self.give_up(sides, key, reason),
                Step::Wait | Step::Done => None,
            };
        }
        self.pause_upload(sides, key);
        self.arm(key);
    }

    /// The machine has no way on.
    fn give_up(&mut self, sides: &mut Sides<'_>, key: usize, reason: Reason) {
        if reason == Reason::NoHealthyBackend
            && let Some(exchange) = self.table.get(key)
        {
            exchange.snapshot.log_unhealthy(exchange.upstream, sides.now);
        }
        self.end(sides, key, Outcome::Answer(reason));
    }

    /// Sends the request to a backend. Gives the next step if that fails at once.
    fn send_to(&mut self, sides: &mut Sides<'_>, key: usize, slot: SlotId, backend: usize) -> Option<Step> {
        let exchange = self.table.get_mut(key)?;
        let id = exchange.snapshot.backend_id(exchange.upstream, backend);
        let compiled = exchange.snapshot.upstreams.get(exchange.upstream)?;
        rewrite::retarget(&mut exchange.head, compiled.scheme(backend), compiled.authority(backend));
        exchange.upload.rewind();
        let tag = tag_of(key, exchange.serial, slot);
        let end = exchange.upload.is_absent;
        let request = match id {
            Some(id) => sides.transport.request(id, &exchange.head, end, tag, sides.now),
            None => Err(Unsent::UnknownBackend),
        };
        match request {
            Ok(handle) => {
                log::selected(exchange, backend);
                let is_waiting = sides.transport.is_waiting(handle);
                if let Some(place) = exchange.handle(slot) {
                    *place = Some(handle);
                }
                if !is_waiting {
                    self.on_sent(sides, key, slot);
                }
                None
            }
            Err(unsent) => {
                let reason = match unsent {
                    Unsent::UnknownBackend => Reason::InvalidBackend,
                    Unsent::QueueFull => Reason::BackendInflight,
                    Unsent::HeadersTooLarge => Reason::HeadersTooLarge,
                    Unsent::Stopped => Reason::Internal,
                };
                let sent = exchange.upload.sent(true);
                self.ask(sides, key, |attempt, cx| attempt.on_failure(cx, slot, Kind::Local(reason), sent))
            }
        }
    }

    /// The request is on a connection.
    pub(super) fn on_sent(&mut self, sides: &mut Sides<'_>, key: usize, slot: SlotId) {
        if let Some(exchange) = self.table.get_mut(key)
            && let Some(handle) = exchange.handle(slot).and_then(|place| *place)
        {
            exchange.size_window(sides, handle);
        }
        self.ask(sides, key, |attempt, cx| attempt.on_sent(cx, slot));
        self.pump_upload(sides, key);
        self.arm(key);
    }

    /// Resets the backend stream of an attempt.
    pub(super) fn cancel(&mut self, sides: &mut Sides<'_>, key: usize, slot: SlotId) {
        let handle = self.table.get_mut(key).and_then(|exchange| exchange.handle(slot)?.take());
        if let Some(handle) = handle {
            sides.transport.reset(handle, ResetReason::Cancelled);
        }
    }

    /// An attempt has failed.
    pub(super) fn on_failed(&mut self, sides: &mut Sides<'_>, key: usize, slot: SlotId, failure: &Failure) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        if let Some(handle) = exchange.handle(slot) {
            *handle = None;
        }
        if matches!(exchange.response, Response::Awaited) {
            log::failed(exchange, slot, "send", failure, sides.now);
            let kind = kind_of(failure);
            let sent = exchange.upload.sent(failure.processed == Processed::No);
            let step = self.ask(sides, key, |attempt, cx| attempt.on_failure(cx, slot, kind, sent));
            self.perform(sides, key, step);
        } else {
            log::failed(exchange, slot, "body", failure, sides.now);
            self.end(sides, key, Outcome::broken_off(failure));
        }
    }
}

impl Exchange {
    /// Asks the machine, and logs what its answer has changed about the backends' health.
    pub(super) fn ask<T>(
        &mut self,
        now: Nanos,
        rng: &mut Rng,
        question: impl FnOnce(&mut Attempt, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let Self { snapshot, upstream: number, attempt, .. } = self;
        let mut upstream = snapshot.upstream(*number)?;
        let answer = question(attempt, &mut Cx { now, upstream: &mut upstream, rng });
        snapshot.log_transitions(*number, &mut upstream);
        Some(answer)
    }
}

/// What a failure of the transport means to the machine.
pub(super) fn kind_of(failure: &Failure) -> Kind {
    let is_unprocessed = failure.processed == Processed::No;
    match failure.kind {
        // It waited for a connection, and that ended before it took requests.
        FailureKind::GoAway
        | FailureKind::ConnectionLost(_)
        | FailureKind::Ended(_)
        | FailureKind::KeepaliveTimeout
        | FailureKind::Protocol(_)
            if failure.connection == 0 =>
        {
            Kind::Unreachable
        }
        FailureKind::GoAway => Kind::Unprocessed,
        FailureKind::ConnectionLost(_) | FailureKind::Ended(_) | FailureKind::KeepaliveTimeout if is_unprocessed => {
            Kind::Unprocessed
        }
        FailureKind::Dns => Kind::Dns,
        FailureKind::Refused => Kind::ConnectRefused,
        FailureKind::ConnectTimeout => Kind::ConnectTimeout,
        FailureKind::Unreachable => Kind::Unreachable,
        FailureKind::TlsCertificate => Kind::Certificate,
        FailureKind::TlsProtocol | FailureKind::NoCommonProtocol => Kind::Tls,
        FailureKind::Reset(_) if is_unprocessed => Kind::RefusedStream,
        FailureKind::Reset(_) => Kind::Reset(error_code(failure)),
        FailureKind::Ended(_) if failure.reset_reason() != Some(ResetReason::Internal) => Kind::ConnectionRejected,
        FailureKind::Malformed(_) => Kind::Malformed,
        FailureKind::ResponseHeadersTooLarge => Kind::HeadersTooLarge,
        FailureKind::RequestHeadersTooLarge => Kind::Local(Reason::HeadersTooLarge),
        FailureKind::ConnectionLost(_)
        | FailureKind::Ended(_)
        | FailureKind::KeepaliveTimeout
        | FailureKind::Protocol(_) => Kind::ConnectionLost(failure.connection),
        _ => Kind::Local(Reason::Internal),
    }
}

/// Who caused a reset, by what the backend said.
fn error_code(failure: &Failure) -> ErrorCode {
    match failure.reset_reason() {
        Some(ResetReason::Internal) => ErrorCode::Internal,
        Some(
            ResetReason::Protocol | ResetReason::ExcessiveLoad | ResetReason::VersionFallback | ResetReason::Cancelled,
        ) => ErrorCode::Rejected,
        Some(ResetReason::NoError | ResetReason::Refused | ResetReason::Other) | None => ErrorCode::Other,
    }
}
