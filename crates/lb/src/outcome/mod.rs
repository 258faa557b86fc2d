//! Why an exchange ended without a complete backend answer: one exhaustive table from reason to everything said of it.
//!
//! [`Reason`] is an answer made by Spooky (docs/reference/behaviour.md#status-codes); [`Reset`] is an exchange that ends without
//! one. Both are plain words: the exchange turns them into bytes, telemetry into labels. To add a reason, add its line in
//! `table`.

mod reset;
mod table;

pub use reset::Reset;
pub use table::{Reason, Row};

/// Who caused it. Only [`Fault::Backend`] may change health, circuit or adaptive limit (docs/reference/behaviour.md#guarantees).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client broke a rule or went away.
    Client,
    /// The operator's policy or configuration says no.
    Operator,
    /// Spooky has no capacity left for it, or a fault of its own.
    Proxy,
    /// A backend failed.
    Backend,
}

/// For which methods the same request may be sent again (docs/reference/behaviour.md#retries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Never: it would be refused again, or repeating could do harm.
    Never,
    /// Only idempotent methods: the backend may have acted on it.
    Idempotent,
    /// Any method: the backend has not seen it.
    AnyMethod,
}

/// The kind of error, one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A deadline passed.
    Timeout,
    /// TLS to the backend.
    Tls,
    /// DNS, connect, reset or loss towards the backend.
    Transport,
    /// No backend to take the request.
    Pool,
    /// The backend broke its protocol.
    Protocol,
    /// A fault of the proxy itself.
    Bridge,
    /// The client's own mistake.
    Client,
    /// A limit was reached.
    Overload,
    /// A policy forbids it.
    Policy,
}

impl ErrorKind {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Transport => "transport",
            Self::Pool => "pool",
            Self::Protocol => "protocol",
            Self::Bridge => "bridge",
            Self::Client => "client",
            Self::Overload => "overload",
            Self::Policy => "policy",
        }
    }
}

/// How loud a reason is in the log; the access line is written in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of interest only while looking for something.
    Debug,
    /// An operator may have to act.
    Warn,
    /// Something is broken that cannot be worked around.
    Error,
}

#[cfg(test)]
mod tests;
