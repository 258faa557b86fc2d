//! The deadlines of an exchange outside its attempts: upload, response body, slow or stalled client, tunnel, lifetime.
//!
//! Each deadline is off, or runs until a time. Back-pressure that Spooky applies to one side stops the deadline of that side.
//! [`super::Attempts`] has the deadlines before the response head; the exchange arms the earlier of both.

use std::time::Duration;

use super::pace::Pace;
use crate::outcome::{Reason, Reset};
use crate::time::Nanos;

/// Timeouts of one upstream that do not belong to attempts.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineOptions {
    /// `client_body_idle_timeout_ms`.
    pub upload_idle: Duration,
    /// `client_stall_timeout_ms`.
    pub client_stall: Duration,
    /// `client_min_rate_bytes_per_sec`; 0 disables it.
    pub client_min_rate: u64,
    /// `backend_body_total_timeout_ms`: from the response head to the first body byte.
    pub first_byte: Duration,
    /// `backend_body_idle_timeout_ms`.
    pub body_idle: Duration,
    /// `tunnel_idle_timeout_ms`.
    pub tunnel_idle: Duration,
    /// `max_stream_lifetime_ms`; `None` is unlimited.
    pub lifetime: Option<Duration>,
}

impl Default for DeadlineOptions {
    fn default() -> Self {
        Self {
            upload_idle: Duration::from_secs(10),
            client_stall: Duration::from_secs(30),
            client_min_rate: 240,
            first_byte: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            tunnel_idle: Duration::from_secs(300),
            lifetime: None,
        }
    }
}

/// Kind of a response, which selects its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Any other body.
    Ordinary,
    /// `text/event-stream` or gRPC: pauses and low rates are normal.
    LongLived,
    /// WebSocket or CONNECT: only the tunnel timeout and the lifetime apply.
    Tunnel,
}

/// What the upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadWait {
    /// The client: all bytes received were read.
    Client,
    /// The backend: its window is full, or it has the whole request.
    Backend,
    /// Spooky: no backend is connected yet, or the budget of request bodies is used up.
    Proxy,
}

/// The deadline that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// No upload bytes within the idle timeout.
    Upload,
    /// The upload was below the minimum rate.
    UploadRate,
    /// No first byte of the response body.
    FirstByte,
    /// No further byte of the response body.
    BodyIdle,
    /// The client accepted nothing of the response.
    ClientStall,
    /// The client accepted the response below the minimum rate.
    DownloadRate,
    /// No progress in a tunnel.
    TunnelIdle,
    /// The exchange exceeded its lifetime.
    Lifetime,
}

impl Expiry {
    /// The timeout, if it is one of the backend's silence.
    pub const fn silence(self, options: &DeadlineOptions) -> Option<Duration> {
        match self {
            Self::FirstByte => Some(options.first_byte),
            Self::BodyIdle => Some(options.body_idle),
            Self::Upload
            | Self::UploadRate
            | Self::ClientStall
            | Self::DownloadRate
            | Self::TunnelIdle
            | Self::Lifetime => None,
        }
    }

    /// The answer if no response has begun; `None` if the deadline runs only after that.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Upload | Self::UploadRate => Some(Reason::BodyIdle),
            Self::Lifetime => Some(Reason::Lifetime),
            Self::FirstByte | Self::BodyIdle | Self::ClientStall | Self::DownloadRate | Self::TunnelIdle => None,
        }
    }

    /// The reset if a response has begun.
    pub const fn reset(self) -> Reset {
        match self {
            Self::Upload => Reset::RequestBodyIdle,
            Self::UploadRate => Reset::RequestBodySlow,
            Self::FirstByte => Reset::FirstByteTimeout,
            Self::BodyIdle => Reset::BodyIdleTimeout,
            Self::ClientStall => Reset::ClientStall,
            Self::DownloadRate => Reset::ClientSlow,
            Self::TunnelIdle => Reset::TunnelIdleTimeout,
            Self::Lifetime => Reset::Lifetime,
        }
    }
}

/// Deadline of the backend for the response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Download {
    /// No response head yet, or the response is complete.
    Off,
    /// The client accepts nothing, so no bytes are expected of the backend. Resumes with this timeout.
    Paused(BackendTimeout),
    Running {
        timeout: BackendTimeout,
        until: Nanos,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BackendTimeout {
    FirstByte,
    BodyIdle,
    TunnelIdle,
}

/// The deadlines of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    upload_wait: UploadWait,
    /// `None` while the upload does not wait for the client.
    upload: Option<Nanos>,
    upload_pace: Pace,
    download: Download,
    /// When the client counts as stalled; `None` if it never does.
    stall: Option<Nanos>,
    is_client_full: bool,
    download_pace: Pace,
    /// Whether the minimum rate applies.
    is_paced: bool,
    lifetime: Nanos,
}

impl Deadlines {
    /// Creates the deadlines of a request whose head arrived at `now`.
    pub fn new(options: &DeadlineOptions, now: Nanos) -> Self {
        let lifetime = options.lifetime.map_or(Nanos::NEVER, |lifetime| now + lifetime);
        Self {
            upload_wait: UploadWait::Proxy,
            upload: None,
            upload_pace: Pace::default(),
            download: Download::Off,
            stall: None,
            is_client_full: false,
            download_pace: Pace::default(),
            is_paced: true,
            lifetime,
        }
    }

    /// Disables the minimum rate if `is_exempt`, as for CONNECT and gRPC.
    #[must_use]
    pub fn without_rate(self, is_exempt: bool) -> Self {
        Self { is_paced: !is_exempt, ..self }
    }

