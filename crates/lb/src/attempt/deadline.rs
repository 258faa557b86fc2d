//! The deadlines of an exchange outside its attempts: upload, response body, tunnel, lifetime (behaviour 6).
//!
//! Phases as data: each is off, or runs until a time. A pause that Spooky causes by back-pressure stops the clock it
//! would count on. [`super::Attempt`] has the deadlines before response headers; the exchange arms the earlier of both.

use std::time::Duration;

use crate::outcome::{Reason, Reset};
use crate::time::Nanos;

/// The timeouts of one upstream that are not the attempt's.
#[derive(Clone, Copy, Debug)]
pub struct PhaseOptions {
    /// `client_body_idle_timeout_ms`.
    pub upload_idle: Duration,
    /// `backend_body_total_timeout_ms`: first body byte after response headers.
    pub first_byte: Duration,
    /// `backend_body_idle_timeout_ms`.
    pub body_idle: Duration,
    /// `tunnel_idle_timeout_ms`.
    pub tunnel_idle: Duration,
    /// `max_stream_lifetime_ms`; `None` is unlimited.
    pub lifetime: Option<Duration>,
}

impl Default for PhaseOptions {
    fn default() -> Self {
        Self {
            upload_idle: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            body_idle: Duration::from_secs(2),
            tunnel_idle: Duration::from_secs(300),
            lifetime: None,
        }
    }
}

/// What a response is, as far as its silences are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A body that ends.
    Ordinary,
    /// WebSocket, CONNECT, `text/event-stream` or gRPC: only the tunnel timeout applies, and either direction feeds it.
    Tunnel,
}

/// What was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The rest of the upload.
    Upload,
    /// The first byte of the response body.
    FirstByte,
    /// The next byte of the response body.
    BodyIdle,
    /// Any sign of life in a tunnel.
    TunnelIdle,
    /// The end of the exchange.
    Lifetime,
}

impl Expiry {
    /// The answer while no response has begun; `None` where one must have.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Upload => Some(Reason::BodyIdle),
            Self::Lifetime => Some(Reason::Lifetime),
            Self::FirstByte | Self::BodyIdle | Self::TunnelIdle => None,
        }
    }

    /// How the exchange is cut off once a response has begun.
    pub const fn reset(self) -> Reset {
        match self {
            Self::Upload => Reset::RequestBodyIdle,
            Self::FirstByte => Reset::FirstByteTimeout,
            Self::BodyIdle => Reset::BodyIdleTimeout,
            Self::TunnelIdle => Reset::TunnelIdleTimeout,
            Self::Lifetime => Reset::Lifetime,
        }
    }
}

/// The response side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    /// No response headers, or all is over.
    Off,
    /// The client has no room: nobody is to blame. The phase that goes on when it has.
    Paused(Phase),
    /// The backend's turn.
    Running { phase: Phase, until: Nanos },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    FirstByte,
    Body,
    Tunnel,
}

/// The deadlines of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// `None` while it is not the client's turn to send.
    upload: Option<Nanos>,
    download: Download,
    lifetime: Nanos,
}

impl Deadlines {
    /// For a request whose head arrived at `now`.
    pub fn new(options: &PhaseOptions, now: Nanos) -> Self {
        let lifetime = options.lifetime.map_or(Nanos::NEVER, |lifetime| now + lifetime);
        Self { upload: None, download: Download::Off, lifetime }
    }

    /// Spooky is ready for body bytes: at the start of an upload, after each byte, and after a pause of its own.
    pub fn on_upload_wanted(&mut self, options: &PhaseOptions, now: Nanos) {
        match &mut self.download {
            Download::Running { phase: Phase::Tunnel, until } => *until = now + options.tunnel_idle,
            Download::Paused(Phase::Tunnel) => {}
            _ => self.upload = Some(now + options.upload_idle),
        }
    }

    /// The upload is over, or Spooky itself is not ready for more.
    pub fn on_upload_unwanted(&mut self) {
        self.upload = None;
    }

    /// Whether the client is to send more, so that the backend cannot be blamed for its silence.
    pub fn awaits_upload(&self) -> bool {
        self.upload.is_some()
    }

    /// Final response headers came.
    pub fn on_head(&mut self, options: &PhaseOptions, kind: BodyKind, now: Nanos) {
        let (phase, limit) = match kind {
            BodyKind::Ordinary => (Phase::FirstByte, options.first_byte),
            BodyKind::Tunnel => (Phase::Tunnel, options.tunnel_idle),
        };
        if kind == BodyKind::Tunnel {
            self.upload = None;
        }
        self.download = Download::Running { phase, until: now + limit };
    }

