//! The probe of one backend: its request, its schedule, and the probe in progress, at most one at a time.

use crate::{
    exchange::kind_of,
    snapshot::{CompiledUpstream, probe_options},
};
use spooky_bridge::message::{Fields, Known, Method, RequestHead};
use spooky_config::HealthCheck;
use spooky_lb::{
    attempt::FailureKind,
    health::{Health, Prober, Transition},
    rng::Rng,
    time::Nanos,
};
use spooky_transport::{BackendId, BackendSpec, Failure, RequestHandle, Transport};
use std::{
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

const USER_AGENT: &str = concat!("spooky-health/", env!("CARGO_PKG_VERSION"));

struct RunningProbe {
    handle: RequestHandle,
    tag: u64,
    until: Instant,
}

pub(super) enum ProbeFailure {
    /// The status is not in `expected_status`.
    Status(u16),
    /// With the reason in words if no connection can be made: it is more precise.
    Transport(Failure, Option<Rc<str>>),
    Timeout(Duration),
    Unsent,
}

impl ProbeFailure {
    /// Returns what has failed, or `None` after a response with another status than expected.
    pub(super) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Status(_) => None,
            Self::Transport(failure, _) => Some(kind_of(failure)),
            Self::Timeout(_) => Some(FailureKind::ResponseTimeout),
            Self::Unsent => Some(FailureKind::Unreachable),
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(out, "unexpected status {status}"),
            Self::Transport(_, Some(reason)) => out.write_str(reason),
            Self::Transport(failure, None) => write!(out, "{}", failure.kind),
            Self::Timeout(timeout) => write!(out, "no answer within {} ms", timeout.as_millis()),
            Self::Unsent => out.write_str("too many connections"),
        }
    }
}

pub(super) struct BackendProbe {
    /// Never reused.
    pub(super) id: u32,
    /// The indexes of upstream and backend in the current snapshot.
    pub(super) of: (usize, usize),
    pub(super) backend: BackendId,
    /// Set while no connection can be made: the reason.
    pub(super) unreachable: Option<Rc<str>>,
    pub(super) target: Target,
    prober: Prober,
    running: Option<RunningProbe>,
    serial: u32,
    /// Whether there is a first result.
    is_known: bool,
}

/// What is probed and how. If a reload does not change it, the probe continues.
pub(super) struct Target {
    /// The upstream's name and the backend's address as written in the file.
    pub(super) name: (String, String),
    pub(super) head: RequestHead,
    pub(super) check: HealthCheck,
    pub(super) spec: BackendSpec,
}

impl Target {
    pub(super) fn new(
        name: (String, String),
        check: &HealthCheck,
        upstream: &CompiledUpstream,
        backend: usize,
        own: &str,
    ) -> Option<Self> {
        let spec = upstream.backends.get(backend)?;
        Some(Self {
            name,
            head: head(check, upstream, backend, own),
            check: check.clone(),
            spec: BackendSpec { connect_timeout: check.timeout_ms, ..spec.clone() },
        })
    }

    pub(super) fn is_same_check(&self, other: &Self) -> bool {
        self.check == other.check
            && self.head.authority() == other.head.authority()
            && self.spec.is_same_origin(&other.spec)
    }
}

impl BackendProbe {
    pub(super) fn new(
        id: u32,
        of: (usize, usize),
        backend: BackendId,
        target: Target,
        now: Nanos,
        rng: &mut Rng,
    ) -> Self {
        Self {
            id,
            of,
            backend,
            unreachable: None,
            prober: Prober::new(probe_options(&target.check), now, rng),
            target,
            running: None,
            serial: 0,
            is_known: false,
        }
    }

    /// Changes the indexes.
    pub(super) fn with_position(self, of: (usize, usize)) -> Self {
        Self { of, ..self }
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Returns when the probe times out, or when the next one starts.
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

    /// Converts a status or a failure to the result of the probe.
    pub(super) fn evaluate(&self, status: Result<u16, Failure>) -> Result<u16, ProbeFailure> {
        let is_expected = |status| self.target.check.expected_status.iter().any(|range| range.contains(status));
        match status {
            Ok(status) if is_expected(status) => Ok(status),
            Ok(status) => Err(ProbeFailure::Status(status)),
            Err(failure) => Err(ProbeFailure::Transport(failure, self.unreachable.clone())),
        }
    }

    /// Sends a probe. Returns false if that is impossible.
    pub(super) fn start(&mut self, transport: &mut Transport, rng: &mut Rng, now: Instant, at: Nanos) -> bool {
        self.prober.on_start(at, rng);
        self.serial = self.serial.wrapping_add(1);
        let tag = u64::from(self.serial) << 32 | u64::from(self.id);
        let sent = transport.request(self.backend, &self.target.head, true, tag, now);
        self.running = sent.ok().map(|handle| RunningProbe { handle, tag, until: now + self.target.check.timeout_ms });
        self.running.is_some()
    }

    /// Ends the probe in progress. The caller must reset its request.
    pub(super) fn stop(&mut self) -> Option<RequestHandle> {
        self.running.take().map(|running| running.handle)
    }

    /// Records a result. Returns the change of health, and whether this was the first result.
    pub(super) fn record_result(
        &mut self,
        health: &Health,
        is_success: bool,
        now: Nanos,
    ) -> (Option<Transition>, bool) {
        let is_first = !std::mem::replace(&mut self.is_known, true);
        (self.prober.on_result(health, is_success, now), is_first)
    }
}

fn head(check: &HealthCheck, upstream: &CompiledUpstream, backend: usize, own: &str) -> RequestHead {
    let authority = check.host.as_ref().map(String::as_bytes);
    let authority = authority.or_else(|| upstream.authority(backend)).unwrap_or(own.as_bytes());
    let mut fields = Fields::new();
    fields.push(Known::Method, b"GET");
    fields.push(Known::Scheme, upstream.scheme(backend).as_bytes());
    fields.push(Known::Authority, authority);
    fields.push(Known::Path, check.path.as_bytes());
    fields.push(Known::UserAgent, USER_AGENT.as_bytes());
    RequestHead { fields, method: Method::Get, content_length: None }
}