    /// Notes that `read` body bytes were read from the client, and what the upload waits for now. Only body bytes count as
    /// progress, not frames without any.
    pub fn on_upload(&mut self, options: &DeadlineOptions, wait: UploadWait, read: u64, now: Nanos) {
        self.upload_pace.add(read);
        if read > 0 {
            self.on_tunnel_progress(options, now);
        }
        let is_tunnel = self.has_tunnel_timeout();
        let is_new = self.upload_wait != wait;
        self.upload_wait = wait;
        if wait != UploadWait::Client {
            self.upload = None;
            self.upload_pace.stop(now);
        } else if !is_tunnel {
            if read > 0 || is_new || self.upload.is_none() {
                self.upload = Some(now + options.upload_idle);
            }
            self.upload_pace.run(now);
        }
    }

    /// Notes that the final response head was forwarded.
    pub fn on_head(&mut self, options: &DeadlineOptions, kind: BodyKind, now: Nanos) {
        let (timeout, limit) = match kind {
            BodyKind::Ordinary => (BackendTimeout::FirstByte, options.first_byte),
            BodyKind::LongLived | BodyKind::Tunnel => (BackendTimeout::TunnelIdle, options.tunnel_idle),
        };
        if kind != BodyKind::Ordinary {
            self.is_paced = false;
            self.upload = None;
        }
        self.stall = (kind != BodyKind::Tunnel).then_some(now + options.client_stall);
        self.download = Download::Running { timeout, until: now + limit };
    }

    /// Notes that bytes of the response body were received.
    pub fn on_body(&mut self, options: &DeadlineOptions, now: Nanos) {
        match &mut self.download {
            Download::Off => {}
            Download::Paused(timeout) => *timeout = BackendTimeout::BodyIdle,
            Download::Running { timeout: BackendTimeout::TunnelIdle, until } => *until = now + options.tunnel_idle,
            running @ Download::Running { .. } => {
                *running = Download::Running { timeout: BackendTimeout::BodyIdle, until: now + options.body_idle };
            }
        }
    }

    /// Notes the progress of the response to the client: it accepted `taken` body bytes. `has_moved`: it accepted any bytes
    /// at all. `is_waiting`: further body bytes wait for its window.
    pub fn on_client(&mut self, options: &DeadlineOptions, has_moved: bool, taken: u64, is_waiting: bool, now: Nanos) {
        self.download_pace.add(taken);
        if has_moved {
            self.on_tunnel_progress(options, now);
        }
        let was_full = std::mem::replace(&mut self.is_client_full, is_waiting);
        if let Some(until) = &mut self.stall
            && (has_moved || !was_full || !is_waiting)
        {
            *until = now + options.client_stall;
        }
        if is_waiting {
            self.download_pace.run(now);
        } else {
            self.download_pace.stop(now);
        }
        self.download = match self.download {
            Download::Running { timeout: timeout @ (BackendTimeout::FirstByte | BackendTimeout::BodyIdle), .. }
                if is_waiting =>
            {
                Download::Paused(timeout)
            }
            Download::Paused(timeout) if !is_waiting => {
                let limit = if timeout == BackendTimeout::FirstByte { options.first_byte } else { options.body_idle };
                Download::Running { timeout, until: now + limit }
            }
            unchanged => unchanged,
        };
    }

    /// Restarts the stall timeout, because it passed while nothing waited for the client.
    pub fn on_nothing_waits(&mut self, options: &DeadlineOptions, now: Nanos) {
        self.on_client(options, false, 0, false, now);
    }

    /// Notes that the response of the backend is complete. The client's deadlines go on.
    pub fn on_body_end(&mut self) {
        self.download = Download::Off;
    }

    fn has_tunnel_timeout(&self) -> bool {
        matches!(self.download, Download::Running { timeout: BackendTimeout::TunnelIdle, .. })
    }

    fn on_tunnel_progress(&mut self, options: &DeadlineOptions, now: Nanos) {
        if let Download::Running { timeout: BackendTimeout::TunnelIdle, until } = &mut self.download {
            *until = now + options.tunnel_idle;
        }
    }

    /// Returns the earliest deadline; [`Nanos::NEVER`] if none runs.
    pub fn next(&self, options: &DeadlineOptions) -> (Nanos, Expiry) {
        let rate = if self.is_paced { options.client_min_rate } else { 0 };
        let download = match self.download {
            Download::Running { timeout: BackendTimeout::FirstByte, until } => (until, Expiry::FirstByte),
            Download::Running { timeout: BackendTimeout::BodyIdle, until } => (until, Expiry::BodyIdle),
            Download::Running { timeout: BackendTimeout::TunnelIdle, until } => (until, Expiry::TunnelIdle),
            Download::Off | Download::Paused(_) => (Nanos::NEVER, Expiry::Lifetime),
        };
        let all = [
            (self.lifetime, Expiry::Lifetime),
            (self.upload.unwrap_or(Nanos::NEVER), Expiry::Upload),
            (self.upload_pace.deadline(rate), Expiry::UploadRate),
            download,
            (self.stall.unwrap_or(Nanos::NEVER), Expiry::ClientStall),
            (self.download_pace.deadline(rate), Expiry::DownloadRate),
        ];
        all.into_iter().min_by_key(|&(until, _)| until).unwrap_or((Nanos::NEVER, Expiry::Lifetime))
    }
}

#[cfg(test)]
mod tests;
