//! The probes of one backend: its request, its schedule, the probe that runs.
//!
//! One probe of a backend at a time; one that is late is over before the next begins.

use crate::snapshot::{Upstream, probe_options};
use spooky_bridge::message::{Fields, Known, Method, RequestHead};
use spooky_config::{HealthCheck, StatusRange};
use spooky_lb::{
    health::{Health, Prober, Transition},
    rng::Rng,
    time::Nanos,
};
use spooky_transport::{BackendId, RequestHandle, Transport};
use std::time::{Duration, Instant};

/// What probes call themselves.
const USER_AGENT: &str = concat!("spooky-health/", env!("CARGO_PKG_VERSION"));

/// A probe on its way.
struct Running {
    handle: RequestHandle,
    tag: u64,
    until: Instant,
}

/// A backend that is probed.
pub(super) struct Watch {
    /// Its upstream and its number there.
    pub(super) of: (usize, usize),
    place: BackendId,
    head: RequestHead,
    timeout: Duration,
    expected: Vec<StatusRange>,
    prober: Prober,
    running: Option<Running>,
    serial: u32,
    /// The result of at least one probe is known.
    is_known: bool,
}

impl Watch {
    pub(super) fn new(
        of: (usize, usize),
        place: BackendId,
        head: RequestHead,
        check: &HealthCheck,
        now: Nanos,
        rng: &mut Rng,
    ) -> Self {
        Self {
            of,
            place,
            head,
            timeout: check.timeout_ms,
            expected: check.expected_status.clone(),
            prober: Prober::new(probe_options(check), now, rng),
            running: None,
            serial: 0,
            is_known: false,
        }
    }

    /// When something is to be done for it.
    pub(super) fn due(&self, epoch: Instant) -> Option<Instant> {
        match &self.running {
            Some(running) => Some(running.until),
            None => self.prober.due().to_instant(epoch),
        }
    }

    pub(super) fn is_due(&self, now: Nanos) -> bool {
        self.running.is_none() && self.prober.due() <= now
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.running.as_ref().is_some_and(|running| running.until <= now)
    }

    pub(super) fn is_running(&self, tag: u64) -> bool {
        self.running.as_ref().is_some_and(|running| running.tag == tag)
    }

    pub(super) fn expects(&self, status: u16) -> bool {
        self.expected.iter().any(|range| range.contains(status))
    }

    /// Sends a probe; false if that is impossible.
    pub(super) fn start(
        &mut self,
        index: usize,
        transport: &mut Transport,
        rng: &mut Rng,
        now: Instant,
        at: Nanos,
    ) -> bool {
        self.prober.on_start(at, rng);
        self.serial = self.serial.wrapping_add(1);
        let tag = u64::from(self.serial) << 32 | index as u64;
        let sent = transport.request(self.place, &self.head, true, tag, now);
        self.running = sent.ok().map(|handle| Running { handle, tag, until: now + self.timeout });
        self.running.is_some()
    }

    /// The probe is over; what is left of it is to be reset.
    pub(super) fn stop(&mut self) -> Option<RequestHandle> {
        self.running.take().map(|running| running.handle)
    }

    /// What the result of a probe changes, and whether it was the first.
    pub(super) fn judge(&mut self, health: &Health, is_success: bool, now: Nanos) -> (Option<Transition>, bool) {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        (self.prober.on_result(health, is_success, now), is_first)
    }
}

/// The request of a probe.
pub(super) fn head(check: &HealthCheck, upstream: &Upstream, backend: usize, own: &str) -> RequestHead {
    let authority = check.host.as_ref().map(String::as_bytes);
    let authority = authority.or_else(|| upstream.authority(backend)).unwrap_or(own.as_bytes());
    let mut fields = Fields::new();
    fields.push(Known::Method, b"GET");
    fields.push(Known::Scheme, upstream.scheme(backend));
    fields.push(Known::Authority, authority);
    fields.push(Known::Path, check.path.as_bytes());
    fields.push(Known::UserAgent, USER_AGENT.as_bytes());
    RequestHead { fields, method: Method::Get, content_length: None }
}