    /// Response bytes came, or the client has room again.
    pub fn on_body(&mut self, options: &PhaseOptions, now: Nanos) {
        let (phase, limit) = match self.download {
            Download::Off => return,
            Download::Running { phase: Phase::Tunnel, .. } | Download::Paused(Phase::Tunnel) => {
                (Phase::Tunnel, options.tunnel_idle)
            }
            Download::Paused(Phase::FirstByte) => (Phase::FirstByte, options.first_byte),
            Download::Running { .. } | Download::Paused(Phase::Body) => (Phase::Body, options.body_idle),
        };
        self.download = Download::Running { phase, until: now + limit };
    }

    /// The client takes no more for now.
    pub fn on_client_full(&mut self) {
        if let Download::Running { phase, .. } = self.download {
            self.download = Download::Paused(phase);
        }
    }

    /// The response has arrived completely.
    pub fn on_body_end(&mut self) {
        self.download = Download::Off;
    }

    /// The nearest deadline; [`Nanos::NEVER`] if none runs.
    pub fn next(&self) -> (Nanos, Expiry) {
        let upload = self.upload.map(|until| (until, Expiry::Upload));
        let download = match self.download {
            Download::Running { phase: Phase::FirstByte, until } => Some((until, Expiry::FirstByte)),
            Download::Running { phase: Phase::Body, until } => Some((until, Expiry::BodyIdle)),
            Download::Running { phase: Phase::Tunnel, until } => Some((until, Expiry::TunnelIdle)),
            Download::Off | Download::Paused(_) => None,
        };
        let running = [upload, download].into_iter().flatten().min_by_key(|&(until, _)| until);
        running.filter(|&(until, _)| until <= self.lifetime).unwrap_or((self.lifetime, Expiry::Lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn phases_follow_one_another() {
        let options = PhaseOptions::default();
        let mut deadlines = Deadlines::new(&options, AT(0));
        assert_eq!(deadlines.next().0, Nanos::NEVER);
        deadlines.on_upload_wanted(&options, AT(100));
        assert_eq!(deadlines.next(), (AT(10_100), Expiry::Upload));
        deadlines.on_upload_unwanted();
        deadlines.on_head(&options, BodyKind::Ordinary, AT(200));
        assert_eq!(deadlines.next(), (AT(30_200), Expiry::FirstByte));
        deadlines.on_body(&options, AT(300));
        assert_eq!(deadlines.next(), (AT(2300), Expiry::BodyIdle));
        deadlines.on_body_end();
        assert_eq!(deadlines.next().0, Nanos::NEVER);
    }

    #[test]
    fn back_pressure_stops_the_clock_and_room_starts_it_anew() {
        let options = PhaseOptions::default();
        let mut deadlines = Deadlines::new(&options, AT(0));
        deadlines.on_head(&options, BodyKind::Ordinary, AT(0));
        deadlines.on_body(&options, AT(1));
        deadlines.on_client_full();
        assert_eq!(deadlines.next().0, Nanos::NEVER);
        deadlines.on_body(&options, AT(60_000));
        assert_eq!(deadlines.next(), (AT(62_000), Expiry::BodyIdle));
    }

    #[test]
    fn either_direction_keeps_a_tunnel_open() {
        let options = PhaseOptions::default();
        let mut deadlines = Deadlines::new(&options, AT(0));
        deadlines.on_head(&options, BodyKind::Tunnel, AT(0));
        assert_eq!(deadlines.next(), (AT(300_000), Expiry::TunnelIdle));
        deadlines.on_body(&options, AT(10));
        assert_eq!(deadlines.next(), (AT(300_010), Expiry::TunnelIdle));
        deadlines.on_upload_wanted(&options, AT(20));
        assert_eq!(deadlines.next(), (AT(300_020), Expiry::TunnelIdle));
    }

    #[test]
    fn the_lifetime_ends_everything() {
        let options = PhaseOptions { lifetime: Some(Duration::from_secs(1)), ..Default::default() };
        let mut deadlines = Deadlines::new(&options, AT(0));
        deadlines.on_head(&options, BodyKind::Ordinary, AT(0));
        assert_eq!(deadlines.next(), (AT(1000), Expiry::Lifetime));
        assert_eq!(Expiry::Lifetime.reason(), Some(Reason::Lifetime));
        assert_eq!(Expiry::BodyIdle.reason(), None);
        assert_eq!(Expiry::Upload.reset(), Reset::RequestBodyIdle);
    }
}
