//! `log`: the general log and the access log.

use std::path::PathBuf;

use crate::spec::block::block;
use crate::spec::text::{Text, text};
use crate::spec::words::words;

const LEVEL: Text = text("Invalid log level: <v>")
    .hint("use whisper, haunt, spooky, scream, poltergeist or silence, or a standard level");
const SAMPLE_RATIO: Text = text("<key> must be between 0.0 and 1.0");
const FIELD: Text = text("<list> contains an unknown field '<f>'");

words! {
    /// How much is logged, by either vocabulary.
    pub enum LogLevel {
        /// QUIC internals.
        Trace = ["whisper", "trace"],
        /// Routing, backend selection, single probes.
        Debug = ["haunt", "debug"],
        /// Start, stop, reload, recovered backends, access lines.
        Info = ["spooky", "info"],
        /// Unhealthy backends, degraded states.
        Warn = ["scream", "warn"],
        /// What cannot be recovered.
        Error = ["poltergeist", "error"],
        /// Nothing.
        Off = ["silence", "off"],
    }
}

words! {
    /// The form of log lines.
    pub enum LogFormat {
        /// Text for people.
        Plain = ["plain"],
        /// One JSON object a line.
        Json = ["json"],
    }
}

words! {
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
        /// What the client got.
        Status = ["status"],
        /// Backend address.
        Backend = ["backend"],
        /// Upstream name.
        Upstream = ["upstream"],
        /// Request head to the end of the response.
        LatencyMs = ["latency_ms"],
        /// Further attempts.
        Retries = ["retries"],
        /// Client address and port.
        Client = ["client"],
        /// What the client spoke.
        Protocol = ["protocol"],
        /// The request's host.
        Host = ["host"],
        /// Request body bytes.
        BytesIn = ["bytes_in"],
        /// Response body bytes.
        BytesOut = ["bytes_out"],
        /// Waiting for permits.
        QueueMs = ["queue_ms"],
        /// Connecting to the backend.
        ConnectMs = ["connect_ms"],
        /// To the response head sent to the client.
        TtfbMs = ["ttfb_ms"],
        /// Request sent to response head, at the backend.
        UpstreamMs = ["upstream_ms"],
        /// Attempts made.
        Attempts = ["attempts"],
        /// Whether the answer came from a hedge.
        Hedged = ["hedged"],
        /// Why it was refused or ended.
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
        level: LogLevel = LogLevel::Info, otherwise(LEVEL), default("`info`");
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
    pub struct LogFile whole {
        /// Whether the file is used.
        enabled: bool = true, default("`true` when `file` is written, else `false`");
        /// The parent directory is created. If the file cannot be opened, the log goes to stderr with a line that says
        /// so.
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
        /// A file of its own instead of the general log.
        file: Option<PathBuf> = None;
        /// Share of answers below 400 that are logged.
        sample_ratio: f64 = 1.0, fraction(|ratio| (0.0..=1.0).contains(&ratio), SAMPLE_RATIO);
        /// Which fields a line has, in the order given.
        fields: Vec<AccessField> = AccessField::ALL.to_vec(), otherwise(FIELD), default("all");
    }
}
