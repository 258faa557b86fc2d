//! `log`: the general log and the access log.

use std::path::PathBuf;

use crate::spec::block::block;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};

const LEVEL: Text = text("Invalid log level: <v>")
    .hint("use whisper, haunt, spooky, scream, poltergeist or silence, or a standard level");
const SAMPLE_RATIO: Text = text("<key> must be between 0.0 and 1.0");
const FIELD: Text = text("<list> contains an unknown field '<f>'");

keywords! {
    /// Log level, with two names for each.
    pub enum LogLevel {
        /// QUIC internals.
        Trace = ["whisper", "trace"],
        /// Routing, backend selection, single probes.
        Debug = ["haunt", "debug"],
        /// Start, stop, reload, recovered backends, access lines.
        Info = ["spooky", "info"],
        /// Unhealthy backends, degraded states.
        Warn = ["scream", "warn"],
        /// Errors that cannot be recovered.
        Error = ["poltergeist", "error"],
        /// Nothing.
        Off = ["silence", "off"],
    }
}

keywords! {
    /// Format of log lines.
    pub enum LogFormat {
        /// Text for people.
        Plain = ["plain"],
        /// One JSON object per line.
        Json = ["json"],
    }
}

keywords! {
    /// A field of the access line.
    pub enum AccessField {
        /// `x-request-id`.
        RequestId = ["request_id"],
        /// Trace id.
        TraceId = ["trace_id"],
        /// Span id.
        SpanId = ["span_id"],
        /// Method.
        Method = ["method"],
        /// Path and query.
        Path = ["path"],
        /// Status sent to the client.
        Status = ["status"],
        /// Backend address.
        Backend = ["backend"],
        /// Upstream name.
        Upstream = ["upstream"],
        /// Time from the request head to the end of the response.
        LatencyMs = ["latency_ms"],
        /// Number of further attempts.
        Retries = ["retries"],
        /// Client address and port.
        Client = ["client"],
        /// Protocol of the client.
        Protocol = ["protocol"],
        /// The request's host.
        Host = ["host"],
        /// Request body bytes.
        BytesIn = ["bytes_in"],
        /// Response body bytes.
        BytesOut = ["bytes_out"],
        /// Time spent waiting for permits.
        QueueMs = ["queue_ms"],
        /// Time spent connecting to the backend.
        ConnectMs = ["connect_ms"],
        /// Time until the response head was sent to the client.
        TtfbMs = ["ttfb_ms"],
        /// Time from sending the request to the backend until its response head.
        UpstreamMs = ["upstream_ms"],
        /// Number of attempts.
        Attempts = ["attempts"],
        /// Whether a hedged attempt answered.
        Hedged = ["hedged"],
        /// Why the request was refused or ended.
        Reason = ["reason"],
        /// The client's user agent.
        UserAgent = ["user_agent"],
        /// Kind of failure.
        Error = ["error"],
    }
}

impl AccessField {
    /// All fields, in the order of the line.
    pub const ALL: [Self; 24] = [
        Self::RequestId,
        Self::TraceId,
        Self::SpanId,
        Self::Method,
        Self::Path,
        Self::Status,
        Self::Backend,
        Self::Upstream,
        Self::LatencyMs,
        Self::Retries,
        Self::Client,
        Self::Protocol,
        Self::Host,
        Self::BytesIn,
        Self::BytesOut,
        Self::QueueMs,
        Self::ConnectMs,
        Self::TtfbMs,
        Self::UpstreamMs,
        Self::Attempts,
        Self::Hedged,
        Self::Reason,
        Self::UserAgent,
        Self::Error,
    ];
}

block! {
    /// The log goes to stderr by default. Configuration problems are printed even with `level: silence`.
    pub struct Log {
        /// Lowest level that is logged, by either name: `whisper` trace, `haunt` debug, `spooky` info, `scream` warn,
        /// `poltergeist` error, `silence` off.
        level: LogLevel = LogLevel::Info, invalid(LEVEL), default("`info`");
        /// Format of the lines.
        format: LogFormat = LogFormat::Plain, restart();
        /// Native journal protocol instead of stderr.
        journald: bool = false, restart();
        /// A file instead of stderr.
        file: LogFile = LogFile { enabled: false, ..LogFile::default() }, restart();
        /// One line per request.
        access: AccessLog => AccessLog { format, ..AccessLog::default() };
        /// One line per QUIC or TCP connection at its end.
        connections: bool = false;
        /// Directory for one qlog file per connection.
        qlog_dir: Option<PathBuf> = None, restart();
    }
}

block! {
    /// A log file.
    pub struct LogFile standalone {
        /// Whether the file is used.
        enabled: bool = true, default("`true` when `file` is written, else `false`");
        /// Path of the file. The parent directory is created. If the file cannot be opened, Spooky logs to stderr and reports
        /// the error there.
        path: PathBuf = PathBuf::from("/var/log/spooky/spooky.log");
    }
}

block! {
    /// The access log.
    pub struct AccessLog {
        /// Whether it is written.
        enabled: bool = true;
        /// Format of the lines.
        format: LogFormat = LogFormat::Plain, default("`log.format`");
        /// A separate file instead of the general log.
        file: Option<PathBuf> = None;
        /// Fraction of responses with a status below 400 that are logged.
        sample_ratio: f64 = 1.0, fraction(|ratio| (0.0..=1.0).contains(&ratio), SAMPLE_RATIO);
        /// Fields of a line, in this order.
        fields: Vec<AccessField> = AccessField::ALL.to_vec(), invalid(FIELD), default("all");
    }
}
